//! The body of an invocation or a reply: bytes at hand, or a stream.
//!
//! It is an [`http_body::Body`], so that HTTP bodies pass through without conversion. Flow control and chunking over
//! the lattice are `rpc::stream`'s.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use http_body_util::BodyExt as _;
use http_body_util::combinators::UnsyncBoxBody;

use crate::error::CallError;

mod loan;

pub use self::loan::Loan;

/// A body. Reading it to its end, or dropping it, are both safe; dropping tells the sender to stop.
#[derive(Default)]
pub enum Body {
    /// No body.
    #[default]
    Empty,
    /// All of it; never empty.
    Bytes(Bytes),
    /// Frames (data, then trailers at most once) that arrive as the reader asks for them.
    Stream(UnsyncBoxBody<Bytes, CallError>),
}

impl Body {
    /// A body of frames that `stream` yields.
    pub fn stream<B>(stream: B) -> Self
    where
        B: http_body::Body<Data = Bytes, Error = CallError> + Send + 'static,
    {
        Self::Stream(stream.boxed_unsync())
    }

    /// Reads all of it.
    ///
    /// # Errors
    /// `TooLarge` as soon as more than `limit_bytes` arrived; whatever the stream fails with.
    pub async fn collect(self, limit_bytes: usize) -> Result<Bytes, CallError> {
        let too_large = || CallError::too_large(format!("body is larger than {limit_bytes} bytes"));
        match self {
            Self::Empty => Ok(Bytes::new()),
            Self::Bytes(bytes) if bytes.len() > limit_bytes => Err(too_large()),
            Self::Bytes(bytes) => Ok(bytes),
            Self::Stream(stream) => {
                let limited = http_body_util::Limited::new(stream, limit_bytes);
                let collected = limited.collect().await.map_err(|error| match error.downcast::<CallError>() {
                    Ok(error) => *error,
                    Err(_) => too_large(),
                })?;
                Ok(collected.to_bytes())
            }
        }
    }
}

impl From<Bytes> for Body {
    fn from(bytes: Bytes) -> Self {
        if bytes.is_empty() { Self::Empty } else { Self::Bytes(bytes) }
    }
}

impl std::fmt::Debug for Body {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Empty => f.write_str("Empty"),
            Self::Bytes(bytes) => write!(f, "Bytes({})", bytes.len()),
            Self::Stream(_) => f.write_str("Stream"),
        }
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = CallError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, CallError>>> {
        match &mut *self {
            Self::Empty => Poll::Ready(None),
            Self::Bytes(bytes) => {
                let bytes = std::mem::take(bytes);
                *self = Self::Empty;
                Poll::Ready(Some(Ok(Frame::data(bytes))))
            }
            Self::Stream(stream) => Pin::new(stream).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Bytes(_) => false,
            Self::Stream(stream) => stream.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Bytes(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Self::Stream(stream) => stream.size_hint(),
        }
    }
}
