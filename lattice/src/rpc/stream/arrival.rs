//! A value and a body as they arrive: in a frame, or partly in the chunks after it.

use std::sync::Arc;

use bytes::Bytes;

use super::receive::{Feed, Reader, open};
use crate::body::Body;
use crate::error::CallError;
use crate::rpc::core::{Core, Lane};
use crate::rpc::slot::Held;
use crate::wire::{Part, Value};

/// A value and a body, not all of which need be there yet.
pub(in crate::rpc) struct Arrival {
    value: Result<Bytes, u64>,
    body: Body,
    stream: Option<(Box<Reader>, HasBody)>,
}

/// Whether a body follows the value in a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum HasBody {
    Yes,
    No,
}

impl Arrival {
    /// What a frame with these parts, which are slices of `payload`, brings, and what its chunks are fed into.
    pub(in crate::rpc) fn new(
        core: &Arc<Core>,
        lane: &Lane,
        (value, body): (Value<'_>, Part<'_>),
        payload: &Bytes,
    ) -> (Option<Feed>, Self) {
        let value = match value {
            Value::Inline(bytes) => Ok(payload.slice_ref(bytes)),
            Value::Streamed(len) => Err(len),
        };
        let (body, has_body, length) = match body {
            Part::Empty => (Body::Empty, HasBody::No, None),
            Part::Inline(bytes) => (payload.slice_ref(bytes).into(), HasBody::No, None),
            Part::Streamed(length) => (Body::Empty, HasBody::Yes, length),
        };
        if value.is_ok() && has_body == HasBody::No {
            return (None, Self { value, body, stream: None });
        }
        let (feed, reader) = open(core, lane.clone(), length);
        (Some(feed), Self { value, body, stream: Some((Box::new(reader), has_body)) })
    }

    /// Holds a slot for as long as something is to come.
    #[must_use]
    pub(in crate::rpc) fn holding(mut self, held: Held) -> Self {
        match self.stream.take() {
            Some((reader, has_body)) => self.stream = Some((Box::new(reader.holding(held)), has_body)),
            None => held.finish(),
        }
        self
    }

    /// Value and body where both are here, as most are.
    pub(in crate::rpc) fn whole(self) -> Result<(Bytes, Body), Self> {
        if self.stream.is_some() {
            return Err(self);
        }
        Ok((self.value.unwrap_or_default(), self.body))
    }

    /// Reads the value to its end; the body may still be under way.
    pub(in crate::rpc) async fn read(self) -> Result<(Bytes, Body), CallError> {
        match self.stream {
            None => Ok((self.value.unwrap_or_default(), self.body)),
            Some((reader, has_body)) => read_stream(reader, has_body, self.value, self.body).await,
        }
    }
}

async fn read_stream(
    mut reader: Box<Reader>,
    has_body: HasBody,
    value: Result<Bytes, u64>,
    body: Body,
) -> Result<(Bytes, Body), CallError> {
    let value = match value {
        Ok(value) => value,
        Err(len) => reader.take(len).await?,
    };
    if has_body == HasBody::No {
        reader.finish().await?;
        return Ok((value, body));
    }
    Ok((value, Body::stream(*reader)))
}
