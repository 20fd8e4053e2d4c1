//! What a broker does for links, whichever it is.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::time::Instant;
use trellis_interfaces::messaging::BrokerMessage;
use trellis_provider_sdk::{Health, LinkError};
use uuid::Uuid;

use crate::config::Order;
use crate::lanes::Lanes;
use crate::subject::Pattern;

/// Why a broker did not do what it was asked to, for the actor that asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Refusal(pub(crate) String);

/// A way for messages. Each link has one of its own, so that none disturbs another.
#[async_trait]
pub(crate) trait Broker: Send + Sync + 'static {
    /// Takes a message; when this returns, the message is as safe as the broker makes it. A message that comes again
    /// with the same `id` may be left out. May wait for longer than `deadline`; callers stop waiting there.
    async fn publish(&self, message: &BrokerMessage, id: Uuid, deadline: Instant) -> Result<(), Refusal>;

    /// Sends a request and waits for its answer. Callers stop waiting when they want to.
    async fn request(&self, subject: String, body: Bytes) -> Result<BrokerMessage, Refusal>;

    /// Feeds what comes by the subscription into `lanes` until the feed is dropped.
    async fn subscribe(&self, subscription: &Subscription, lanes: &Arc<Lanes>) -> Result<Feed, LinkError>;

    /// Waits until what was sent before is on its way to the broker: a connection that is dropped takes along what waits
    /// in it. May take for ever; callers stop waiting when they want to.
    async fn flush(&self) {}

    /// Whether it can be reached.
    fn health(&self) -> Health;
}

/// What is wanted of a broker.
#[derive(Debug, Clone)]
pub(crate) struct Subscription {
    /// Which subjects.
    pub(crate) patterns: Vec<Pattern>,
    /// Who shares the messages: each goes to one of those that name the same group.
    pub(crate) group: String,
    /// What messages are kept in order by.
    pub(crate) order: Option<Order>,
    /// Where messages go that cannot be handled: a durable broker has to keep them there.
    pub(crate) dead_letter: Option<String>,
    /// Messages that may be on their way at once.
    pub(crate) max_in_flight: usize,
}

/// What keeps a subscription going; dropping it ends that.
pub(crate) type Feed = Vec<tokio_util::task::AbortOnDropHandle<()>>;

impl Order {
    /// What `message` is kept in order by; `None` when it has no such thing.
    pub(crate) fn key(&self, subject: &str, header: impl Fn(&str) -> Option<String>) -> Option<String> {
        match self {
            Self::Subject => Some(subject.to_owned()),
            Self::Token(place) => subject.split('.').nth(*place).map(str::to_owned),
            Self::Header(name) => header(name),
        }
    }
}
