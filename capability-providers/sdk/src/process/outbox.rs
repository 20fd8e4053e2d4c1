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
/// As much is written at a time.
const WRITE_BYTES: usize = 256 << 10;
/// The other end may take so long to read something before it is taken for hung.
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);

type Queued = (Vec<u8>, Option<OwnedSemaphorePermit>);

/// Where messages are put.
#[derive(Clone)]
pub(super) struct Outbox {
    queue: mpsc::UnboundedSender<Queued>,
    room: Arc<Semaphore>,
}

/// Where they are taken from.
pub(super) struct Queue(mpsc::UnboundedReceiver<Queued>);

/// An empty outbox.
pub(super) fn outbox() -> (Outbox, Queue) {
    let (queue, taken) = mpsc::unbounded_channel();
    (Outbox { queue, room: Arc::new(Semaphore::new(WAITING)) }, Queue(taken))
}

impl Outbox {
    /// Sends a message, waiting for room.
    ///
    /// # Errors
    /// `NoTarget` when the channel is closed: nothing was sent.
    pub(super) async fn send(&self, message: Vec<u8>) -> Result<(), CallError> {
        let closed = || CallError::no_target("the channel between host and provider is closed");
        let permit = Arc::clone(&self.room).acquire_owned().await.map_err(|_| closed())?;
        self.queue.send((message, Some(permit))).map_err(|_| closed())
    }

    /// Sends a short message at once. There are as many of these as the other end sends messages that carry much, and
    /// the channel breaks when it does not read them.
    pub(super) fn post(&self, message: Vec<u8>) {
        // Nobody is there to be told when the channel is closed.
        let _ = self.queue.send((message, None));
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
            permits.extend(permit);
            while bytes.len() < WRITE_BYTES
                && let Ok((message, permit)) = self.0.try_recv()
            {
                frame::put(&mut bytes, &message);
                permits.extend(permit);
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
