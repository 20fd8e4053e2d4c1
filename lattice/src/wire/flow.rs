//! The frames of a streamed body: chunks one way, credits the other.

use super::pack::{Reader, Writer};
use super::{HEADER_BYTES, MAX_CHUNK_BYTES, Malformed, Prefix};

/// The most trailers a body may end with.
const MAX_TRAILERS: usize = 64;

/// A piece of a body. An empty one says that the sender is alive and has nothing yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Chunk<'a> {
    /// 0 for the first frame of this body, one more for each.
    pub sequence: u64,
    /// At most [`MAX_CHUNK_BYTES`].
    pub data: &'a [u8],
}

impl<'a> Chunk<'a> {
    /// Encodes it; it is sealed afterwards.
    pub fn encode(&self, prefix: Prefix) -> Vec<u8> {
        let mut writer = prefix.start(64 + self.data.len());
        writer.array(2);
        writer.uint(self.sequence);
        writer.bin(self.data);
        writer.into_bytes()
    }

    /// Decodes what follows the prefix.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(bytes);
        reader.array(2)?;
        let chunk = Self { sequence: reader.uint()?, data: reader.bin(MAX_CHUNK_BYTES)? };
        reader.end()?;
        Ok(chunk)
    }
}

/// The end of a body, which is whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct End<'a> {
    /// One more than that of the last chunk.
    pub sequence: u64,
    /// Trailers, names and values.
    pub trailers: Vec<(&'a str, &'a [u8])>,
}

impl<'a> End<'a> {
    /// Encodes it; it is sealed afterwards.
    ///
    /// # Errors
    /// When there are too many trailers, or they are too long for a frame.
    pub fn encode(&self, prefix: Prefix) -> Result<Vec<u8>, Malformed> {
        let len: usize = self.trailers.iter().map(|(name, value)| name.len() + value.len()).sum();
        if self.trailers.len() > MAX_TRAILERS || len > MAX_CHUNK_BYTES {
            return Err(Malformed("has more than 64 trailers, or they are longer than 256 KiB"));
        }
        let mut writer = prefix.start(64 + len + 10 * self.trailers.len());
        writer.array(2);
        writer.uint(self.sequence);
        writer.array(self.trailers.len());
        for (name, value) in &self.trailers {
            writer.array(2);
            writer.str(name);
            writer.bin(value);
        }
        Ok(writer.into_bytes())
    }

    /// Decodes what follows the prefix.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(bytes);
        reader.array(2)?;
        let sequence = reader.uint()?;
        let mut trailers = Vec::new();
        for _ in 0..reader.list(MAX_TRAILERS)? {
            reader.array(2)?;
            trailers.push((reader.str(HEADER_BYTES)?, reader.bin(MAX_CHUNK_BYTES)?));
        }
        reader.end()?;
        Ok(Self { sequence, trailers })
    }
}

/// Encodes a credit: how much the sender may send in all.
pub fn encode_credit(prefix: Prefix, total_bytes: u64) -> Vec<u8> {
    let mut writer = prefix.start(64);
    writer.uint(total_bytes);
    writer.into_bytes()
}

/// Decodes a credit.
pub fn decode_credit(bytes: &[u8]) -> Result<u64, Malformed> {
    let mut reader = Reader::new(bytes);
    let total_bytes = reader.uint()?;
    reader.end()?;
    Ok(total_bytes)
}

/// Encodes a frame that says all by its kind: `Kind::Stop`, `Kind::Cancel`.
pub fn encode_bare(prefix: Prefix) -> Vec<u8> {
    let mut writer: Writer = prefix.start(64);
    writer.nil();
    writer.into_bytes()
}

/// Checks such a frame.
pub fn decode_bare(bytes: &[u8]) -> Result<(), Malformed> {
    let mut reader = Reader::new(bytes);
    if !reader.take_nil() {
        return Err(Malformed("has another type where nil belongs"));
    }
    reader.end()
}
