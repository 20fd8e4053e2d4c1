//! What a call reaches on this host: an actor, or a provider.

use std::future::ready;
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::Arc;

use futures::FutureExt as _;
use trellis_lattice::deadline;
use trellis_lattice::error::CallError;
use trellis_lattice::message::invocation::{Answer, Head, Invocation};
use trellis_provider_sdk as sdk;

use super::Outcome;
use crate::actor::Actor;
use crate::resilience::{Defaults, Guard};
use crate::runtime::value::Args;

/// Something on this host that can be called.
#[derive(Clone)]
pub(crate) enum Target {
    /// An actor; it keeps its own deadline and limits.
    Actor(Arc<Actor>),
    /// A provider, built in or in front of its process, and how calls to it behave that nothing is said of.
    Provider(Arc<dyn sdk::Provider>, Arc<Defaults>),
}

impl Target {
    /// What is usual for calls to it over the link of `head`; nothing for most.
    pub(super) fn usual_guard(&self, head: &Head) -> Option<Arc<Guard>> {
        match self {
            Self::Actor(_) => None,
            Self::Provider(_, defaults) => defaults.find(head),
        }
    }

    /// Calls it. Dropping the future ends the call.
    pub(super) fn call(self, invocation: Invocation<Args>) -> Outcome<'static> {
        if invocation.head.context.remaining().is_zero() {
            let message = format!("the time was over before {} was called", invocation.head.target);
            return Box::pin(ready(Err(CallError::deadline(message))));
        }
        match self {
            Self::Actor(actor) => actor.invoke(invocation),
            Self::Provider(provider, _) => Box::pin(call_provider(provider, invocation)),
        }
    }
}

/// A provider that panics or does not answer in time fails this call and nothing else.
async fn call_provider(
    provider: Arc<dyn sdk::Provider>,
    invocation: Invocation<Args>,
) -> Result<Answer<Args>, CallError> {
    let Invocation { head, args, body } = invocation;
    let (target, until) = (head.target.clone(), head.context.deadline);
    let call = provider.call(Invocation { head, args: args.into_provider()?, body });
    match deadline::by(until, pin!(AssertUnwindSafe(call).catch_unwind())).await {
        Ok(Ok(Ok(answer))) => Ok(Answer { value: Args::from(answer.value), body: answer.body }),
        Ok(Ok(Err(error))) => Err(error),
        Ok(Err(_panic)) => {
            tracing::error!(provider_id = %target, "provider panicked in a call");
            Err(CallError::provider(format!("provider {target} failed inside")))
        }
        Err(_) => Err(CallError::deadline(format!("provider {target} did not answer in time"))),
    }
}
