//! Messages that a connection sends to itself, to know that the broker has taken in all that was sent before.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::oneshot;

/// The pings that are under way.
#[derive(Default)]
pub(super) struct Pings {
    // A lock, because whoever flushes adds and the reader of the connection removes; held for one operation.
    waiting: Mutex<Waiting>,
}

#[derive(Default)]
struct Waiting {
    last: u64,
    senders: HashMap<u64, oneshot::Sender<()>>,
}

impl Pings {
    /// A ping to send, and what completes when it arrives.
    pub(super) fn begin(&self) -> Ping<'_> {
        let (sender, arrived) = oneshot::channel();
        let mut waiting = self.waiting();
        waiting.last += 1;
        let number = waiting.last;
        waiting.senders.insert(number, sender);
        Ping { pings: self, number, arrived }
    }

    /// A ping has arrived with this payload.
    pub(super) fn arrive(&self, payload: &[u8]) {
        let Ok(number) = payload.try_into().map(u64::from_be_bytes) else { return };
        if let Some(sender) = self.waiting().senders.remove(&number) {
            // Whoever waited may have left.
            let _ = sender.send(());
        }
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A ping under way; forgotten when dropped.
pub(super) struct Ping<'a> {
    pings: &'a Pings,
    number: u64,
    arrived: oneshot::Receiver<()>,
}

impl Ping<'_> {
    pub(super) fn payload(&self) -> Bytes {
        Bytes::copy_from_slice(&self.number.to_be_bytes())
    }

    /// Waits until it arrives.
    pub(super) async fn arrived(&mut self) {
        // The sender is kept until the ping arrives or is dropped.
        let _ = (&mut self.arrived).await;
    }
}

impl Drop for Ping<'_> {
    fn drop(&mut self) {
        self.pings.waiting().senders.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::Pings;

    #[tokio::test]
    async fn a_ping_arrives_once_and_is_forgotten() {
        let pings = Pings::default();
        let (mut one, other) = (pings.begin(), pings.begin());
        pings.arrive(b"what is this");
        pings.arrive(&one.payload());
        pings.arrive(&one.payload());
        one.arrived().await;
        drop((one, other));
        assert!(pings.waiting().senders.is_empty());
    }
}
