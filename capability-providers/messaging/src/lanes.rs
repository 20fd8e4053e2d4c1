//! Lanes: how the messages of one link are handed over. Those with the same key are handled one after the other, each
//! until it is done; all others side by side, up to a bound.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::{Id, JoinSet};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use tracing::{debug, error, warn};
use trellis_interfaces::messaging::BrokerMessage;
use trellis_provider_sdk::Damper;
use uuid::Uuid;

use crate::broker::Broker;
use crate::config::Redelivery;
use crate::sink::{Failure, Sink};

/// A message on its way to its handler.
pub(crate) struct Delivery {
    /// The message.
    pub(crate) message: BrokerMessage,
    /// What it is kept in order by.
    pub(crate) key: Option<String>,
    /// Tells the broker that it was handled; `None` when the broker keeps nothing, and the message has one try.
    pub(crate) receipt: Option<Receipt>,
}

/// Tells a broker that a message was handled. Dropped without that, it tells nothing, and the broker delivers again.
pub(crate) struct Receipt(Box<dyn FnOnce() -> BoxFuture<'static, ()> + Send>);

impl Receipt {
    /// One that is given by running `tell`.
    pub(crate) fn new<F: Future<Output = ()> + Send + 'static>(tell: impl FnOnce() -> F + Send + 'static) -> Self {
        Self(Box::new(|| Box::pin(tell())))
    }

    async fn give(self) {
        (self.0)().await;
    }
}

type Taken = (Delivery, OwnedSemaphorePermit);

/// The lanes of one link.
pub(crate) struct Lanes {
    ways_in: mpsc::Sender<Taken>,
    slots: Arc<Semaphore>,
    max_in_flight: usize,
    stopping: CancellationToken,
    _task: AbortOnDropHandle<()>,
}

impl Lanes {
    /// Opens lanes to `sink` for so many messages at once.
    pub(crate) fn open(sink: Sink, redelivery: Redelivery, broker: Arc<dyn Broker>, max_in_flight: usize) -> Arc<Self> {
        let (ways_in, arriving) = mpsc::channel(max_in_flight);
        let stopping = CancellationToken::new();
        let failures = Damper::default();
        let worker = Arc::new(Worker { sink, redelivery, broker, failures, stopping: stopping.clone() });
        let task = tokio::spawn(
            Traffic { worker, lanes: HashMap::new(), running: JoinSet::new(), keys: HashMap::new() }.run(arriving),
        );
        let slots = Arc::new(Semaphore::new(max_in_flight));
        Arc::new(Self { ways_in, slots, max_in_flight, stopping, _task: AbortOnDropHandle::new(task) })
    }

    /// Takes a message, once there is room for it.
    pub(crate) async fn take(&self, delivery: Delivery) {
        // Closed lanes take nothing: what comes is dropped without a receipt.
        let Ok(slot) = Arc::clone(&self.slots).acquire_owned().await else { return };
        let _ = self.ways_in.send((delivery, slot)).await;
    }

    /// Takes no more, gives back what waits, and lets what is being handled finish, at most for `limit`.
    pub(crate) async fn close(&self, limit: Duration) {
        self.stopping.cancel();
        let all = u32::try_from(self.max_in_flight).unwrap_or(u32::MAX);
        let _ = tokio::time::timeout(limit, self.slots.acquire_many(all)).await;
        self.slots.close();
    }
}

/// The task that owns the lanes.
struct Traffic {
    worker: Arc<Worker>,
    /// What waits behind a message with the same key that is being handled.
    lanes: HashMap<String, VecDeque<Taken>>,
    running: JoinSet<()>,
    /// The keys of what is being handled.
    keys: HashMap<Id, String>,
}

impl Traffic {
    async fn run(mut self, mut arriving: mpsc::Receiver<Taken>) {
        let stopping = self.worker.stopping.clone();
        loop {
            tokio::select! {
                () = stopping.cancelled() => break,
                Some(taken) = arriving.recv() => self.admit(taken),
                Some(ended) = self.running.join_next_with_id() => {
                    self.follow(ended.map_or_else(|error| error.id(), |(id, ())| id));
                }
                else => break,
            }
        }
        drop((arriving, self.lanes));
        while self.running.join_next().await.is_some() {}
    }

    fn admit(&mut self, taken: Taken) {
        match &taken.0.key {
            None => drop(self.start(taken)),
            Some(key) => match self.lanes.get_mut(key) {
                Some(lane) => lane.push_back(taken),
                None => {
                    let key = key.clone();
                    self.lanes.insert(key.clone(), VecDeque::new());
                    let id = self.start(taken);
                    self.keys.insert(id, key);
                }
            },
        }
    }

    /// The next one in the lane of what has ended.
    fn follow(&mut self, ended: Id) {
        let Some(key) = self.keys.remove(&ended) else { return };
        match self.lanes.get_mut(&key).and_then(VecDeque::pop_front) {
            Some(next) => {
                let id = self.start(next);
                self.keys.insert(id, key);
            }
            None => drop(self.lanes.remove(&key)),
        }
    }

    fn start(&mut self, (delivery, slot): Taken) -> Id {
        let worker = Arc::clone(&self.worker);
        let handled = async move {
            worker.handle(delivery).await;
            drop(slot);
        };
        self.running.spawn(handled).id()
    }
}

/// Hands one message over, again and again if need be.
struct Worker {
    sink: Sink,
    redelivery: Redelivery,
    broker: Arc<dyn Broker>,
    /// Which failures are logged.
    failures: Damper,
    stopping: CancellationToken,
}

impl Worker {
    async fn handle(&self, delivery: Delivery) {
        let Delivery { message, receipt, .. } = delivery;
        let (mut tries, mut failed) = (0_u32, 0_u32);
        loop {
            let failure = match self.sink.take(&message).await {
                Ok(()) => break,
                Err(failure) => failure,
            };
            self.tell(&message, &failure);
            if receipt.is_none() {
                return;
            }
            failed += u32::from(failure.is_handlers_own());
            if self.bury(&message, failed).await {
                break;
            }
            tokio::select! {
                () = sleep(self.pause(tries)) => tries += 1,
                () = self.stopping.cancelled() => return,
            }
        }
        if let Some(receipt) = receipt {
            receipt.give().await;
        }
    }

    fn pause(&self, tries: u32) -> Duration {
        self.redelivery.backoff.saturating_mul(2_u32.saturating_pow(tries)).min(self.redelivery.max_backoff)
    }

    /// Sends a message that failed too often where those go; whether that was due and is done.
    async fn bury(&self, message: &BrokerMessage, failed: u32) -> bool {
        let Some((_, subject)) = self.redelivery.dead_letter.as_ref().filter(|(tries, _)| failed >= *tries) else {
            return false;
        };
        let letter = BrokerMessage { subject: subject.clone(), ..message.clone() };
        match publish_within(&*self.broker, &letter, Uuid::now_v7()).await {
            Ok(()) => {
                warn!(subject = message.subject, dead_letter = subject, failed, "message was given up");
                true
            }
            Err(reason) => {
                if let Some(left_out) = self.failures.admit() {
                    error!(dead_letter = subject, left_out, "dead letter was not taken, message stays: {reason}");
                }
                false
            }
        }
    }

    fn tell(&self, message: &BrokerMessage, failure: &Failure) {
        let subject = message.subject.as_str();
        match self.failures.admit() {
            Some(left_out) => warn!(subject, left_out, "message was not handled: {failure}"),
            None => debug!(subject, "message was not handled: {failure}"),
        }
    }
}

/// How long a broker may take for a message that the provider itself sends.
const PATIENCE: Duration = Duration::from_secs(10);

/// Publishes what the provider sends by itself.
pub(crate) async fn publish_within(broker: &dyn Broker, message: &BrokerMessage, id: Uuid) -> Result<(), String> {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    match tokio::time::timeout_at(deadline, broker.publish(message, id, deadline)).await {
        Ok(result) => result.map_err(|refusal| refusal.to_string()),
        Err(_) => Err("the broker did not take it in time".to_owned()),
    }
}
