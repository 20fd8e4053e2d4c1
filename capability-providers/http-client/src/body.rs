//! The body of a response on its way to the actor: counted against its limit, and given up when the server stalls.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body as _, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::Sleep;
use trellis_interfaces::http::ErrorCode;
use trellis_provider_sdk::{CallError, CallErrorKind};

use crate::failure::{failure, receiving};

/// A response body that is read as fast as the actor asks for it.
pub(crate) struct Received<H> {
    incoming: Incoming,
    left_bytes: u64,
    idle_timeout: Duration,
    /// Armed while the server owes the next frame.
    idle: Option<Pin<Box<Sleep>>>,
    /// Given back with the body.
    _held: H,
}

impl<H> Received<H> {
    /// The body of a response; `limit_bytes` may be `u64::MAX`, `held` is kept until its end.
    ///
    /// # Errors
    /// `TooLarge` when it says of itself that it is.
    pub(crate) fn new(
        incoming: Incoming,
        limit_bytes: u64,
        idle_timeout: Duration,
        held: H,
    ) -> Result<Self, CallError> {
        if incoming.size_hint().lower() > limit_bytes {
            return Err(too_large());
        }
        Ok(Self { incoming, left_bytes: limit_bytes, idle_timeout, idle: None, _held: held })
    }

    fn poll_idle(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let timeout = self.idle_timeout;
        self.idle.get_or_insert_with(|| Box::pin(tokio::time::sleep(timeout))).as_mut().poll(cx)
    }

    fn count(&mut self, frame: Frame<Bytes>) -> Result<Frame<Bytes>, CallError> {
        let length = frame.data_ref().map_or(0, Bytes::len) as u64;
        self.left_bytes = self.left_bytes.checked_sub(length).ok_or_else(too_large)?;
        Ok(frame)
    }
}

fn too_large() -> CallError {
    let text = "response body is over the `response_limit` of its link";
    failure(CallErrorKind::TooLarge, ErrorCode::HttpResponseBodySize, text)
}

impl<H: Unpin> http_body::Body for Received<H> {
    type Data = Bytes;
    type Error = CallError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, CallError>>> {
        let Poll::Ready(next) = Pin::new(&mut self.incoming).poll_frame(cx) else {
            ready!(self.poll_idle(cx));
            let text = "server stopped sending the response body";
            let error = failure(CallErrorKind::Deadline, ErrorCode::ConnectionReadTimeout, text);
            return Poll::Ready(Some(Err(error)));
        };
        self.idle = None;
        Poll::Ready(next.map(|frame| match frame {
            Ok(frame) => self.count(frame),
            Err(error) => Err(receiving(&error)),
        }))
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}
