//! Where messages go: to the actor of a link, or on to another subject.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout_at;
use trellis_interfaces::messaging::{BrokerMessage, HandleMessage, function};
use trellis_provider_sdk::wire::{decode, encode};
use trellis_provider_sdk::{Body, Call, CallError, CallErrorKind, Caller, Context, EntityId, Interface, LinkName};
use uuid::Uuid;

use crate::broker::Broker;
use crate::lanes::publish_within;
use crate::transform::Transform;

/// Where messages go.
pub(crate) enum Sink {
    /// To an actor.
    Actor(Route),
    /// To other subjects of the same broker.
    Subjects(Vec<Transform>, Arc<dyn Broker>),
}

/// How an actor is called.
pub(crate) struct Route {
    /// The id of the provider.
    pub(crate) source: EntityId,
    /// The link.
    pub(crate) link: LinkName,
    /// `wasmcloud:messaging/handler`.
    pub(crate) interface: Interface,
    /// What calls are made with.
    pub(crate) caller: Arc<dyn Caller>,
    /// How long one may take.
    pub(crate) timeout: Duration,
}

/// Why a message was not handled.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// The handler was called and says so.
    #[error("the handler refused it: {0}")]
    Refused(String),
    /// The call failed.
    #[error("{0}")]
    Call(#[from] CallError),
    /// The broker did not take what was to be sent on.
    #[error("it was not sent on: {0}")]
    Broker(String),
}

impl Failure {
    /// Whether it counts as a try of the handler: where nobody was there to try, no message is given up.
    pub(crate) fn is_handlers_own(&self) -> bool {
        match self {
            Self::Refused(_) => true,
            Self::Call(error) => matches!(
                error.kind,
                CallErrorKind::Trap
                    | CallErrorKind::Deadline
                    | CallErrorKind::Contract
                    | CallErrorKind::TooLarge
                    | CallErrorKind::Provider
            ),
            Self::Broker(_) => false,
        }
    }
}

impl Sink {
    /// Hands one message over and waits until it was handled.
    pub(crate) async fn take(&self, message: &BrokerMessage) -> Result<(), Failure> {
        match self {
            Self::Actor(route) => route.call(message).await,
            Self::Subjects(transforms, broker) => {
                for subject in transforms.iter().filter_map(|transform| transform.apply(&message.subject)) {
                    let onward = BrokerMessage { subject, ..message.clone() };
                    publish_within(&**broker, &onward, Uuid::now_v7()).await.map_err(Failure::Broker)?;
                }
                Ok(())
            }
        }
    }
}

impl Route {
    async fn call(&self, message: &BrokerMessage) -> Result<(), Failure> {
        let context = Context::root(self.timeout);
        let deadline = context.deadline;
        let call = Call {
            source: self.source.clone(),
            link: self.link.clone(),
            interface: self.interface.clone(),
            function: function::HANDLE_MESSAGE.into(),
            signature: None,
            context,
            args: encode(&HandleMessage { message: message.clone() })?,
            body: Body::Empty,
        };
        let answer = timeout_at(deadline, self.caller.call(call)).await;
        let answer = answer.unwrap_or_else(|_| Err(CallError::deadline("the handler did not answer in time")))?;
        decode::<Result<(), String>>(&answer.value)?.map_err(Failure::Refused)
    }
}
