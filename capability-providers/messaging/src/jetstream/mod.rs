//! JetStream: a stream keeps what is sent, and each subscription has a durable consumer, which goes on where it was.
//!
//! Requests and their answers are for those who wait: they go by core NATS.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use async_nats::HeaderMap;
use async_nats::jetstream::context::PublishErrorKind;
use async_nats::jetstream::{self, Context};
use async_trait::async_trait;
use bytes::Bytes;
use tokio::time::{Instant, sleep, timeout_at};
use tokio_util::task::AbortOnDropHandle;
use trellis_interfaces::messaging::BrokerMessage;
use trellis_provider_sdk::{Health, LinkError};
use uuid::Uuid;

mod feed;
mod stream;

use crate::broker::{Broker, Feed, Refusal, Subscription};
use crate::config::{ServerConfig, StreamConfig};
use crate::lanes::Lanes;
use crate::nats::Connection;
use crate::subject::{Pattern, is_inbox};

/// How long the server may take for one operation.
const PATIENCE: Duration = Duration::from_secs(2);
/// The pause before a message that was not taken is sent again.
const PAUSE: Duration = Duration::from_millis(100);
/// How long a server that has just started may say that it has no such stream.
const STREAM_PATIENCE: Duration = Duration::from_secs(1);
/// Where the answer to a stored message is expected: its own reply subject is taken by the server.
const REPLY_TO: &str = "Trellis-Reply-To";

/// JetStream for one link.
pub(crate) struct JetStream(Arc<Inner>);

struct Inner {
    connection: Connection,
    context: Context,
    stream: StreamConfig,
    /// What the stream keeps, as it was seen last.
    kept: ArcSwap<Vec<Pattern>>,
}

impl JetStream {
    /// Connects; makes the stream, or adds to it, if subjects are configured for it.
    pub(crate) async fn connect(server: &ServerConfig, stream: StreamConfig) -> Result<Self, LinkError> {
        let connection = Connection::open(server).await?;
        let mut context = jetstream::new(connection.client().clone());
        context.set_timeout(PATIENCE);
        let inner = Inner { connection, context, stream, kept: ArcSwap::default() };
        stream::prepare(&inner, &inner.stream.subjects).await?;
        Ok(Self(Arc::new(inner)))
    }
}

#[async_trait]
impl Broker for JetStream {
    async fn publish(&self, message: &BrokerMessage, id: Uuid, deadline: Instant) -> Result<(), Refusal> {
        if is_inbox(&message.subject) {
            return self.0.connection.publish(message).await;
        }
        let mut headers = HeaderMap::new();
        // Sent twice, it is kept once.
        headers.insert("Nats-Msg-Id", id.to_string());
        if let Some(reply_to) = &message.reply_to {
            headers.insert(REPLY_TO, reply_to.as_str());
        }
        let begun = Instant::now();
        // The last reason has to be told before nobody listens any more.
        let last = deadline - PAUSE;
        loop {
            let attempt = timeout_at(last, self.0.store(message, headers.clone()));
            let (refusal, is_final) = match attempt.await {
                Ok(Ok(())) => return Ok(()),
                Ok(Err(failure)) => failure,
                Err(_) => (self.0.silent(), true),
            };
            if is_final {
                self.0.recall(&message.subject).await;
            }
            let is_over = Instant::now() + PAUSE >= last;
            let is_stubborn = is_final && (begun.elapsed() >= STREAM_PATIENCE || is_over);
            if is_over || is_stubborn {
                return Err(refusal);
            }
            sleep(PAUSE).await;
        }
    }

    async fn request(&self, subject: String, body: Bytes) -> Result<BrokerMessage, Refusal> {
        if self.0.kept.load().iter().any(|pattern| pattern.matches(&subject)) {
            let name = &self.0.stream.name;
            return Err(Refusal(format!(
                "stream {name} keeps {subject:?}, and would answer itself: requests need a subject that no stream keeps"
            )));
        }
        self.0.connection.request(subject, body).await
    }

    async fn subscribe(&self, subscription: &Subscription, lanes: &Arc<Lanes>) -> Result<Feed, LinkError> {
        let mut wanted = subscription.patterns.clone();
        wanted.extend(subscription.dead_letter.as_deref().and_then(Pattern::parse));
        stream::prepare(&self.0, &wanted).await?;
        let mut feed = Feed::new();
        for pattern in &subscription.patterns {
            let source = feed::Source::new(self.0.clone(), subscription, pattern);
            let first = source.consumer().await.map_err(LinkError::Unavailable)?;
            feed.push(AbortOnDropHandle::new(tokio::spawn(source.feed(first, lanes.clone()))));
        }
        Ok(feed)
    }

    async fn flush(&self) {
        self.0.connection.flush().await;
    }

    fn health(&self) -> Health {
        self.0.connection.health()
    }
}

impl Inner {
    /// One attempt; says as well whether another one would end the same.
    async fn store(&self, message: &BrokerMessage, headers: HeaderMap) -> Result<(), (Refusal, bool)> {
        self.connection.connected().await.map_err(|refusal| (refusal, false))?;
        let (subject, body) = (message.subject.clone(), message.body.clone());
        let sent = async { self.context.publish_with_headers(subject, headers, body).await?.await };
        sent.await.map(drop).map_err(|error| match error.kind() {
            PublishErrorKind::MaxPayloadExceeded => (self.connection.too_large(&message.body), true),
            PublishErrorKind::StreamNotFound => {
                let subject = &message.subject;
                (Refusal(format!("no stream keeps {subject:?}: add it to link config key \"stream_subjects\"")), true)
            }
            PublishErrorKind::TimedOut | PublishErrorKind::BrokenPipe => (self.silent(), false),
            _ => (Refusal(format!("message was not kept by stream {}: {error}", self.stream.name)), false),
        })
    }

    /// Adds a configured subject to the stream that someone has taken from it.
    async fn recall(&self, subject: &str) {
        if self.stream.subjects.iter().any(|pattern| pattern.matches(subject)) {
            // If that fails, the next publish says why.
            let _ = stream::prepare(self, &self.stream.subjects).await;
        }
    }

    fn silent(&self) -> Refusal {
        Refusal(format!("nats-server at {} has not acknowledged the message", self.connection.servers()))
    }
}
