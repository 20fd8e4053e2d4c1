//! Bodies that are too large to keep: made as they are asked for, and checked byte by byte as they come back.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::Frame;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;

/// A body whose bytes follow from their places.
pub(crate) struct Pattern {
    at: usize,
    end: usize,
}

impl Pattern {
    /// So many bytes.
    pub(crate) fn of(bytes: usize) -> Self {
        Self { at: 0, end: bytes }
    }
}

fn byte(at: usize) -> u8 {
    (at % 251) as u8
}

impl http_body::Body for Pattern {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.at == self.end {
            return Poll::Ready(None);
        }
        let end = self.end.min(self.at + (64 << 10));
        let chunk: Bytes = (self.at..end).map(byte).collect();
        self.at = end;
        Poll::Ready(Some(Ok(Frame::data(chunk))))
    }
}

/// Reads `body` to its end, which comes after `bytes` bytes of a pattern.
pub(crate) async fn check(mut body: Incoming, bytes: usize) {
    let mut at = 0;
    while let Some(frame) = body.frame().await {
        let frame = frame.expect("the body is whole");
        let Some(data) = frame.data_ref() else { continue };
        assert!(data.iter().enumerate().all(|(offset, &found)| found == byte(at + offset)), "changed near {at}");
        at += data.len();
    }
    assert_eq!(at, bytes);
}
