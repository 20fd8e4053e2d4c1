//! The body of an answer while the guest that writes it may still run.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http_body::{Body as _, Frame, SizeHint};
use tokio::task::AbortHandle;
use trellis_lattice::body::Body;
use trellis_lattice::error::CallError;
use wasmtime_wasi_http::WasiBody;

use super::body::unfinished;
use super::exchange::Exchange;
use super::service::Run;

/// A body that is at hand and smaller than this is sent as one piece, so that its length is known.
const AT_HAND_BYTES: usize = 64 << 10;

/// Reads what a guest writes.
pub(super) struct Reader {
    /// Frames that were read before anybody asked for them.
    ahead: VecDeque<Frame<Bytes>>,
    body: WasiBody,
    exchange: Arc<Exchange>,
    /// Bytes that are still to come, if the head says how many there are in all.
    left: Option<u64>,
    state: State,
}

enum State {
    /// Frames may come. The guest's task, once it has one: dropping the reader ends it.
    Open(Option<AbortHandle>),
    /// All was read, or it failed; the guest may go on.
    Ended,
}

impl Reader {
    /// Reads `body`, of an answer with `headers`.
    pub(super) fn new(headers: &HeaderMap, body: WasiBody, exchange: Arc<Exchange>) -> Self {
        let length = headers.get(http::header::CONTENT_LENGTH);
        let left = length.and_then(|length| length.to_str().ok()?.parse().ok());
        Self { ahead: VecDeque::new(), body, exchange, left, state: State::Open(None) }
    }

    fn poll_guest(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, CallError>>> {
        if matches!(self.state, State::Ended) {
            return Poll::Ready(None);
        }
        let frame = std::task::ready!(Pin::new(&mut self.body).poll_frame(cx));
        // The writer of a guest that failed is gone, which looks like an end.
        let frame = match (frame, self.exchange.failure()) {
            (Some(Ok(frame)), _) => {
                self.count(&frame);
                return Poll::Ready(Some(Ok(frame)));
            }
            (_, Some(failure)) => Some(Err(failure.clone())),
            (Some(Err(error)), None) => Some(Err(unfinished("answer", &error))),
            (None, None) => None,
        };
        if frame.is_none() {
            self.exchange.set_read();
            self.state = State::Ended;
        }
        Poll::Ready(frame)
    }

    fn count(&mut self, frame: &Frame<Bytes>) {
        if let (Some(left), Some(data)) = (&mut self.left, frame.data_ref()) {
            *left = left.saturating_sub(data.len() as u64);
        }
    }

    fn is_ended(&self) -> bool {
        matches!(self.state, State::Ended)
    }

    /// Reads what the guest can write without waiting. Says whether anything came.
    fn read_ahead(&mut self, cx: &mut Context<'_>) -> Result<bool, CallError> {
        let before = self.ahead.len();
        let mut bytes = self.ahead_bytes();
        while bytes <= AT_HAND_BYTES {
            match self.poll_guest(cx) {
                Poll::Ready(Some(frame)) => self.ahead.push_back(frame?),
                Poll::Ready(None) => return Ok(true),
                Poll::Pending => break,
            }
            bytes = self.ahead_bytes();
        }
        Ok(self.ahead.len() > before)
    }

    fn ahead_bytes(&self) -> usize {
        self.ahead.iter().filter_map(|frame| frame.data_ref()).map(Bytes::len).sum()
    }

    /// Reads as long as frames come without waiting, and lets the guest run meanwhile. Gives back a guest that is not
    /// done then: it needs a task of its own.
    pub(super) async fn read_on(&mut self, mut run: Option<Run>) -> Result<Option<Run>, CallError> {
        poll_fn(|cx| {
            loop {
                let came = self.read_ahead(cx)?;
                let Some(running) = &mut run else { return Poll::Ready(Ok::<_, CallError>(())) };
                if !came || self.ahead_bytes() > AT_HAND_BYTES {
                    return Poll::Ready(Ok(()));
                }
                if running.as_mut().poll(cx).is_ready() {
                    run = None;
                } else if self.is_ended() {
                    return Poll::Ready(Ok(()));
                }
            }
        })
        .await?;
        Ok(run)
    }

    /// The task of the guest that writes the rest.
    pub(super) fn set_guest(&mut self, task: AbortHandle) {
        if let State::Open(handle) = &mut self.state {
            *handle = Some(task);
        }
    }

    /// All of it as one piece, unless it has trailers or is large.
    pub(super) fn into_body(mut self) -> Body {
        let has_trailers = self.ahead.iter().any(Frame::is_trailers);
        if !self.is_ended() || has_trailers || self.ahead_bytes() > AT_HAND_BYTES {
            return Body::stream(self);
        }
        let total = self.ahead_bytes();
        let mut pieces: VecDeque<_> =
            std::mem::take(&mut self.ahead).into_iter().filter_map(|f| f.into_data().ok()).collect();
        if pieces.len() == 1 {
            return pieces.pop_front().unwrap_or_default().into();
        }
        let mut all = BytesMut::with_capacity(total);
        pieces.iter().for_each(|piece| all.extend_from_slice(piece));
        all.freeze().into()
    }
}

impl http_body::Body for Reader {
    type Data = Bytes;
    type Error = CallError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, CallError>>> {
        match self.ahead.pop_front() {
            Some(frame) => Poll::Ready(Some(Ok(frame))),
            None => self.poll_guest(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.ahead.is_empty() && self.is_ended()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        // A reader that knows the length does not ask for the end.
        if self.left == Some(0) {
            self.exchange.set_read();
            return;
        }
        if let State::Open(Some(task)) = &self.state {
            task.abort();
        }
    }
}
