//! A value and a body as they are sent: in a frame if they fit, else partly in the chunks after it.

use bytes::Bytes;
use http_body::Body as _;

use super::Outgoing;
use crate::body::Body;
use crate::wire::{HEADER_BYTES, Part, Value};

/// A value and a body, with what goes into the frame decided.
pub(in crate::rpc) enum Departure {
    /// All is in the frame.
    Whole {
        /// The value.
        value: Bytes,
        /// The body.
        body: Bytes,
    },
    /// The body is in chunks.
    BodyFollows {
        /// The value.
        value: Bytes,
        /// The body.
        body: Body,
    },
    /// The value is in chunks, and the body, unless it is empty, after it.
    AllFollows {
        /// The value.
        value: Bytes,
        /// The body.
        body: Body,
    },
}

impl Departure {
    /// Decides for frames of at most `limit_bytes`.
    pub(in crate::rpc) fn new(value: Bytes, body: Body, limit_bytes: usize) -> Self {
        let room = limit_bytes.saturating_sub(HEADER_BYTES);
        let body = match body {
            Body::Empty => Ok(Bytes::new()),
            Body::Bytes(bytes) => Ok(bytes),
            Body::Stream(stream) if stream.is_end_stream() => Ok(Bytes::new()),
            Body::Stream(stream) => Err(Body::Stream(stream)),
        };
        match body {
            Ok(body) if value.len() + body.len() <= room => Self::Whole { value, body },
            Ok(body) if value.len() <= room => Self::BodyFollows { value, body: body.into() },
            Err(body) if value.len() <= room => Self::BodyFollows { value, body },
            Ok(body) => Self::AllFollows { value, body: body.into() },
            Err(body) => Self::AllFollows { value, body },
        }
    }

    /// What stands in the frame.
    pub(in crate::rpc) fn parts(&self) -> (Value<'_>, Part<'_>) {
        let streamed = |body: &Body| match body {
            Body::Empty => Part::Empty,
            body => Part::Streamed(body.size_hint().exact()),
        };
        match self {
            Self::Whole { value, body } if body.is_empty() => (Value::Inline(value), Part::Empty),
            Self::Whole { value, body } => (Value::Inline(value), Part::Inline(body)),
            Self::BodyFollows { value, body } => (Value::Inline(value), streamed(body)),
            Self::AllFollows { value, body } => (Value::Streamed(value.len() as u64), streamed(body)),
        }
    }

    /// What follows the frame.
    pub(in crate::rpc) fn rest(self) -> Option<Outgoing> {
        match self {
            Self::Whole { .. } => None,
            Self::BodyFollows { body, .. } => Some(Outgoing { value: Bytes::new(), body }),
            Self::AllFollows { value, body } => Some(Outgoing { value, body }),
        }
    }
}
