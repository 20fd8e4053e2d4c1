//! The frame of a call.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use uuid::Uuid;

use super::names::{Named, Names};
use super::pack::{Reader, Writer};
use super::{Kind, MAX_FRAME_BYTES, MAX_TEXT_BYTES, MAX_TRACE_STATE_BYTES, Malformed, Prefix, Tag};
use crate::contract::{Interface, Signature};
use crate::message::invocation::{Context, Encoding, Head, Trace};

/// The longest name of an interface, in bytes.
const MAX_INTERFACE_BYTES: usize = 256;

/// Arguments or a result: in the frame, or so many bytes in front of the streamed body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Value<'a> {
    /// All of it.
    Inline(&'a [u8]),
    /// Its length; the bytes are the first of the body's stream.
    Streamed(u64),
}

impl<'a> Value<'a> {
    pub(super) fn write(self, writer: &mut Writer) {
        match self {
            Self::Inline(bytes) => writer.bin(bytes),
            Self::Streamed(len) => writer.uint(len),
        }
    }

    pub(super) fn read(reader: &mut Reader<'a>) -> Result<Self, Malformed> {
        match reader.peek() {
            Some(0xc4..=0xc6) => reader.bin(MAX_FRAME_BYTES).map(Self::Inline),
            _ => reader.uint().map(Self::Streamed),
        }
    }

    pub(super) fn inline_len(self) -> usize {
        match self {
            Self::Inline(bytes) => bytes.len(),
            Self::Streamed(_) => 0,
        }
    }
}

/// A body: none, in the frame, or in the chunks that follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part<'a> {
    /// None.
    Empty,
    /// All of it; never empty.
    Inline(&'a [u8]),
    /// In chunks; its length if it is known.
    Streamed(Option<u64>),
}

impl<'a> Part<'a> {
    pub(super) fn write(self, writer: &mut Writer) {
        match self {
            Self::Empty => writer.nil(),
            Self::Inline(bytes) => writer.bin(bytes),
            Self::Streamed(len) => {
                writer.array(1);
                writer.option(len, Writer::uint);
            }
        }
    }

    pub(super) fn read(reader: &mut Reader<'a>) -> Result<Self, Malformed> {
        match reader.peek() {
            Some(0xc4..=0xc6) => match reader.bin(MAX_FRAME_BYTES)? {
                [] => Err(Malformed("has an empty body that is not nil")),
                bytes => Ok(Self::Inline(bytes)),
            },
            Some(0x91) => {
                reader.array(1)?;
                reader.option(Reader::uint).map(Self::Streamed)
            }
            _ if reader.take_nil() => Ok(Self::Empty),
            _ => Err(Malformed("has another type where a body belongs")),
        }
    }

    pub(super) fn inline_len(self) -> usize {
        match self {
            Self::Inline(bytes) => bytes.len(),
            Self::Empty | Self::Streamed(_) => 0,
        }
    }
}

/// What protects a call against coming late or twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    /// Grows with every call of the session's direction.
    pub sequence: u64,
    /// The sender's clock when it sent, milliseconds since 1970.
    pub issued_at_ms: u64,
    /// The time that was left then, in milliseconds.
    pub budget_ms: u64,
}

/// A call as it travels.
#[derive(Debug)]
pub struct CallFrame<'a> {
    /// When it was sent, and which one it is.
    pub stamp: Stamp,
    /// Who calls what. Its deadline is not on the wire: the receiver computes it from the stamp.
    pub head: Head,
    /// The arguments.
    pub args: Value<'a>,
    /// The body.
    pub body: Part<'a>,
}

impl<'a> CallFrame<'a> {
    /// Encodes a call; it is sealed afterwards.
    ///
    /// # Errors
    /// When a text in the head is longer than its limit.
    pub fn encode(tag: Tag, stamp: Stamp, head: &Head, parts: (Value<'_>, Part<'_>)) -> Result<Vec<u8>, Malformed> {
        check_texts(head)?;
        let (args, body) = parts;
        let room = head_len(head) + args.inline_len() + body.inline_len();
        let mut writer = Prefix { kind: Kind::Call, tag, id: head.id }.start(room);
        writer.array(17);
        writer.uint(stamp.sequence);
        writer.uint(stamp.issued_at_ms);
        writer.uint(stamp.budget_ms);
        writer.uint(head.attempt.into());
        writer.uint(head.context.depth.into());
        writer.str(head.source.as_str());
        writer.str(head.target.as_str());
        writer.str(head.link.as_str());
        writer.str(head.interface.as_str());
        writer.str(&head.function);
        writer.option(head.signature, |writer, signature| writer.bin(&signature.0));
        writer.uint(encoding_number(head.encoding));
        writer.uint(head.grant_epoch);
        writer.option(head.context.idempotency_key.as_deref(), Writer::str);
        writer.option(head.context.trace.as_ref(), write_trace);
        args.write(&mut writer);
        body.write(&mut writer);
        Ok(writer.into_bytes())
    }

    /// Decodes what follows the prefix of a call, with the `names` that this peer sent before. The head's deadline is
    /// `now` and its whole budget.
    pub fn decode(id: Uuid, bytes: &'a [u8], now: Instant, names: &mut Names) -> Result<Self, Malformed> {
        let mut reader = Reader::new(bytes);
        reader.array(17)?;
        let stamp = Stamp {
            sequence: reader.uint()?,
            issued_at_ms: reader.uint()?,
            budget_ms: u64::from(reader.small::<u32>()?),
        };
        let (attempt, depth) = (reader.small()?, reader.small()?);
        let Named { source, target, link, interface, function } = names.read(&mut reader)?;
        let head = Head {
            id,
            attempt,
            source,
            target,
            link,
            interface,
            function,
            signature: reader.option(|reader| reader.array_of().map(Signature))?,
            encoding: encoding(reader.uint()?)?,
            grant_epoch: reader.uint()?,
            context: Context {
                deadline: now + Duration::from_millis(stamp.budget_ms),
                depth,
                idempotency_key: reader.option(|reader| reader.str(MAX_TEXT_BYTES))?.map(Arc::from),
                trace: reader.option(read_trace)?,
            },
        };
        let (args, body) = (Value::read(&mut reader)?, Part::read(&mut reader)?);
        reader.end()?;
        Ok(Self { stamp, head, args, body })
    }
}

/// About how long a head is when it is written, in bytes; not less.
fn head_len(head: &Head) -> usize {
    let Head { source, target, link, interface, function, context, .. } = head;
    let texts = [function, source.as_str(), target.as_str(), link.as_str(), interface.as_str()];
    let texts = texts.into_iter().chain(context.idempotency_key.as_deref());
    let trace = context.trace.iter().flat_map(|trace| std::iter::once(&*trace.parent).chain(trace.state.as_deref()));
    // Numbers have at most 9 bytes, texts and lists a head of 5, and sealing adds 32.
    160 + texts.chain(trace).map(|text| 5 + text.len()).sum::<usize>()
}

fn check_texts(head: &Head) -> Result<(), Malformed> {
    let trace = head.context.trace.as_ref();
    let fits = |text: Option<&str>, max| text.is_none_or(|text| text.len() <= max);
    let fit = fits(Some(&head.function), MAX_TEXT_BYTES)
        && fits(head.context.idempotency_key.as_deref(), MAX_TEXT_BYTES)
        && fits(trace.map(|trace| &*trace.parent), MAX_TEXT_BYTES)
        && fits(trace.and_then(|trace| trace.state.as_deref()), MAX_TRACE_STATE_BYTES);
    if fit { Ok(()) } else { Err(Malformed("has a function name, idempotency key or trace that is too long")) }
}

pub(super) fn interface(reader: &mut Reader<'_>) -> Result<Interface, Malformed> {
    Interface::parse(reader.str(MAX_INTERFACE_BYTES)?).map_err(|_| Malformed("has an invalid interface"))
}

fn write_trace(writer: &mut Writer, trace: &Trace) {
    writer.array(2);
    writer.str(&trace.parent);
    writer.option(trace.state.as_deref(), Writer::str);
}

fn read_trace(reader: &mut Reader<'_>) -> Result<Trace, Malformed> {
    reader.array(2)?;
    let parent = reader.str(MAX_TEXT_BYTES)?.into();
    let state = reader.option(|reader| reader.str(MAX_TRACE_STATE_BYTES))?.map(Arc::from);
    Ok(Trace { parent, state })
}

fn encoding_number(encoding: Encoding) -> u64 {
    match encoding {
        Encoding::Pack => 0,
        Encoding::Wave => 1,
    }
}

fn encoding(number: u64) -> Result<Encoding, Malformed> {
    match number {
        0 => Ok(Encoding::Pack),
        1 => Ok(Encoding::Wave),
        _ => Err(Malformed("has arguments in an unknown encoding")),
    }
}
