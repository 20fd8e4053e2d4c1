//! How messages travel: the [`Transport`] trait, over NATS ([`nats`]) or inside one process ([`memory`]).
//!
//! A transport moves bytes between subjects and knows nothing of calls. Subjects come from [`crate::subject`].

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::Stream;

use crate::error::{Error, ErrorKind, Result};
use crate::subject::{QueueGroup, Subject};

pub mod memory;
pub mod nats;
mod options;
mod pings;

/// Header lines of a message: names and values as they are on the wire, in order.
pub type Headers = Vec<(String, String)>;

/// A message as sent or received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Where it was published.
    pub subject: Subject,
    /// Where an answer is expected.
    pub reply: Option<Subject>,
    /// Usually empty.
    pub headers: Headers,
    /// At most [`Transport::max_payload_bytes`].
    pub payload: Bytes,
    /// Set on what the broker says of itself instead of a payload.
    pub status: Option<Status>,
}

/// What a broker says instead of delivering.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// Nobody is subscribed (NATS status 503).
    NoResponders,
}

impl Message {
    /// A message without reply or headers.
    pub fn new(subject: Subject, payload: impl Into<Bytes>) -> Self {
        Self { subject, reply: None, headers: Headers::new(), payload: payload.into(), status: None }
    }

    /// The same with a reply subject.
    #[must_use]
    pub fn with_reply(mut self, reply: Subject) -> Self {
        self.reply = Some(reply);
        self
    }
}

/// Moves messages. Delivery is at most once, in order per sender and subject, and may fail silently: whoever needs
/// more (rpc does) builds it on top.
#[async_trait]
pub trait Transport: Send + Sync + std::fmt::Debug + 'static {
    /// Sends `message`. `Ok` means that it was taken, not that it arrived. If it has a reply subject and nobody is
    /// subscribed, a message with [`Status::NoResponders`] arrives there.
    ///
    /// # Errors
    /// `TooLarge` over [`Self::max_payload_bytes`]; `Disconnected` when the connection is closed for good.
    async fn publish(&self, message: Message) -> Result<()>;

    /// Receives what is published on `subject` (which may end in wildcards), all of it or, in a queue group, a share.
    /// When this returns, a message that anyone publishes afterwards on the same connection is seen; dropping the
    /// subscription ends it.
    async fn subscribe(&self, subject: Subject, group: Option<QueueGroup>) -> Result<Subscription>;

    /// Sends `payload` and waits for one answer.
    ///
    /// # Errors
    /// `NoResponders` at once when nobody listens, `Timeout` after `timeout`.
    async fn request(&self, subject: Subject, payload: Bytes, timeout: Duration) -> Result<Message>;

    /// Waits until everything sent and subscribed so far has reached the broker.
    async fn flush(&self) -> Result<()>;

    /// The largest payload, in bytes.
    fn max_payload_bytes(&self) -> usize;

    /// Whether the broker can be reached now; a snapshot.
    fn is_connected(&self) -> bool;

    /// Which broker this end is connected to, by the name of its cluster or its own; `None` where there is but one. Ends
    /// at different brokers, as behind a leaf node, may be cut off from each other with both running.
    fn broker(&self) -> Option<String> {
        None
    }
}

/// What came for a request on `subject`, as its result.
fn answered(subject: &Subject, answer: Option<Message>) -> Result<Message> {
    match answer {
        None => Err(Error::new(ErrorKind::Disconnected, format!("the connection closed before {subject} answered"))),
        Some(Message { status: Some(Status::NoResponders), .. }) => {
            Err(Error::new(ErrorKind::NoResponders, format!("nobody listens on {subject}")))
        }
        Some(message) => Ok(message),
    }
}

/// Whether `subject` has wildcards.
fn is_pattern(subject: &Subject) -> bool {
    let may_be = subject.as_str().bytes().any(|byte| byte == b'*' || byte == b'>');
    may_be && subject.tokens().any(|token| token == "*" || token == ">")
}

/// A subject to publish on has no wildcards.
fn check_literal(subject: &Subject) -> Result<()> {
    if is_pattern(subject) {
        return Err(Error::new(ErrorKind::Malformed, format!("{subject} has wildcards, nothing can be sent there")));
    }
    Ok(())
}

/// A subject to subscribe to has `>` at its end only.
fn check_pattern(subject: &Subject) -> Result<()> {
    let rest = subject.as_str().strip_suffix('>').unwrap_or(subject.as_str());
    if rest.split('.').any(|token| token == ">") {
        return Err(Error::new(ErrorKind::Malformed, format!("{subject} has `>` before its end")));
    }
    Ok(())
}

/// A header is one line, and its name is a word.
fn check_headers(headers: &Headers) -> Result<()> {
    let is_word = |name: &str| !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_graphic() && byte != b':');
    match headers.iter().find(|(name, value)| !is_word(name) || value.contains(['\r', '\n'])) {
        Some((name, _)) => Err(Error::new(ErrorKind::Malformed, format!("header {name:?} is not valid"))),
        None => Ok(()),
    }
}

/// A shared transport.
pub type SharedTransport = Arc<dyn Transport>;

/// The messages of one subscription; a [`Stream`] that ends when the transport closes. Dropping it unsubscribes.
pub struct Subscription(Pin<Box<dyn Stream<Item = Message> + Send>>);

impl Subscription {
    /// Wraps what a transport has.
    pub fn new(messages: impl Stream<Item = Message> + Send + 'static) -> Self {
        Self(Box::pin(messages))
    }
}

impl Stream for Subscription {
    type Item = Message;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Message>> {
        self.0.as_mut().poll_next(cx)
    }
}

impl std::fmt::Debug for Subscription {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Subscription")
    }
}
