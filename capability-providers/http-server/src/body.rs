//! The body of a request on its way to the actor: counted against its limit, and given up when the client stalls.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body as _, Frame, SizeHint};
use hyper::body::Incoming;
use trellis_provider_sdk::CallError;

use crate::pace::{MinPace, Pace, TooSlow};

/// Set once a body went over its limit, so that the answer says 413 whatever the actor made of it.
pub(crate) type Exceeded = Arc<AtomicBool>;

/// A request body that is read as fast as the actor asks for it.
pub(crate) struct Guarded {
    incoming: Incoming,
    /// Read before anybody asked for it.
    first: Option<Frame<Bytes>>,
    left_bytes: u64,
    exceeded: Exceeded,
    /// Of the client, while it owes the next frame.
    pace: Pace,
}

impl Guarded {
    /// Guards `incoming`; `limit_bytes` may be `u64::MAX`.
    pub(crate) fn new(incoming: Incoming, limit_bytes: u64, min: MinPace) -> (Self, Exceeded) {
        let exceeded = Exceeded::default();
        let guarded =
            Self { incoming, first: None, left_bytes: limit_bytes, exceeded: exceeded.clone(), pace: Pace::new(min) };
        (guarded, exceeded)
    }

    /// Reads the first frame. A client that waits for `100 Continue` is told so by the first read, and only before
    /// the response begins; an actor may well begin its response first.
    pub(crate) async fn begin(&mut self) -> Result<(), CallError> {
        self.first = poll_fn(|cx| Pin::new(&mut *self).poll_frame(cx)).await.transpose()?;
        Ok(())
    }

    fn count(&mut self, frame: Frame<Bytes>) -> Result<Frame<Bytes>, CallError> {
        let length = frame.data_ref().map_or(0, Bytes::len);
        match self.left_bytes.checked_sub(length as u64) {
            Some(left) => self.left_bytes = left,
            None => {
                self.exceeded.store(true, Ordering::Relaxed);
                return Err(CallError::too_large("request body is over the limit of its link"));
            }
        }
        self.pace.moved(length).map_err(|TooSlow| too_slow())?;
        Ok(frame)
    }
}

fn too_slow() -> CallError {
    CallError::deadline("client stopped sending the request body, or sends it too slowly")
}

impl http_body::Body for Guarded {
    type Data = Bytes;
    type Error = CallError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, CallError>>> {
        if let Some(first) = self.first.take() {
            return Poll::Ready(Some(Ok(first)));
        }
        let Poll::Ready(next) = Pin::new(&mut self.incoming).poll_frame(cx) else {
            ready!(self.pace.poll_stalled(cx));
            return Poll::Ready(Some(Err(too_slow())));
        };
        Poll::Ready(next.map(|frame| match frame {
            Ok(frame) => self.count(frame),
            Err(error) => Err(CallError::provider(format!("request body broke off: {error}"))),
        }))
    }

    fn is_end_stream(&self) -> bool {
        self.first.is_none() && self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let mut hint = self.incoming.size_hint();
        if let Some(ahead) = self.first.as_ref().and_then(|frame| frame.data_ref()) {
            let ahead = ahead.len() as u64;
            // Upper before lower: at no time may the lower one be above.
            if let Some(upper) = hint.upper() {
                hint.set_upper(upper + ahead);
            }
            hint.set_lower(hint.lower() + ahead);
        }
        hint
    }
}
