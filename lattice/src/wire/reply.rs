//! The frames that answer a call: its result, or how it failed.

use std::time::Duration;

use uuid::Uuid;

use super::call::{Part, Value};
use super::pack::Reader;
use super::{Kind, MAX_MESSAGE_BYTES, Malformed, Prefix, Tag};
use crate::error::{CallError, CallErrorKind};

/// The kinds of failure by their number on the wire.
const ERROR_KINDS: [CallErrorKind; 11] = [
    CallErrorKind::NoTarget,
    CallErrorKind::Denied,
    CallErrorKind::Contract,
    CallErrorKind::Deadline,
    CallErrorKind::Overloaded,
    CallErrorKind::Trap,
    CallErrorKind::TooLarge,
    CallErrorKind::Cancelled,
    CallErrorKind::UnknownOutcome,
    CallErrorKind::Provider,
    CallErrorKind::BreakerOpen,
];

/// An answer as it travels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReplyFrame<'a> {
    /// The result.
    pub value: Value<'a>,
    /// The body.
    pub body: Part<'a>,
}

impl<'a> ReplyFrame<'a> {
    /// Encodes it; it is sealed afterwards.
    pub fn encode(&self, tag: Tag, id: Uuid) -> Vec<u8> {
        let room = 96 + self.value.inline_len() + self.body.inline_len();
        let mut writer = Prefix { kind: Kind::Reply, tag, id }.start(room);
        writer.array(2);
        self.value.write(&mut writer);
        self.body.write(&mut writer);
        writer.into_bytes()
    }

    /// Decodes what follows the prefix.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(bytes);
        reader.array(2)?;
        let reply = Self { value: Value::read(&mut reader)?, body: Part::read(&mut reader)? };
        reader.end()?;
        Ok(reply)
    }
}

/// Encodes a failure: of a call (`Kind::Error`) or of a body (`Kind::Abort`).
pub fn encode_error(prefix: Prefix, error: &CallError) -> Vec<u8> {
    let mut writer = prefix.start(160 + MAX_MESSAGE_BYTES.min(error.message.len()));
    let number = ERROR_KINDS.iter().position(|kind| *kind == error.kind).unwrap_or(ERROR_KINDS.len());
    writer.array(3);
    writer.uint(number as u64);
    writer.str(cut(&error.message));
    writer.option(error.retry_after, |writer, after| writer.uint(u64::try_from(after.as_millis()).unwrap_or(u64::MAX)));
    writer.into_bytes()
}

/// Decodes a failure.
pub fn decode_error(bytes: &[u8]) -> Result<CallError, Malformed> {
    let mut reader = Reader::new(bytes);
    reader.array(3)?;
    let number: usize = reader.small()?;
    let kind = *ERROR_KINDS.get(number).ok_or(Malformed("has an unknown kind of error"))?;
    let message = reader.str(MAX_MESSAGE_BYTES)?.to_owned();
    let retry_after = reader.option(Reader::uint)?.map(Duration::from_millis);
    reader.end()?;
    Ok(CallError { kind, message, retry_after })
}

/// As much of `message` as fits.
fn cut(message: &str) -> &str {
    &message[..message.floor_char_boundary(MAX_MESSAGE_BYTES)]
}
