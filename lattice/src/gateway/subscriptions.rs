//! The subscriptions of one client, by the id that it gave them.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::outbound::Outbound;
use crate::error::Result;
use crate::subject::{QueueGroup, Subject};
use crate::transport::Message;
use crate::transport::memory::{Delivery, MemoryTransport, Registration, Sink};

/// At most so many subscriptions a client.
const MAX_SUBSCRIPTIONS: usize = 16 * 1024;

/// The subscriptions of one client; all end when dropped.
#[derive(Default)]
pub(super) struct Subscriptions {
    by_id: HashMap<Box<str>, (Arc<Reader>, Registration)>,
    // Those that ended by their limit are removed when there are so many, as clients do not end them again.
    sweep_at: usize,
}

/// What a client's subscription reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum HeaderSupport {
    /// Messages as they are.
    Full,
    /// Payloads only: the client did not say that it knows headers.
    None,
}

/// There are too many.
pub(super) struct TooMany;

impl Subscriptions {
    /// Subscribes; one with the same id ends.
    pub(super) fn add(
        &mut self,
        transport: &MemoryTransport,
        (subject, group): (Subject, Option<QueueGroup>),
        reader: Reader,
    ) -> Result<Result<(), TooMany>> {
        self.sweep();
        if self.by_id.len() >= MAX_SUBSCRIPTIONS {
            return Ok(Err(TooMany));
        }
        let (id, reader) = (reader.id.clone(), Arc::new(reader));
        let registration = transport.attach(subject, group, reader.clone())?;
        self.by_id.insert(id, (reader, registration));
        Ok(Ok(()))
    }

    /// Ends one, now or after it has had so many messages in all.
    pub(super) fn remove(&mut self, id: &str, after: Option<u64>) {
        let Some((reader, _)) = self.by_id.get(id) else { return };
        if let Some(after) = after.filter(|&after| after > reader.delivered.load(Ordering::Acquire)) {
            return reader.limit.store(after, Ordering::Release);
        }
        self.by_id.remove(id);
    }

    fn sweep(&mut self) {
        if self.by_id.len() >= self.sweep_at {
            self.by_id.retain(|_, (reader, _)| !reader.is_over());
            self.sweep_at = self.by_id.len() * 2 + 64;
        }
    }
}

/// One subscription, as the bus sees it.
pub(super) struct Reader {
    id: Box<str>,
    outbound: Arc<Outbound>,
    headers: HeaderSupport,
    delivered: AtomicU64,
    limit: AtomicU64,
}

impl Reader {
    pub(super) fn new(id: Box<str>, outbound: Arc<Outbound>, headers: HeaderSupport) -> Self {
        Self { id, outbound, headers, delivered: AtomicU64::new(0), limit: AtomicU64::new(u64::MAX) }
    }

    fn is_over(&self) -> bool {
        self.delivered.load(Ordering::Acquire) >= self.limit.load(Ordering::Acquire)
    }
}

impl Sink for Reader {
    fn deliver(&self, message: &Message) -> Delivery {
        let taken = self.delivered.fetch_update(Ordering::AcqRel, Ordering::Acquire, |delivered| {
            (delivered < self.limit.load(Ordering::Acquire)).then_some(delivered + 1)
        });
        if taken.is_err() {
            return Delivery::Gone;
        }
        match self.headers {
            HeaderSupport::Full => self.outbound.message(&self.id, message),
            HeaderSupport::None if message.status.is_some() => Delivery::Taken,
            HeaderSupport::None => {
                let plain = Message { headers: Vec::new(), ..message.clone() };
                self.outbound.message(&self.id, &plain)
            }
        }
    }
}
