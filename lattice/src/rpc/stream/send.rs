//! The sending end of a body.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use bytes::{Buf as _, Bytes};
use http::HeaderMap;
use http_body::Frame;
use http_body_util::BodyExt as _;
use tokio::sync::Notify;
use tokio::time::timeout;

use super::{IDLE_TIMEOUT, KEEP_ALIVE, cost};
use crate::body::Body;
use crate::error::{CallError, CallErrorKind};
use crate::rpc::core::{Core, Lane};
use crate::wire::reply::encode_error;
use crate::wire::{Chunk, End, HEADER_BYTES, Kind, MAX_CHUNK_BYTES, WINDOW_BYTES};

/// What the receiver allows the sender of a body.
#[derive(Debug)]
pub(in crate::rpc) struct Credit {
    total_bytes: AtomicU64,
    is_stopped: AtomicBool,
    changed: Notify,
}

impl Default for Credit {
    fn default() -> Self {
        Self { total_bytes: AtomicU64::new(WINDOW_BYTES), is_stopped: AtomicBool::new(false), changed: Notify::new() }
    }
}

impl Credit {
    /// The receiver allows `total_bytes` in all. Less than before means nothing: it came late.
    pub(in crate::rpc) fn grant(&self, total_bytes: u64) {
        self.total_bytes.fetch_max(total_bytes, Ordering::AcqRel);
        self.changed.notify_waiters();
    }

    /// The receiver reads no more.
    pub(in crate::rpc) fn stop(&self) {
        self.is_stopped.store(true, Ordering::Release);
        self.changed.notify_waiters();
    }

    /// Waits until the receiver reads no more.
    async fn stopped(&self) {
        self.until(|| self.is_stopped.load(Ordering::Acquire)).await;
    }

    /// Waits until `total_bytes` may be sent, or nothing any more.
    async fn allows(&self, total_bytes: u64) {
        let is_free = || self.total_bytes.load(Ordering::Acquire) >= total_bytes;
        self.until(|| is_free() || self.is_stopped.load(Ordering::Acquire)).await;
    }

    async fn until(&self, condition: impl Fn() -> bool) {
        loop {
            let mut changed = std::pin::pin!(self.changed.notified());
            changed.as_mut().enable();
            if condition() {
                return;
            }
            changed.await;
        }
    }
}

/// A body to send, after a value that did not fit in the frame.
pub(in crate::rpc) struct Outgoing {
    /// The value, or nothing.
    pub(in crate::rpc) value: Bytes,
    /// The body.
    pub(in crate::rpc) body: Body,
}

/// Sends a body to its end, or until the receiver wants no more. If this future is dropped before, the receiver is
/// told that the body breaks off.
pub(in crate::rpc) async fn pump(core: Arc<Core>, lane: Lane, credit: Arc<Credit>, outgoing: Outgoing) {
    let mut sender = Sender { core, lane, credit, sequence: 0, sent_bytes: 0, is_done: false };
    if let Err(error) = sender.run(outgoing).await {
        sender.abort(&error);
    }
    sender.is_done = true;
}

struct Sender {
    core: Arc<Core>,
    lane: Lane,
    credit: Arc<Credit>,
    sequence: u64,
    sent_bytes: u64,
    is_done: bool,
}

impl Sender {
    async fn run(&mut self, outgoing: Outgoing) -> Result<(), CallError> {
        let Outgoing { value, mut body } = outgoing;
        self.data(value).await?;
        loop {
            let credit = Arc::clone(&self.credit);
            let next = tokio::select! {
                biased;
                () = credit.stopped() => return Ok(()),
                next = timeout(KEEP_ALIVE, body.frame()) => next,
            };
            match next {
                Err(_) => self.chunk(&[]).await?,
                Ok(None) => return self.end(None).await,
                Ok(Some(frame)) => match frame?.into_data() {
                    Ok(data) => self.data(data).await?,
                    Err(other) => return self.end(Frame::into_trailers(other).ok()).await,
                },
            }
        }
    }

    async fn data(&mut self, mut data: Bytes) -> Result<(), CallError> {
        let limit = MAX_CHUNK_BYTES.min(self.core.frame_limit_bytes().saturating_sub(HEADER_BYTES).max(1));
        while data.has_remaining() {
            let piece = data.split_to(limit.min(data.len()));
            let total_bytes = self.sent_bytes + cost(piece.len());
            let waited = timeout(IDLE_TIMEOUT, self.credit.allows(total_bytes)).await;
            if waited.is_err() {
                return Err(CallError::deadline("body was given up: nobody read it for 30 s"));
            }
            if self.credit.is_stopped.load(Ordering::Acquire) {
                return Ok(());
            }
            self.sent_bytes = total_bytes;
            self.chunk(&piece).await?;
        }
        Ok(())
    }

    async fn chunk(&mut self, data: &[u8]) -> Result<(), CallError> {
        let frame = Chunk { sequence: self.take_sequence(), data }.encode(self.lane.prefix(Kind::Chunk));
        self.core.publish(self.lane.letter(frame)).await
    }

    async fn end(&mut self, trailers: Option<HeaderMap>) -> Result<(), CallError> {
        let trailers = trailers.unwrap_or_default();
        let trailers = trailers.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
        let end = End { sequence: self.take_sequence(), trailers };
        let frame = end.encode(self.lane.prefix(Kind::End)).map_err(|error| CallError::too_large(error.to_string()))?;
        self.core.publish(self.lane.letter(frame)).await
    }

    fn abort(&mut self, error: &CallError) {
        self.core.outbox.post(self.lane.letter(encode_error(self.lane.prefix(Kind::Abort), error)));
    }

    fn take_sequence(&mut self) -> u64 {
        let sequence = self.sequence;
        self.sequence += 1;
        sequence
    }
}

impl Drop for Sender {
    fn drop(&mut self) {
        if !self.is_done {
            self.abort(&CallError::new(CallErrorKind::Cancelled, "body breaks off: its sender left"));
        }
    }
}
