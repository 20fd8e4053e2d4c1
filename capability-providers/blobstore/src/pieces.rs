//! The body of a call, read piece by piece within what the link and the deadline allow.

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt as _;
use tokio::time::{Instant, timeout_at};
use trellis_provider_sdk::{Body, CallError};

use crate::failure::{Failure, Result};

/// Reads a body.
pub(crate) struct Pieces {
    body: Body,
    left_bytes: u64,
    limit_bytes: u64,
    deadline: Instant,
    /// What was read beyond the piece before.
    rest: Bytes,
}

impl Pieces {
    /// Reads `body` until `deadline`, `limit_bytes` of it at most.
    pub(crate) fn new(body: Body, limit_bytes: u64, deadline: Instant) -> Self {
        Self { body, left_bytes: limit_bytes, limit_bytes, deadline, rest: Bytes::new() }
    }

    /// The next `size_bytes`; fewer, or none, at the end of the body.
    pub(crate) async fn next(&mut self, size_bytes: usize) -> Result<Bytes> {
        let mut piece = BytesMut::new();
        loop {
            let room = size_bytes - piece.len();
            if !self.rest.is_empty() {
                let taken = self.rest.split_to(room.min(self.rest.len()));
                if piece.is_empty() && taken.len() == size_bytes {
                    return Ok(taken);
                }
                piece.extend_from_slice(&taken);
            }
            if piece.len() == size_bytes {
                return Ok(piece.freeze());
            }
            match self.frame().await? {
                Some(data) => self.rest = data,
                None => return Ok(piece.freeze()),
            }
        }
    }

    async fn frame(&mut self) -> Result<Option<Bytes>> {
        let late = |_| CallError::deadline("the object did not arrive in time");
        while let Some(frame) = timeout_at(self.deadline, self.body.frame()).await.map_err(late)? {
            let Ok(data) = frame?.into_data() else { continue };
            self.left_bytes = self.left_bytes.checked_sub(data.len() as u64).ok_or_else(|| self.too_large())?;
            return Ok(Some(data));
        }
        Ok(None)
    }

    fn too_large(&self) -> Failure {
        Failure::Refused(format!("the object is larger than the {} bytes that the link allows", self.limit_bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::Pieces;
    use crate::failure::Failure;
    use bytes::Bytes;
    use futures::stream;
    use http_body::Frame;
    use http_body_util::StreamBody;
    use std::time::Duration;
    use tokio::time::Instant;
    use trellis_provider_sdk::{Body, CallError, CallErrorKind};

    fn of(frames: Vec<&'static str>) -> Body {
        let frames =
            frames.into_iter().map(|text| Ok::<_, CallError>(Frame::data(Bytes::from_static(text.as_bytes()))));
        Body::stream(StreamBody::new(stream::iter(frames)))
    }

    fn pieces(body: Body, limit: u64) -> Pieces {
        Pieces::new(body, limit, Instant::now() + Duration::from_secs(5))
    }

    #[tokio::test]
    async fn pieces_have_the_size_that_is_asked_for() {
        let mut pieces = pieces(of(vec!["a", "", "bcdefgh", "ij", "k"]), 11);
        let mut all = Vec::new();
        for expected in ["abcd", "efgh", "ijk", "", ""] {
            let piece = pieces.next(4).await.expect("is there");
            assert_eq!(piece, expected);
            all.extend_from_slice(&piece);
        }
        assert_eq!(all, b"abcdefghijk");
    }

    #[tokio::test]
    async fn a_body_over_the_limit_is_refused() {
        match pieces(of(vec!["abc", "def"]), 5).next(10).await {
            Err(Failure::Refused(text)) => assert!(text.contains("5 bytes"), "{text}"),
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_does_not_come_ends_by_the_deadline() {
        let silent = Body::stream(StreamBody::new(stream::pending::<Result<Frame<Bytes>, CallError>>()));
        match pieces(silent, 5).next(10).await {
            Err(Failure::Call(error)) => assert_eq!(error.kind, CallErrorKind::Deadline),
            other => panic!("{other:?}"),
        }
    }
}
