//! Actors that are told of changes: they export wasi:keyvalue/watcher and the provider has a link to them.

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use tracing::warn;
use trellis_interfaces::keyvalue::{OnDelete, OnSet, Value, WATCHER, function};
use trellis_provider_sdk::wire::encode;
use trellis_provider_sdk::{
    Body, Call, CallError, Caller, Context, Damper, EntityId, Interface, Link, LinkError, LinkName,
};

/// How long an actor may take for one change.
const BUDGET: Duration = Duration::from_secs(10);

/// An actor that is told of changes. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Watcher(Arc<Inner>);

struct Inner {
    caller: Arc<dyn Caller>,
    provider: EntityId,
    target: EntityId,
    link: LinkName,
    interface: Interface,
    /// What the actor can open the bucket by.
    bucket: String,
    failures: Damper,
}

impl Watcher {
    /// The actor that `link` leads to.
    ///
    /// # Errors
    /// When the link is not for the interface of watchers.
    pub(crate) fn new(
        caller: Arc<dyn Caller>,
        provider: EntityId,
        link: &Link,
        bucket: String,
    ) -> Result<Self, LinkError> {
        let interface = Interface::parse(WATCHER).expect("a constant of ours");
        if !link.covers(&interface) {
            return Err(LinkError::Unavailable(format!(
                "link {:?} to {} is not for {WATCHER}, the interface that a key-value store calls",
                link.name, link.target
            )));
        }
        let (target, link) = (link.target.clone(), link.name.clone());
        Ok(Self(Arc::new(Inner { caller, provider, target, link, interface, bucket, failures: Damper::default() })))
    }

    /// The provider and the actor, and by which link: the same for all hosts.
    pub(crate) fn identity(&self) -> String {
        format!("{} {} {}", self.0.provider, self.0.target, self.0.link)
    }

    /// Says that a key has a value.
    ///
    /// # Errors
    /// When the actor does not take it, which is in the log then.
    pub(crate) async fn set(&self, key: &str, value: Value) -> Result<(), CallError> {
        let params = OnSet { bucket: self.0.bucket.clone(), key: key.to_owned(), value };
        self.call(function::ON_SET, &params).await
    }

    /// Says that a key is gone.
    ///
    /// # Errors
    /// When the actor does not take it, which is in the log then.
    pub(crate) async fn deleted(&self, key: &str) -> Result<(), CallError> {
        let params = OnDelete { bucket: self.0.bucket.clone(), key: key.to_owned() };
        self.call(function::ON_DELETE, &params).await
    }

    async fn call(&self, function: &str, params: &impl Serialize) -> Result<(), CallError> {
        let call = Call {
            source: self.0.provider.clone(),
            link: self.0.link.clone(),
            interface: self.0.interface.clone(),
            function: function.into(),
            signature: None,
            context: Context::root(BUDGET),
            args: encode(params)?,
            body: Body::Empty,
        };
        let deadline = call.context.deadline;
        let answer = tokio::time::timeout_at(deadline, self.0.caller.call(call)).await;
        let answer = answer.unwrap_or_else(|_| Err(CallError::deadline(format!("{} did not answer", self.0.target))));
        answer.map(drop).inspect_err(|error| {
            if let Some(left_out) = self.0.failures.admit() {
                warn!(actor_id = %self.0.target, link_name = %self.0.link, %error, left_out, "change of a key was not taken");
            }
        })
    }
}
