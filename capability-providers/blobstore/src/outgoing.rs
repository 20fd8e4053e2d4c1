//! The body of an answer: what a backend gives, until the deadline of the call.

use bytes::Bytes;
use futures::stream::{self, Stream, TryStreamExt as _};
use http_body::Frame;
use http_body_util::StreamBody;
use tokio::time::{Instant, timeout_at};
use trellis_provider_sdk::{Body, CallError};

/// The body that yields what `pieces` does; after `deadline` it fails.
pub(crate) fn body(pieces: impl Stream<Item = Result<Bytes, CallError>> + Send + 'static, deadline: Instant) -> Body {
    let frames = stream::try_unfold(Box::pin(pieces), move |mut pieces| async move {
        let late = |_| CallError::deadline("the object was not read in time");
        let piece = timeout_at(deadline, pieces.try_next()).await.map_err(late)??;
        Ok::<_, CallError>(piece.map(|piece| (Frame::data(piece), pieces)))
    });
    Body::stream(StreamBody::new(frames))
}
