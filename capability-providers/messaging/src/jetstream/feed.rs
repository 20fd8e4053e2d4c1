//! From a durable consumer to the lanes of a link.

use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::consumer::{AckPolicy, Consumer, DeliverPolicy, pull};
use async_nats::jetstream::message::Acker;
use async_nats::jetstream::{AckKind, Message};
use futures::StreamExt as _;
use tokio::time::sleep;
use tokio_util::task::AbortOnDropHandle;
use tracing::{debug, warn};
use trellis_interfaces::messaging::BrokerMessage;
use trellis_provider_sdk::Damper;

use super::{Inner, REPLY_TO};
use crate::broker::Subscription;
use crate::config::Order;
use crate::lanes::{Delivery, Lanes, Receipt};
use crate::nats::key;
use crate::subject::Pattern;

/// A message that the server has heard nothing of for so long is delivered again.
const ACK_WAIT: Duration = Duration::from_secs(10);
/// How often it hears that a message is still being handled.
const PROGRESS_EVERY: Duration = Duration::from_secs(3);
/// How long one request for messages stands.
const PULL_EXPIRES: Duration = Duration::from_secs(10);
/// A server from which nothing came for twice as long has lost the request.
const HEARTBEAT: Duration = Duration::from_secs(2);
/// The first and the longest pause before a consumer that failed is tried again.
const PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// A durable consumer for one pattern of a subscription.
pub(super) struct Source {
    inner: Arc<Inner>,
    config: pull::Config,
    order: Option<Order>,
    troubles: Damper,
}

impl Source {
    pub(super) fn new(inner: Arc<Inner>, subscription: &Subscription, pattern: &Pattern) -> Self {
        let in_flight = subscription.max_in_flight;
        let config = pull::Config {
            durable_name: Some(durable_name(&subscription.group, pattern)),
            deliver_policy: DeliverPolicy::All,
            ack_policy: AckPolicy::Explicit,
            ack_wait: ACK_WAIT,
            max_ack_pending: i64::try_from(in_flight).unwrap_or(i64::MAX),
            filter_subject: pattern.as_str().to_owned(),
            ..pull::Config::default()
        };
        Self { inner, config, order: subscription.order.clone(), troubles: Damper::default() }
    }

    /// The consumer, made if need be.
    pub(super) async fn consumer(&self) -> Result<Consumer<pull::Config>, String> {
        let name = &self.inner.stream.name;
        let consumer = self.inner.context.create_consumer_on_stream(self.config.clone(), name).await;
        consumer.map_err(|error| {
            let (subject, servers) = (&self.config.filter_subject, self.inner.connection.servers());
            format!("stream {name} at {servers} has no consumer for {subject}: {error}")
        })
    }

    /// Feeds what comes into `lanes`, for ever; a consumer that is lost is made again.
    pub(super) async fn feed(self, first: Consumer<pull::Config>, lanes: Arc<Lanes>) {
        let mut consumer = Ok(first);
        let mut pause = PAUSES.0;
        loop {
            let ended = match consumer {
                Ok(consumer) => self.pass_on(consumer, &lanes, &mut pause).await,
                Err(error) => error,
            };
            match self.troubles.admit() {
                Some(left_out) => warn!(left_out, "subscription was interrupted: {ended}"),
                None => debug!("subscription was interrupted: {ended}"),
            }
            sleep(pause).await;
            pause = (pause * 2).min(PAUSES.1);
            consumer = self.consumer().await;
        }
    }

    /// Hands on what had been handed to someone before, in its order: until the server gives it up it does not come
    /// again, and what follows must not come first.
    async fn catch_up(&self, consumer: &Consumer<pull::Config>, lanes: &Lanes) -> Result<(), String> {
        let count = consumer.cached_info().num_ack_pending;
        if self.order.is_none() || count == 0 {
            return Ok(());
        }
        sleep(ACK_WAIT + Duration::from_secs(1)).await;
        let fetching = consumer.fetch().max_messages(count).expires(Duration::from_secs(2)).messages();
        let mut fetched = fetching.await.map_err(|error| error.to_string())?;
        let mut messages = Vec::new();
        while let Some(message) = fetched.next().await {
            messages.push(message.map_err(|error| error.to_string())?);
        }
        messages.sort_by_key(|message| message.info().map_or(u64::MAX, |info| info.stream_sequence));
        for message in messages {
            lanes.take(self.delivery(message)).await;
        }
        Ok(())
    }

    /// Until something goes wrong; says what.
    async fn pass_on(&self, consumer: Consumer<pull::Config>, lanes: &Lanes, pause: &mut Duration) -> String {
        if let Err(error) = self.catch_up(&consumer, lanes).await {
            return error;
        }
        let batch = usize::try_from(self.config.max_ack_pending).unwrap_or(1);
        let pulling =
            consumer.stream().max_messages_per_batch(batch).expires(PULL_EXPIRES).heartbeat(HEARTBEAT).messages();
        let mut messages = match pulling.await {
            Ok(messages) => messages,
            Err(error) => return error.to_string(),
        };
        loop {
            match messages.next().await {
                Some(Ok(message)) => {
                    *pause = PAUSES.0;
                    lanes.take(self.delivery(message)).await;
                }
                Some(Err(error)) => return error.to_string(),
                None => return "the consumer ended".to_owned(),
            }
        }
    }

    fn delivery(&self, message: Message) -> Delivery {
        let (message, acker) = message.split();
        let in_hand = InHand::new(acker);
        let headers = message.headers.as_ref();
        let key = key(self.order.as_ref(), &message.subject, headers);
        let reply_to = headers.and_then(|headers| headers.get(REPLY_TO)).map(|value| value.to_string());
        let message = BrokerMessage { subject: message.subject.to_string(), body: message.payload, reply_to };
        Delivery { message, key, receipt: Some(Receipt::new(move || in_hand.done())) }
    }
}

/// Names hold no dots and no wildcards.
fn durable_name(group: &str, pattern: &Pattern) -> String {
    let digest = blake3::hash(pattern.as_str().as_bytes()).to_hex();
    format!("{group}-{}", &digest[..8])
}

/// A message that is being handled: the server hears so, and hears it as well when it is given back.
struct InHand {
    acker: Option<Arc<Acker>>,
    _progress: AbortOnDropHandle<()>,
}

impl InHand {
    fn new(acker: Acker) -> Self {
        let acker = Arc::new(acker);
        let reporter = acker.clone();
        let progress = tokio::spawn(async move {
            loop {
                sleep(PROGRESS_EVERY).await;
                // What cannot be told now is told the next time.
                let _ = reporter.ack_with(AckKind::Progress).await;
            }
        });
        Self { acker: Some(acker), _progress: AbortOnDropHandle::new(progress) }
    }

    /// An acknowledgement that is lost makes the message be delivered again.
    async fn done(mut self) {
        if let Some(acker) = self.acker.take() {
            let _ = acker.ack().await;
        }
    }
}

impl Drop for InHand {
    fn drop(&mut self) {
        if let (Some(acker), Ok(runtime)) = (self.acker.take(), tokio::runtime::Handle::try_current()) {
            runtime.spawn(async move { acker.ack_with(AckKind::Nak(None)).await });
        }
    }
}
