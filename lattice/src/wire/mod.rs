//! Frames as bytes (PROTOCOL.md): the prefix that all have, and the MessagePack that follows.
//!
//! Encoding and strict decoding only. Whether a frame is genuine is [`crate::seal`]'s, what it means is rpc's.

use uuid::Uuid;

use crate::error::{Error, ErrorKind};

pub mod bundle;
mod call;
pub mod flow;
mod names;
pub mod pack;
mod presence;
pub mod reply;

pub use call::{CallFrame, Part, Stamp, Value};
pub use flow::{Chunk, End};
pub use names::Names;
pub(crate) use presence::fits;
pub use presence::{SignedPresence, Stranger};
pub use reply::ReplyFrame;

/// The version of the frame format.
pub const VERSION: u8 = 1;

/// The largest frame, in bytes; a transport may allow less.
pub const MAX_FRAME_BYTES: usize = 512 * 1024;

/// The largest piece of a body in one chunk, in bytes.
pub const MAX_CHUNK_BYTES: usize = 256 * 1024;

/// What the sender of a body may send before the receiver has said anything, in bytes.
pub const WINDOW_BYTES: u64 = 1024 * 1024;

/// What a chunk counts for at least, in bytes, so that a window is a bounded number of chunks.
pub const MIN_CHUNK_COST_BYTES: u64 = 1024;

/// Room for everything in a frame but arguments, values and bodies, in bytes.
pub const HEADER_BYTES: usize = 4 * 1024;

/// The longest function name, idempotency key and `traceparent`, in bytes.
pub const MAX_TEXT_BYTES: usize = 256;

/// The longest `tracestate`, in bytes (what W3C asks implementations to carry).
pub const MAX_TRACE_STATE_BYTES: usize = 512;

/// The longest message of an error, in bytes; longer ones are cut.
pub const MAX_MESSAGE_BYTES: usize = 2 * 1024;

/// The length of the prefix: version, kind, tag, call id.
pub const PREFIX_BYTES: usize = 26;

/// Why bytes are not a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("frame {0}")]
pub struct Malformed(pub(crate) &'static str);

impl From<Malformed> for Error {
    fn from(malformed: Malformed) -> Self {
        Self::new(ErrorKind::Malformed, malformed.to_string())
    }
}

/// What a frame is. The numbers are on the wire: add, never reorder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Kind {
    /// To the inbox: a call.
    Call = 1,
    /// To the slot: its answer.
    Reply = 2,
    /// To the slot: how it failed.
    Error = 3,
    /// A piece of a body, to whoever reads it.
    Chunk = 4,
    /// The end of a body.
    End = 5,
    /// A body that breaks off.
    Abort = 6,
    /// To the sender of a body: how much it may send.
    Credit = 7,
    /// To the sender of a body: nobody reads it.
    Stop = 8,
    /// To the inbox: the caller left.
    Cancel = 9,
    /// Who is there; signed instead of sealed.
    Presence = 10,
    /// To the slot: a call was sealed for a session that the receiver does not know; signed instead of sealed.
    Stranger = 11,
}

impl Kind {
    const ALL: [Self; 11] = [
        Self::Call,
        Self::Reply,
        Self::Error,
        Self::Chunk,
        Self::End,
        Self::Abort,
        Self::Credit,
        Self::Stop,
        Self::Cancel,
        Self::Presence,
        Self::Stranger,
    ];
}

/// Names the session whose key seals a frame: 8 bytes that only its two ends can compute.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Tag(pub [u8; 8]);

/// What every frame begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Prefix {
    /// What follows.
    pub kind: Kind,
    /// Which session; zero in a presence.
    pub tag: Tag,
    /// Which call; zero in a presence.
    pub id: Uuid,
}

impl Prefix {
    /// Reads the prefix of a frame and gives what follows it.
    ///
    /// # Errors
    /// When the frame is shorter, longer than [`MAX_FRAME_BYTES`], of another version or of no known kind.
    pub fn read(frame: &[u8]) -> Result<(Self, &[u8]), Malformed> {
        if frame.len() > MAX_FRAME_BYTES {
            return Err(Malformed("is larger than 512 KiB"));
        }
        let (prefix, rest) = frame.split_first_chunk::<PREFIX_BYTES>().ok_or(Malformed("is cut short"))?;
        if prefix[0] != VERSION {
            return Err(Malformed("is of another version of the protocol"));
        }
        let kind = Kind::ALL.into_iter().find(|kind| *kind as u8 == prefix[1]);
        let kind = kind.ok_or(Malformed("is of no known kind"))?;
        let tag = Tag(std::array::from_fn(|i| prefix[2 + i]));
        let id = Uuid::from_bytes(std::array::from_fn(|i| prefix[10 + i]));
        Ok((Self { kind, tag, id }, rest))
    }

    /// A writer that has written this prefix and has room for `capacity` bytes more.
    pub fn start(&self, capacity: usize) -> pack::Writer {
        let mut writer = pack::Writer::with_capacity(PREFIX_BYTES + capacity);
        writer.raw(&[VERSION, self.kind as u8]);
        writer.raw(&self.tag.0);
        writer.raw(self.id.as_bytes());
        writer
    }
}

#[cfg(test)]
mod tests;
