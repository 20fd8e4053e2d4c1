//! Bodies that hold something until they were read: the place of their call, say.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use trellis_lattice::body::Body;
use trellis_lattice::error::CallError;

/// The same body, which has `held` until it was read or dropped; one that is there already gives it back at once.
pub(crate) fn until_read<T: Send + Unpin + 'static>(body: Body, held: T) -> Body {
    match body {
        Body::Empty | Body::Bytes(_) => body,
        Body::Stream(_) => Body::stream(Holding { body, _held: held }),
    }
}

struct Holding<T> {
    body: Body,
    _held: T,
}

impl<T: Unpin> http_body::Body for Holding<T> {
    type Data = Bytes;
    type Error = CallError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, CallError>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
