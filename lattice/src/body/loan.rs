//! Bodies that can be had back for another attempt: a stream as long as nothing of it was read.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Frame, SizeHint};

use super::Body;
use crate::error::{CallError, CallErrorKind};

/// What is kept of a body that went with an attempt.
#[derive(Debug)]
pub struct Loan(Kept);

#[derive(Debug)]
enum Kept {
    /// No stream: there are as many of it as are wanted.
    Copy(Body),
    /// The stream, which whoever reads it takes out with its first frame.
    Shared(Shared),
}

/// A lock because both ends are polled by tasks of their own; it is held for one poll, and by one end at a time.
type Shared = Arc<Mutex<Option<Body>>>;

impl Body {
    /// The body for an attempt, and what to have it back by when that has failed.
    pub fn lend(self) -> (Self, Loan) {
        match self {
            Self::Empty => (Self::Empty, Loan(Kept::Copy(Self::Empty))),
            Self::Bytes(bytes) => (Self::Bytes(bytes.clone()), Loan(Kept::Copy(Self::Bytes(bytes)))),
            stream @ Self::Stream(_) => {
                let shared = Shared::new(Mutex::new(Some(stream)));
                (Self::stream(Lent::Whole(Arc::clone(&shared))), Loan(Kept::Shared(shared)))
            }
        }
    }
}

impl Loan {
    /// The body for another attempt, unless some of it was read. What was lent gives nothing any more.
    pub fn take_back(self) -> Option<Body> {
        match self.0 {
            Kept::Copy(body) => Some(body),
            Kept::Shared(shared) => lock(&shared).take(),
        }
    }
}

/// A stream that may be asked back.
enum Lent {
    /// Nothing of it was read yet, or it was asked back.
    Whole(Shared),
    /// Some of it was read: it stays here.
    Begun(Body),
}

impl http_body::Body for Lent {
    type Data = Bytes;
    type Error = CallError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, CallError>>> {
        let (next, begun) = match &mut *self {
            Self::Begun(body) => return Pin::new(body).poll_frame(cx),
            Self::Whole(shared) => {
                let mut kept = lock(shared);
                let Some(body) = kept.as_mut() else { return Poll::Ready(Some(Err(asked_back()))) };
                let next = ready!(Pin::new(body).poll_frame(cx));
                // One that ends at once can be had again: there is nothing in it.
                let left = if next.is_some() { None } else { Some(Body::Empty) };
                (next, std::mem::replace(&mut *kept, left).unwrap_or_default())
            }
        };
        *self = Self::Begun(begun);
        Poll::Ready(next)
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(shared) => lock(shared).as_ref().is_some_and(http_body::Body::is_end_stream),
            Self::Begun(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(shared) => lock(shared).as_ref().map_or_else(SizeHint::new, http_body::Body::size_hint),
            Self::Begun(body) => body.size_hint(),
        }
    }
}

fn lock(shared: &Mutex<Option<Body>>) -> MutexGuard<'_, Option<Body>> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

fn asked_back() -> CallError {
    CallError::new(CallErrorKind::Cancelled, "the attempt that this body went with is over")
}

#[cfg(test)]
mod tests {
    use std::task::{Context, Poll, Waker};

    use bytes::Bytes;
    use http_body::Frame;
    use http_body_util::{BodyExt as _, StreamBody};
    use tokio::sync::mpsc;

    use super::Body;
    use crate::error::CallError;

    type Sender = mpsc::UnboundedSender<Result<Frame<Bytes>, CallError>>;

    /// A stream of what is sent.
    fn stream() -> (Sender, Body) {
        let (frames, mut arriving) = mpsc::unbounded_channel();
        (frames, Body::stream(StreamBody::new(futures::stream::poll_fn(move |cx| arriving.poll_recv(cx)))))
    }

    fn is_pending(body: &mut Body) -> bool {
        let polled = std::pin::Pin::new(body);
        matches!(http_body::Body::poll_frame(polled, &mut Context::from_waker(Waker::noop())), Poll::Pending)
    }

    #[tokio::test]
    async fn a_stream_is_had_back_until_something_of_it_was_read() {
        let (frames, body) = stream();
        let (mut lent, loan) = body.lend();
        assert!(is_pending(&mut lent), "to have asked for it is not to have read it");
        let (mut again, loan) = loan.take_back().expect("nothing was read").lend();
        frames.send(Ok(Frame::data(Bytes::from_static(b"hello")))).expect("it is there");
        lent.frame().await.expect("an error").expect_err("it was asked back");
        let frame = again.frame().await.expect("a frame").expect("data");
        assert_eq!(frame.data_ref().map(|data| &data[..]), Some(&b"hello"[..]));
        assert!(loan.take_back().is_none(), "it was read");
        drop(frames);
        assert!(again.frame().await.is_none(), "who reads it keeps it");
    }

    #[tokio::test]
    async fn what_is_empty_or_no_stream_is_had_back_any_number_of_times() {
        let (frames, body) = stream();
        drop(frames);
        let (mut lent, loan) = body.lend();
        assert!(lent.frame().await.is_none());
        assert!(matches!(loan.take_back(), Some(Body::Empty)));
        let (lent, loan) = Body::from(Bytes::from_static(b"hello")).lend();
        assert_eq!(lent.collect(5).await.expect("all of it"), "hello");
        assert_eq!(loan.take_back().expect("a copy").collect(5).await.expect("all of it"), "hello");
    }
}
