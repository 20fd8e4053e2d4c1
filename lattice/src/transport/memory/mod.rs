//! The bus inside one process: [`MemoryBus`], shared, and a [`MemoryTransport`] for each participant.
//!
//! Behaves as one nats-server does: wildcards, queue groups, "no responders", slow readers lose messages. A publish
//! finds its readers under a read lock that is never held over an await. Who is subscribed is in [`routes`]; what
//! waits for a reader is in [`queue`]; what goes wrong on purpose is in [`faults`].

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard, Weak};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;

use self::faults::Faults;
use self::queue::Queue;
use self::routes::{Member, Routes};
use super::{Headers, Message, Status, Subscription, Transport};
use crate::error::{Error, ErrorKind, Result};
use crate::subject::{self, QueueGroup, Subject};

pub mod faults;
mod queue;
mod routes;

/// The largest payload on the bus, in bytes: what a nats-server has by default.
pub const MAX_PAYLOAD_BYTES: usize = 1024 * 1024;

/// What becomes of one message at one reader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Delivery {
    /// It is in the reader's queue.
    Taken,
    /// The reader is too slow and loses it.
    Lost,
    /// The reader wants no more; it is unsubscribed.
    Gone,
}

/// Where a subscription's messages go. Called on the publisher's task under the lock of the routes: must not block,
/// and must not call the bus.
pub(crate) trait Sink: Send + Sync {
    /// Takes a copy of `message`, or says why not.
    fn deliver(&self, message: &Message) -> Delivery;
}

/// Whether a participant hears itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Echo {
    /// Its own subscriptions get what it publishes, as everyone else's do.
    Own,
    /// They do not.
    OthersOnly,
}

/// The bus. Cheap to clone; all clones are one bus, which ends with its last clone and participant.
#[derive(Clone)]
pub struct MemoryBus(Arc<Shared>);

struct Shared {
    // A lock and not a snapshot: every request subscribes for a moment, and copying the table for that would cost
    // more than the lock does. Held for a lookup and for putting messages into queues.
    routes: RwLock<Routes>,
    next_id: AtomicU64,
    is_closed: AtomicBool,
    faults: Option<Faults>,
}

impl Shared {
    fn read(&self) -> RwLockReadGuard<'_, Routes> {
        self.routes.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Routes> {
        self.routes.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn fresh_id(&self) -> u64 {
        self.next_id.fetch_add(1, Ordering::Relaxed)
    }

    /// One of `count` members of a queue group; the dice of the faults, if there are any, so that a seed decides all.
    fn draw(&self, count: usize) -> usize {
        self.faults.as_ref().map_or_else(|| rand::random_range(0..count), |faults| faults.draw(count))
    }

    fn check_open(&self) -> Result<()> {
        if self.is_closed.load(Ordering::Acquire) {
            return Err(Error::new(ErrorKind::Disconnected, "the bus of this process is closed"));
        }
        Ok(())
    }
}

impl MemoryBus {
    /// A bus on which nothing goes wrong.
    #[must_use]
    pub fn new() -> Self {
        Self::build(None)
    }

    /// A bus on which `faults` decide what arrives; keep a clone of them to change them.
    #[must_use]
    pub fn with_faults(faults: Faults) -> Self {
        Self::build(Some(faults))
    }

    fn build(faults: Option<Faults>) -> Self {
        Self(Arc::new(Shared {
            routes: RwLock::default(),
            next_id: AtomicU64::new(1),
            is_closed: AtomicBool::new(false),
            faults,
        }))
    }

    /// A participant. `name` is what partitions go by; several participants may share one.
    #[must_use]
    pub fn endpoint(&self, name: &str) -> MemoryTransport {
        MemoryTransport { bus: self.0.clone(), name: name.into(), owner: self.0.fresh_id() }
    }

    /// Ends all subscriptions; what is published afterwards is `Disconnected`.
    pub fn close(&self) {
        self.0.is_closed.store(true, Ordering::Release);
        let ended = std::mem::take(&mut *self.0.write());
        drop(ended);
    }
}

impl Default for MemoryBus {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for MemoryBus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MemoryBus")
    }
}

/// One participant of a [`MemoryBus`]. A clone is the same participant.
#[derive(Clone)]
pub struct MemoryTransport {
    bus: Arc<Shared>,
    name: Arc<str>,
    owner: u64,
}

impl fmt::Debug for MemoryTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("MemoryTransport").field(&self.name).finish()
    }
}

impl MemoryTransport {
    /// Puts `message` into the queues of its readers and returns how many are subscribed, slow ones among them.
    pub(crate) fn send(&self, message: &Message, echo: Echo) -> Result<usize> {
        self.bus.check_open()?;
        check(message)?;
        let mut gone = Vec::new();
        let mut interested = 0;
        self.bus.read().visit(
            &message.subject,
            |count| self.bus.draw(count),
            |member| {
                if echo == Echo::OthersOnly && member.owner == self.owner {
                    return Delivery::Gone;
                }
                let delivery = self.deliver(member, message);
                match delivery {
                    Delivery::Taken | Delivery::Lost => interested += 1,
                    Delivery::Gone => gone.push(member.address()),
                }
                delivery
            },
        );
        if !gone.is_empty() {
            let mut routes = self.bus.write();
            gone.iter().for_each(|address| routes.remove(address));
        }
        Ok(interested)
    }

    fn deliver(&self, member: &Member, message: &Message) -> Delivery {
        match &self.bus.faults {
            None => member.sink.deliver(message),
            Some(faults) => faults.deliver(&self.name, member, message),
        }
    }

    /// Tells this participant's own reader of `reply` that nobody heard the question.
    pub(crate) fn say_no_responders(&self, reply: &Subject) {
        let status = Some(Status::NoResponders);
        let message =
            Message { subject: reply.clone(), reply: None, headers: Headers::new(), payload: Bytes::new(), status };
        self.bus.read().visit(
            reply,
            |count| self.bus.draw(count),
            |member| {
                if member.owner == self.owner { member.sink.deliver(&message) } else { Delivery::Gone }
            },
        );
    }

    /// Subscribes `sink`, until the registration is dropped.
    pub(crate) fn attach(
        &self,
        subject: Subject,
        group: Option<QueueGroup>,
        sink: Arc<dyn Sink>,
    ) -> Result<Registration> {
        self.bus.check_open()?;
        super::check_pattern(&subject)?;
        let member =
            Member { id: self.bus.fresh_id(), owner: self.owner, endpoint: self.name.clone(), subject, group, sink };
        let address = member.address();
        self.bus.write().insert(member);
        Ok(Registration { bus: Arc::downgrade(&self.bus), address })
    }

    fn open(&self, subject: Subject, group: Option<QueueGroup>) -> Result<Subscription> {
        let (queue, waiting) = Queue::new(self.name.clone(), subject.clone());
        let registration = self.attach(subject, group, Arc::new(queue))?;
        Ok(Subscription::new(waiting.holding(registration)))
    }
}

/// Keeps a subscription on the bus until dropped.
pub(crate) struct Registration {
    bus: Weak<Shared>,
    address: routes::Address,
}

impl Drop for Registration {
    fn drop(&mut self) {
        if let Some(bus) = self.bus.upgrade() {
            bus.write().remove(&self.address);
        }
    }
}

fn check(message: &Message) -> Result<()> {
    if message.payload.len() > MAX_PAYLOAD_BYTES {
        let text = format!("{} bytes for {} are over {MAX_PAYLOAD_BYTES}", message.payload.len(), message.subject);
        return Err(Error::new(ErrorKind::TooLarge, text));
    }
    super::check_headers(&message.headers)?;
    super::check_literal(&message.subject)?;
    message.reply.as_ref().map_or(Ok(()), super::check_literal)
}

#[async_trait]
impl Transport for MemoryTransport {
    async fn publish(&self, message: Message) -> Result<()> {
        let interested = self.send(&message, Echo::Own)?;
        if let (0, Some(reply)) = (interested, &message.reply) {
            self.say_no_responders(reply);
        }
        Ok(())
    }

    async fn subscribe(&self, subject: Subject, group: Option<QueueGroup>) -> Result<Subscription> {
        self.open(subject, group)
    }

    async fn request(&self, subject: Subject, payload: Bytes, timeout: Duration) -> Result<Message> {
        let inbox = subject::one_time_inbox(self.bus.fresh_id());
        let mut answers = self.open(inbox.clone(), None)?;
        self.publish(Message::new(subject.clone(), payload).with_reply(inbox)).await?;
        let answer = tokio::time::timeout(timeout, answers.next()).await.map_err(|_elapsed| {
            Error::new(ErrorKind::Timeout, format!("no answer from {subject} within {timeout:?}"))
        })?;
        super::answered(&subject, answer)
    }

    async fn flush(&self) -> Result<()> {
        self.bus.check_open()
    }

    fn max_payload_bytes(&self) -> usize {
        MAX_PAYLOAD_BYTES
    }

    fn is_connected(&self) -> bool {
        !self.bus.is_closed.load(Ordering::Acquire)
    }
}
