//! The embedded broker: durable queues in a file of the provider, which need nothing else.
//!
//! Each subscription has a queue of its own, from when it is first made; what is sent is written to the queues of all
//! subscriptions that mean its subject, in one transaction, before it is acknowledged. Requests and their answers
//! are for those who wait and are not kept.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep};
use tokio_util::task::AbortOnDropHandle;
use tracing::warn;
use trellis_interfaces::messaging::BrokerMessage;
use trellis_provider_sdk::{Health, LinkError};
use uuid::Uuid;

mod file;
mod queue;
mod writer;

use self::file::File;
use self::queue::{Claim, Queue, Reader, Reading};
use self::writer::{Change, Writer};
use crate::broker::{Broker, Feed, Refusal, Subscription};
use crate::config::{Order, QueueLimits};
use crate::lanes::{Delivery, Lanes, Receipt};
use crate::subject::{self, INBOX, Pattern};

/// The largest body, the same as nats-server's by default.
const MAX_BODY_BYTES: usize = 1 << 20;

/// How long to wait before a file that failed is tried again.
const PAUSE: Duration = Duration::from_secs(1);

/// How long a queue is kept that nobody reads: a link that comes back goes on where it was.
const KEPT: Duration = Duration::from_mins(10);

/// All queues of one provider.
pub(crate) struct Queues {
    inner: Arc<Inner>,
}

struct Inner {
    file: Arc<File>,
    writer: Writer,
    limits: QueueLimits,
    /// Answers that are waited for, by subject. A lock because they come from any task; held for a few instructions.
    waiting: Mutex<HashMap<String, oneshot::Sender<BrokerMessage>>>,
}

impl Queues {
    /// Opens the file in `directory`, or makes it.
    pub(crate) async fn open(directory: &Path, limits: QueueLimits) -> Result<Self, LinkError> {
        let directory = directory.to_owned();
        let opened = tokio::task::spawn_blocking(move || {
            let file = Arc::new(File::open(&directory)?);
            let writer = Writer::start(file.clone())
                .map_err(|error| LinkError::Unavailable(format!("thread of the queue cannot start: {error}")))?;
            Ok(Inner { file, writer, limits, waiting: Mutex::default() })
        });
        let inner = opened
            .await
            .unwrap_or_else(|error| Err(LinkError::Unavailable(format!("opening the queue broke off: {error}"))))?;
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Writes what waits to be written, and gives the file back.
    pub(crate) async fn close(&self, limit: Duration) {
        let inner = self.inner.clone();
        // Closing syncs, which blocks.
        let closed = tokio::task::spawn_blocking(move || inner.writer.close());
        let _ = tokio::time::timeout(limit, closed).await;
    }
}

#[async_trait]
impl Broker for Queues {
    async fn publish(&self, message: &BrokerMessage, _: Uuid, _: Instant) -> Result<(), Refusal> {
        check_body(&message.body)?;
        if subject::is_inbox(&message.subject) {
            self.inner.answer(message.clone());
            return Ok(());
        }
        let queues = self.inner.room_for(message).await?;
        if queues.is_empty() {
            return Ok(());
        }
        self.inner.writer.write(Change::put(queues, message)).await.map_err(Refusal)
    }

    async fn request(&self, subject: String, body: Bytes) -> Result<BrokerMessage, Refusal> {
        check_body(&body)?;
        let readers: Vec<Reader> =
            self.inner.file.matching(&subject).iter().filter_map(|queue| queue.next_reader()).collect();
        if readers.is_empty() {
            return Err(Refusal(format!("nobody is subscribed to {subject:?}")));
        }
        let inbox = format!("{INBOX}.{}", Uuid::now_v7().simple());
        let (answer, answered) = oneshot::channel();
        let _waiting = Waiting::new(&self.inner, inbox.clone(), answer);
        let message = BrokerMessage { subject, body, reply_to: Some(inbox) };
        for Reader { lanes, order } in readers {
            let key = key(order.as_ref(), &message.subject);
            lanes.take(Delivery { message: message.clone(), key, receipt: None }).await;
        }
        answered.await.map_err(|_| Refusal("the queue is closing".to_owned()))
    }

    async fn subscribe(&self, subscription: &Subscription, lanes: &Arc<Lanes>) -> Result<Feed, LinkError> {
        let mut feed = Feed::new();
        for pattern in &subscription.patterns {
            let queue = self.inner.queue(&subscription.group, pattern).await?;
            let reading = queue.read_by(Reader { lanes: lanes.clone(), order: subscription.order.clone() });
            feed.push(AbortOnDropHandle::new(tokio::spawn(self.inner.clone().feed(reading))));
        }
        Ok(feed)
    }

    fn health(&self) -> Health {
        match self.inner.file.is_open() {
            true => Health::Healthy,
            false => Health::Unhealthy("the queue's file cannot be opened".to_owned()),
        }
    }
}

impl Inner {
    /// The queues that a message goes to; refused when one of them is full.
    async fn room_for(&self, message: &BrokerMessage) -> Result<Vec<Arc<Queue>>, Refusal> {
        let mut queues = self.file.matching(&message.subject);
        for queue in queues.iter().filter(|queue| queue.is_abandoned_for(KEPT)) {
            warn!(queue = queue.name(), waiting = queue.waiting(), "queue that nobody reads any more was removed");
            self.writer.write(Change::Remove(queue.clone())).await.map_err(Refusal)?;
        }
        queues.retain(|queue| !queue.is_removed());
        match queues.iter().find(|queue| queue.is_full(self.limits)) {
            Some(queue) => Err(Refusal(format!(
                "queue {} is full with {} messages: who reads it is too slow, or gone",
                queue.name(),
                queue.waiting()
            ))),
            None => Ok(queues),
        }
    }

    async fn queue(&self, group: &str, pattern: &Pattern) -> Result<Arc<Queue>, LinkError> {
        if let Some(queue) = self.file.find(group, pattern) {
            return Ok(queue);
        }
        let add = Change::Add { group: group.to_owned(), pattern: pattern.clone() };
        self.writer.write(add).await.map_err(LinkError::Unavailable)?;
        self.file.find(group, pattern).ok_or_else(|| LinkError::Unavailable("the queue was removed".to_owned()))
    }

    /// Hands what comes to a queue to one of its readers, for ever.
    async fn feed(self: Arc<Self>, reading: Reading) {
        let (queue, Reader { lanes, order }) = (reading.queue(), reading.reader());
        loop {
            let claim = match queue.claim(&self.file).await {
                Ok(claim) => claim,
                Err(error) => {
                    warn!(queue = queue.name(), "queue cannot be read: {error}");
                    sleep(PAUSE).await;
                    continue;
                }
            };
            let message = claim.message().clone();
            let key = key(order.as_ref(), &message.subject);
            let inner = self.clone();
            let receipt = Receipt::new(move || inner.done(claim));
            lanes.take(Delivery { message, key, receipt: Some(receipt) }).await;
        }
    }

    /// Removes what was handled. A file that is full for now must not make it be handled again and again.
    async fn done(self: Arc<Self>, claim: Claim) {
        while let Err(error) = self.writer.write(Change::Done(claim.place())).await {
            if self.writer.is_closed() {
                return;
            }
            warn!("message that was handled is still in its queue: {error}");
            sleep(PAUSE).await;
        }
        claim.finish();
    }

    fn answer(&self, message: BrokerMessage) {
        let waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner).remove(&message.subject);
        if let Some(waiting) = waiting {
            // Whoever does not wait any more needs no answer.
            let _ = waiting.send(message);
        }
    }
}

/// Someone waits for an answer until this is dropped.
struct Waiting<'a> {
    inner: &'a Inner,
    inbox: String,
}

impl<'a> Waiting<'a> {
    fn new(inner: &'a Inner, inbox: String, answer: oneshot::Sender<BrokerMessage>) -> Self {
        inner.waiting.lock().unwrap_or_else(PoisonError::into_inner).insert(inbox.clone(), answer);
        Self { inner, inbox }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.inner.waiting.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.inbox);
    }
}

fn key(order: Option<&Order>, subject: &str) -> Option<String> {
    order.and_then(|order| order.key(subject, |_| None))
}

fn check_body(body: &Bytes) -> Result<(), Refusal> {
    match body.len() > MAX_BODY_BYTES {
        true => Err(Refusal(format!("a body of {} bytes is over the limit of {MAX_BODY_BYTES}", body.len()))),
        false => Ok(()),
    }
}
