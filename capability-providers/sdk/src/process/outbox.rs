//! What is to be written to the socket: in order, several messages at once, and never more than a bound.

use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::{AsyncWrite, AsyncWriteExt as _};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use trellis_lattice::wire::{Kind, Prefix, Tag};
use uuid::Uuid;

use super::frame;
use crate::{CallError, CallErrorKind};

/// Messages that carry much (calls, answers, chunks) and wait to be written; who sends more waits.
const WAITING: usize = 64;
/// Short messages that wait to be written. No end that reads lets so many come together.
const WAITING_SHORT: usize = 16 << 10;
/// As much is written at a time.
const WRITE_BYTES: usize = 256 << 10;
/// The other end may take so long to read something before it is taken for hung.
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);

type Queued = (Vec<u8>, OwnedSemaphorePermit);

/// Where messages are put.
#[derive(Clone)]
pub(super) struct Outbox {
    /// Bounded by the permits of what waits there.
    queue: mpsc::UnboundedSender<Queued>,
    room: Arc<Semaphore>,
    short: Arc<Semaphore>,
}

/// Where they are taken from.
pub(super) struct Queue(mpsc::UnboundedReceiver<Queued>);

/// An empty outbox.
pub(super) fn outbox() -> (Outbox, Queue) {
    let (queue, taken) = mpsc::unbounded_channel();
    let semaphore = |permits| Arc::new(Semaphore::new(permits));
    (Outbox { queue, room: semaphore(WAITING), short: semaphore(WAITING_SHORT) }, Queue(taken))
}

impl Outbox {
    /// Sends a message, waiting for room.
    ///
    /// # Errors
    /// `NoTarget` when the channel is closed: nothing was sent.
    pub(super) async fn send(&self, message: Vec<u8>) -> Result<(), CallError> {
        let closed = || CallError::no_target("the channel between host and provider is closed");
        let permit = Arc::clone(&self.room).acquire_owned().await.map_err(|_| closed())?;
        self.queue.send((message, permit)).map_err(|_| closed())
    }

    /// Sends a short message at once. The channel closes when too many wait: the other end asks and does not read.
    pub(super) fn post(&self, message: Vec<u8>) {
        match Arc::clone(&self.short).try_acquire_owned() {
            // Nobody is there to be told when the channel is closed.
            Ok(permit) => drop(self.queue.send((message, permit))),
            Err(_) => self.close(),
        }
    }

    /// Nothing can be sent from now on.
    pub(super) fn close(&self) {
        self.room.close();
    }

    /// The way of frames about one call.
    pub(super) fn lane(&self, id: Uuid) -> Lane {
        Lane { outbox: self.clone(), id }
    }
}

/// The way of frames about one call.
#[derive(Clone)]
pub(super) struct Lane {
    pub(super) outbox: Outbox,
    pub(super) id: Uuid,
}

impl Lane {
    /// What a frame begins with. The socket has two ends that know each other: there is no session and no seal.
    pub(super) fn prefix(&self, kind: Kind) -> Prefix {
        Prefix { kind, tag: Tag::default(), id: self.id }
    }
}

impl Queue {
    /// Writes until the stream fails or every outbox is gone.
    pub(super) async fn write_to(mut self, mut stream: impl AsyncWrite + Unpin) -> Result<(), CallError> {
        let mut bytes = BytesMut::new();
        let mut permits = Vec::new();
        while let Some((message, permit)) = self.0.recv().await {
            frame::put(&mut bytes, &message);
            permits.push(permit);
            while bytes.len() < WRITE_BYTES
                && let Ok((message, permit)) = self.0.try_recv()
            {
                frame::put(&mut bytes, &message);
                permits.push(permit);
            }
            let lost = |why: String| CallError::new(CallErrorKind::UnknownOutcome, why);
            match tokio::time::timeout(WRITE_TIMEOUT, stream.write_all(&bytes)).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => return Err(lost(format!("the channel broke: {error}"))),
                Err(_) => return Err(lost(format!("nothing was read for {} s", WRITE_TIMEOUT.as_secs()))),
            }
            bytes.clear();
            permits.clear();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{WAITING_SHORT, outbox};

    #[tokio::test]
    async fn an_end_that_does_not_read_is_not_answered_without_bound() {
        let (outbox, mut queue) = outbox();
        (0..WAITING_SHORT).for_each(|_| outbox.post(Vec::new()));
        outbox.send(Vec::new()).await.expect("there is room for what carries much");
        (0..10).for_each(|_| outbox.post(Vec::new()));
        assert!(outbox.send(Vec::new()).await.is_err(), "the channel is closed");
        let waiting = std::iter::from_fn(|| queue.0.try_recv().ok()).count();
        assert_eq!(waiting, WAITING_SHORT + 1);
    }
}
