//! What goes wrong on purpose between the endpoints of a bus: loss, duplicates, delays and partitions, by seed.
//!
//! Order per sender and reader is kept, as it is on a real connection. What an endpoint sends to itself is left alone.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, HashSet};
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

use super::routes::Member;
use super::{Delivery, Sink};
use crate::transport::Message;

/// At most so many messages are under way; what is over that is lost.
const MAX_DELAYED: usize = 64 * 1024;

/// How often what goes wrong; all zero by default.
#[derive(Debug, Clone, PartialEq)]
pub struct Rates {
    /// The share of messages that are lost, 0 to 1.
    pub drop: f64,
    /// The share of messages that arrive twice, 0 to 1.
    pub duplicate: f64,
    /// How long messages are under way, evenly spread; an empty range for no delay.
    pub delay: Range<Duration>,
}

impl Default for Rates {
    fn default() -> Self {
        Self { drop: 0.0, duplicate: 0.0, delay: Duration::ZERO..Duration::ZERO }
    }
}

/// The faults of one bus. Cheap to clone; all clones are the same faults.
#[derive(Clone)]
pub struct Faults(Arc<Inner>);

struct Inner {
    // A lock, because every publisher rolls the same dice; faults are for tests only.
    plan: Mutex<Plan>,
    delayed: Arc<Delayed>,
    _courier: AbortOnDropHandle<()>,
}

struct Plan {
    dice: StdRng,
    rates: Rates,
    cut: HashSet<(Arc<str>, Arc<str>)>,
    // When the last message from an endpoint to a member arrives: no later one arrives before it.
    last_arrival: HashMap<(Arc<str>, u64), Instant>,
    sent: u64,
}

impl Faults {
    /// Faults that follow from `seed`: the same messages in the same order have the same fate. To be called in a
    /// Tokio runtime, as a task carries what is delayed.
    #[must_use]
    pub fn new(seed: u64, rates: Rates) -> Self {
        let dice = StdRng::seed_from_u64(seed);
        let plan = Plan { dice, rates, cut: HashSet::new(), last_arrival: HashMap::new(), sent: 0 };
        let delayed = Arc::new(Delayed::default());
        let courier = AbortOnDropHandle::new(tokio::spawn(carry(delayed.clone())));
        Self(Arc::new(Inner { plan: Mutex::new(plan), delayed, _courier: courier }))
    }

    /// Replaces the rates.
    pub fn set_rates(&self, rates: Rates) {
        self.plan().rates = rates;
    }

    /// Cuts `one` and `other` off from each other, both ways. What is under way still arrives.
    pub fn partition(&self, one: &str, other: &str) {
        self.plan().cut.insert(pair(one, other));
    }

    /// Lets `one` and `other` hear each other again.
    pub fn heal(&self, one: &str, other: &str) {
        self.plan().cut.remove(&pair(one, other));
    }

    /// Ends all partitions.
    pub fn heal_all(&self) {
        self.plan().cut.clear();
    }

    /// A number below `count`, by the same dice.
    pub(super) fn draw(&self, count: usize) -> usize {
        self.plan().dice.random_range(0..count)
    }

    fn plan(&self) -> MutexGuard<'_, Plan> {
        self.0.plan.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Decides what becomes of `message`. What is lost counts as taken: a broker cannot tell.
    pub(super) fn deliver(&self, from: &Arc<str>, member: &Member, message: &Message) -> Delivery {
        if *from == member.endpoint {
            return member.sink.deliver(message);
        }
        let fate = self.plan().decide(from, member);
        match fate {
            Fate::Lost => Delivery::Taken,
            Fate::Now { copies } => (0..copies).fold(Delivery::Taken, |_, _| member.sink.deliver(message)),
            Fate::Later { copies, at, sent } => {
                let parcel = Parcel { at, sent, copies, sink: member.sink.clone(), message: message.clone() };
                self.0.delayed.add(parcel)
            }
        }
    }
}

impl std::fmt::Debug for Faults {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Faults").field(&self.plan().rates).finish()
    }
}

fn pair(one: &str, other: &str) -> (Arc<str>, Arc<str>) {
    if one <= other { (one.into(), other.into()) } else { (other.into(), one.into()) }
}

enum Fate {
    Lost,
    Now { copies: u8 },
    Later { copies: u8, at: Instant, sent: u64 },
}

impl Plan {
    fn decide(&mut self, from: &Arc<str>, member: &Member) -> Fate {
        let lost = self.dice.random_bool(self.rates.drop.clamp(0.0, 1.0));
        let copies = if self.dice.random_bool(self.rates.duplicate.clamp(0.0, 1.0)) { 2 } else { 1 };
        let delay =
            if self.rates.delay.is_empty() { Duration::ZERO } else { self.dice.random_range(self.rates.delay.clone()) };
        if lost || self.cut.contains(&pair(from, &member.endpoint)) {
            return Fate::Lost;
        }
        let now = Instant::now();
        let key = (from.clone(), member.id);
        let earliest = self.last_arrival.get(&key).copied().unwrap_or(now);
        let at = earliest.max(now + delay);
        if at <= now {
            return Fate::Now { copies };
        }
        self.last_arrival.insert(key, at);
        self.sent += 1;
        Fate::Later { copies, at, sent: self.sent }
    }
}

struct Parcel {
    at: Instant,
    sent: u64,
    copies: u8,
    sink: Arc<dyn Sink>,
    message: Message,
}

impl PartialEq for Parcel {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Parcel {}

impl PartialOrd for Parcel {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Parcel {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.sent).cmp(&(other.at, other.sent))
    }
}

/// What is under way, soonest first.
#[derive(Default)]
struct Delayed {
    parcels: Mutex<BinaryHeap<Reverse<Parcel>>>,
    added: Notify,
}

impl Delayed {
    fn parcels(&self) -> MutexGuard<'_, BinaryHeap<Reverse<Parcel>>> {
        self.parcels.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, parcel: Parcel) -> Delivery {
        let mut parcels = self.parcels();
        if parcels.len() >= MAX_DELAYED {
            return Delivery::Lost;
        }
        parcels.push(Reverse(parcel));
        drop(parcels);
        self.added.notify_one();
        Delivery::Taken
    }

    /// What is due, and when the next one will be.
    fn take_due(&self, now: Instant) -> (Vec<Parcel>, Option<Instant>) {
        let mut parcels = self.parcels();
        let mut due = Vec::new();
        while let Some(Reverse(next)) = parcels.peek() {
            if next.at > now {
                return (due, Some(next.at));
            }
            due.extend(parcels.pop().map(|Reverse(parcel)| parcel));
        }
        (due, None)
    }
}

async fn carry(delayed: Arc<Delayed>) {
    loop {
        let (due, next) = delayed.take_due(Instant::now());
        for parcel in due {
            for _ in 0..parcel.copies {
                parcel.sink.deliver(&parcel.message);
            }
        }
        match next {
            None => delayed.added.notified().await,
            Some(at) => {
                // Whichever comes first; the other is looked at again in the next round.
                let _ = tokio::time::timeout_at(at, delayed.added.notified()).await;
            }
        }
    }
}
