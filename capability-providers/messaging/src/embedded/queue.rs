//! One queue in memory: who reads it, and what of it is in someone's hands. Its messages are in the file.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;
use trellis_interfaces::messaging::BrokerMessage;

use super::file::File;
use crate::config::{Order, QueueLimits};
use crate::lanes::Lanes;
use crate::subject::Pattern;

/// A message's place: the number of its queue, and its own.
pub(super) type Place = (u64, u64);

/// One queue.
pub(super) struct Queue {
    pub(super) id: u64,
    pub(super) group: String,
    pub(super) pattern: Pattern,
    name: String,
    messages: AtomicU64,
    bytes: AtomicU64,
    is_removed: AtomicBool,
    /// Something may be there to be claimed.
    news: Notify,
    /// A lock because several links may read one queue; held for one read of the file at most.
    state: Mutex<State>,
}

struct State {
    /// All before this were claimed.
    next: u64,
    /// Claimed once and given back.
    returned: BTreeSet<u64>,
    readers: BTreeMap<u64, Reader>,
    /// The number of the reader that was given a request last.
    last_reader: u64,
    /// Since when nobody reads it.
    alone_since: Instant,
}

/// A link that reads a queue.
#[derive(Clone)]
pub(super) struct Reader {
    pub(super) lanes: Arc<Lanes>,
    pub(super) order: Option<Order>,
}

impl Queue {
    pub(super) fn new(id: u64, group: String, pattern: Pattern) -> Self {
        let state = State {
            next: 0,
            returned: BTreeSet::new(),
            readers: BTreeMap::new(),
            last_reader: 0,
            alone_since: Instant::now(),
        };
        Self {
            id,
            name: format!("{group} of {}", pattern.as_str()),
            group,
            pattern,
            messages: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            is_removed: AtomicBool::new(false),
            news: Notify::new(),
            state: Mutex::new(state),
        }
    }

    /// For people.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// How many messages are in it.
    pub(super) fn waiting(&self) -> u64 {
        self.messages.load(Ordering::Relaxed)
    }

    pub(super) fn is_full(&self, limits: QueueLimits) -> bool {
        self.waiting() >= limits.max_messages || self.bytes.load(Ordering::Relaxed) >= limits.max_bytes
    }

    pub(super) fn is_removed(&self) -> bool {
        self.is_removed.load(Ordering::Relaxed)
    }

    /// Whether nobody has read it for so long.
    pub(super) fn is_abandoned_for(&self, time: Duration) -> bool {
        let state = self.state();
        state.readers.is_empty() && state.alone_since.elapsed() >= time
    }

    pub(super) fn remove(&self) {
        self.is_removed.store(true, Ordering::Relaxed);
    }

    /// A message of so many bytes was written.
    pub(super) fn grew(&self, bytes: u64) {
        self.messages.fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        self.news.notify_waiters();
    }

    /// A message of so many bytes was removed.
    pub(super) fn shrank(&self, bytes: u64) {
        self.messages.fetch_sub(1, Ordering::Relaxed);
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Adds a reader until what comes back is dropped.
    pub(super) fn read_by(self: &Arc<Self>, reader: Reader) -> Reading {
        let mut state = self.state();
        let number = state.readers.last_key_value().map_or(1, |(last, _)| last + 1);
        state.readers.insert(number, reader.clone());
        Reading { queue: self.clone(), number, reader }
    }

    /// The reader whose turn it is with a request.
    pub(super) fn next_reader(&self) -> Option<Reader> {
        let mut state = self.state();
        let after = state.readers.range(state.last_reader + 1..).next();
        let (&number, reader) = after.or_else(|| state.readers.first_key_value())?;
        let reader = reader.clone();
        state.last_reader = number;
        Some(reader)
    }

    /// The first message that nobody has, once there is one.
    pub(super) async fn claim(self: &Arc<Self>, file: &File) -> Result<Claim, String> {
        loop {
            let mut news = std::pin::pin!(self.news.notified());
            // From here on no news is missed.
            news.as_mut().enable();
            if let Some(claim) = self.try_claim(file)? {
                return Ok(claim);
            }
            news.await;
        }
    }

    fn try_claim(self: &Arc<Self>, file: &File) -> Result<Option<Claim>, String> {
        let mut state = self.state();
        // What was handled after all, before it came back, is not there any more.
        while let Some(sequence) = state.returned.pop_first() {
            if let Some((found, message)) = file.first(self.id, sequence)?
                && found == sequence
            {
                return Ok(Some(self.claimed(sequence, message)));
            }
        }
        let Some((sequence, message)) = file.first(self.id, state.next)? else { return Ok(None) };
        state.next = sequence + 1;
        Ok(Some(self.claimed(sequence, message)))
    }

    fn claimed(self: &Arc<Self>, sequence: u64, message: BrokerMessage) -> Claim {
        Claim { queue: self.clone(), sequence, message, is_done: false }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A reader of a queue, until it is dropped.
pub(super) struct Reading {
    queue: Arc<Queue>,
    number: u64,
    reader: Reader,
}

impl Reading {
    pub(super) fn queue(&self) -> &Arc<Queue> {
        &self.queue
    }

    pub(super) fn reader(&self) -> &Reader {
        &self.reader
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        let mut state = self.queue.state();
        state.readers.remove(&self.number);
        state.alone_since = Instant::now();
    }
}

/// A message in someone's hands. Dropped unfinished, it goes back to its place.
pub(super) struct Claim {
    queue: Arc<Queue>,
    sequence: u64,
    message: BrokerMessage,
    is_done: bool,
}

impl Claim {
    pub(super) fn message(&self) -> &BrokerMessage {
        &self.message
    }

    pub(super) fn place(&self) -> Place {
        (self.queue.id, self.sequence)
    }

    /// It is no longer in the file.
    pub(super) fn finish(mut self) {
        self.is_done = true;
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        if !self.is_done {
            self.queue.state().returned.insert(self.sequence);
            self.queue.news.notify_waiters();
        }
    }
}
