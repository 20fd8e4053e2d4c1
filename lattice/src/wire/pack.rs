//! The subset of MessagePack that frames are made of: arrays, unsigned integers, strings, byte strings and nil.
//!
//! Reading is stricter than MessagePack: only the shortest form of a length or number is taken, so that a value has
//! exactly one encoding, and nothing is allocated before its bytes are there.

use super::Malformed;

/// Writes values one after the other.
#[derive(Debug, Default)]
pub struct Writer {
    bytes: Vec<u8>,
}

impl Writer {
    /// An empty one with room for `capacity` bytes.
    pub fn with_capacity(capacity: usize) -> Self {
        Self { bytes: Vec::with_capacity(capacity) }
    }

    /// What was written.
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// Bytes that are no MessagePack: prefixes and signatures.
    pub fn raw(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// The head of an array of `len` values, which follow.
    pub fn array(&mut self, len: usize) {
        match len {
            0..=15 => self.bytes.push(0x90 | narrow::<u8>(len)),
            16..=0xffff => self.long(0xdc, &narrow::<u16>(len).to_be_bytes()),
            _ => self.long(0xdd, &narrow::<u32>(len).to_be_bytes()),
        }
    }

    /// A number.
    pub fn uint(&mut self, value: u64) {
        match value {
            0..=0x7f => self.bytes.push(narrow::<u8>(value)),
            0x80..=0xff => self.long(0xcc, &[narrow::<u8>(value)]),
            0x100..=0xffff => self.long(0xcd, &narrow::<u16>(value).to_be_bytes()),
            0x1_0000..=0xffff_ffff => self.long(0xce, &narrow::<u32>(value).to_be_bytes()),
            _ => self.long(0xcf, &value.to_be_bytes()),
        }
    }

    /// A text.
    pub fn str(&mut self, text: &str) {
        match text.len() {
            len @ 0..=31 => self.bytes.push(0xa0 | narrow::<u8>(len)),
            len @ 32..=0xff => self.long(0xd9, &[narrow::<u8>(len)]),
            len @ 0x100..=0xffff => self.long(0xda, &narrow::<u16>(len).to_be_bytes()),
            len => self.long(0xdb, &narrow::<u32>(len).to_be_bytes()),
        }
        self.raw(text.as_bytes());
    }

    /// Bytes.
    pub fn bin(&mut self, bytes: &[u8]) {
        match bytes.len() {
            len @ 0..=0xff => self.long(0xc4, &[narrow::<u8>(len)]),
            len @ 0x100..=0xffff => self.long(0xc5, &narrow::<u16>(len).to_be_bytes()),
            len => self.long(0xc6, &narrow::<u32>(len).to_be_bytes()),
        }
        self.raw(bytes);
    }

    /// Nothing.
    pub fn nil(&mut self) {
        self.bytes.push(0xc0);
    }

    /// `write` of what is there, else nil.
    pub fn option<T>(&mut self, value: Option<T>, write: impl FnOnce(&mut Self, T)) {
        match value {
            Some(value) => write(self, value),
            None => self.nil(),
        }
    }

    fn long(&mut self, marker: u8, number: &[u8]) {
        self.bytes.push(marker);
        self.bytes.extend_from_slice(number);
    }
}

/// A cast that the caller's range makes lossless.
fn narrow<T: TryFrom<u64>>(value: impl TryInto<u64>) -> T {
    let value = value.try_into().ok().and_then(|value| T::try_from(value).ok());
    value.expect("the range was matched, and no frame is longer than 4 GiB")
}

/// Reads values one after the other. Each method fails if another type, another length or too little is there.
#[derive(Debug, Clone)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Reads `bytes`.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// Checks that nothing is left.
    pub fn end(self) -> Result<(), Malformed> {
        if self.rest.is_empty() { Ok(()) } else { Err(Malformed("has bytes after its end")) }
    }

    /// `len` bytes as they are.
    pub fn raw(&mut self, len: usize) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self.rest.split_at_checked(len).ok_or(Malformed("is cut short"))?;
        self.rest = rest;
        Ok(taken)
    }

    /// The head of an array of exactly `len` values.
    pub fn array(&mut self, len: usize) -> Result<(), Malformed> {
        if self.list(len)? == len { Ok(()) } else { Err(Malformed("has an array of another length")) }
    }

    /// The head of an array of at most `max` values.
    pub fn list(&mut self, max: usize) -> Result<usize, Malformed> {
        let len = match self.byte()? {
            marker @ 0x90..=0x9f => u64::from(marker & 0x0f),
            0xdc => self.number(2, 16)?,
            0xdd => self.number(4, 0x1_0000)?,
            _ => return Err(Malformed("has another type where an array belongs")),
        };
        usize::try_from(len).ok().filter(|len| *len <= max).ok_or(Malformed("has an array that is too long"))
    }

    /// A number.
    pub fn uint(&mut self) -> Result<u64, Malformed> {
        match self.byte()? {
            value @ 0..=0x7f => Ok(value.into()),
            0xcc => self.number(1, 0x80),
            0xcd => self.number(2, 0x100),
            0xce => self.number(4, 0x1_0000),
            0xcf => self.number(8, 0x1_0000_0000),
            _ => Err(Malformed("has another type where a number belongs")),
        }
    }

    /// A number that fits `T`.
    pub fn small<T: TryFrom<u64>>(&mut self) -> Result<T, Malformed> {
        T::try_from(self.uint()?).map_err(|_| Malformed("has a number that is too large"))
    }

    /// A text of at most `max` bytes.
    pub fn str(&mut self, max: usize) -> Result<&'a str, Malformed> {
        let len = self.text_len()?;
        let bytes = self.sized(len, max)?;
        std::str::from_utf8(bytes).map_err(|_| Malformed("has text that is not UTF-8"))
    }

    /// Passes a text without looking at it; how many bytes it is with its head.
    pub(super) fn skip_str(&mut self) -> Result<usize, Malformed> {
        let before = self.rest.len();
        let len = usize::try_from(self.text_len()?).unwrap_or(usize::MAX);
        self.raw(len)?;
        Ok(before - self.rest.len())
    }

    fn text_len(&mut self) -> Result<u64, Malformed> {
        let len = match self.byte()? {
            marker @ 0xa0..=0xbf => u64::from(marker & 0x1f),
            0xd9 => self.number(1, 32)?,
            0xda => self.number(2, 0x100)?,
            0xdb => self.number(4, 0x1_0000)?,
            _ => return Err(Malformed("has another type where text belongs")),
        };
        Ok(len)
    }

    /// Bytes, at most `max`.
    pub fn bin(&mut self, max: usize) -> Result<&'a [u8], Malformed> {
        let len = match self.byte()? {
            0xc4 => self.number(1, 0)?,
            0xc5 => self.number(2, 0x100)?,
            0xc6 => self.number(4, 0x1_0000)?,
            _ => return Err(Malformed("has another type where bytes belong")),
        };
        self.sized(len, max)
    }

    /// Exactly `N` bytes.
    pub fn array_of<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        self.bin(N)?.try_into().map_err(|_| Malformed("has bytes of another length"))
    }

    /// What `read` reads, or `None` where nil is.
    pub fn option<T>(&mut self, read: impl FnOnce(&mut Self) -> Result<T, Malformed>) -> Result<Option<T>, Malformed> {
        if self.take_nil() { Ok(None) } else { read(self).map(Some) }
    }

    /// Whether nil is next; if so, it is taken.
    pub fn take_nil(&mut self) -> bool {
        let is_nil = self.peek() == Some(0xc0);
        if is_nil {
            self.rest = &self.rest[1..];
        }
        is_nil
    }

    /// The first byte of the next value.
    pub fn peek(&self) -> Option<u8> {
        self.rest.first().copied()
    }

    fn byte(&mut self) -> Result<u8, Malformed> {
        Ok(self.raw(1)?[0])
    }

    fn sized(&mut self, len: u64, max: usize) -> Result<&'a [u8], Malformed> {
        match usize::try_from(len) {
            Ok(len) if len <= max => self.raw(len),
            _ => Err(Malformed("has a value that is too long")),
        }
    }

    /// A big-endian number of `width` bytes, which the shorter forms cannot hold: it is at least `min`.
    fn number(&mut self, width: usize, min: u64) -> Result<u64, Malformed> {
        let value = self.raw(width)?.iter().fold(0, |value, byte| value << 8 | u64::from(*byte));
        if value < min { Err(Malformed("has a number that is not in its shortest form")) } else { Ok(value) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{Strategy, any, proptest};

    use super::{Reader, Writer};

    fn lengths() -> impl Strategy<Value = usize> {
        proptest::sample::select(vec![0, 1, 15, 16, 31, 32, 127, 128, 255, 256, 65_535, 65_536, 70_000])
    }

    proptest! {
        #[test]
        fn what_was_written_is_read(number in any::<u64>(), shift in 0u32..64, len in lengths()) {
            let (number, text, bytes) = (number >> shift, "x".repeat(len), vec![7u8; len]);
            let mut writer = Writer::default();
            writer.array(len);
            writer.uint(number);
            writer.str(&text);
            writer.bin(&bytes);
            writer.option(None::<u64>, Writer::uint);
            let written = writer.into_bytes();
            let mut reader = Reader::new(&written);
            reader.array(len).unwrap();
            assert_eq!(reader.uint().unwrap(), number);
            assert_eq!(reader.str(len).unwrap(), text);
            assert_eq!(reader.bin(len).unwrap(), bytes);
            assert!(reader.take_nil());
            reader.end().unwrap();
        }

        #[test]
        fn a_generic_reader_agrees(number in any::<u64>(), text in ".{0,300}") {
            let mut writer = Writer::default();
            writer.array(3);
            writer.uint(number);
            writer.str(&text);
            writer.bin(text.as_bytes());
            let expected = rmp_serde::to_vec(&(number, &text, serde_bytes::Bytes::new(text.as_bytes()))).unwrap();
            assert_eq!(writer.into_bytes(), expected);
        }
    }

    #[test]
    fn longer_forms_than_needed_are_refused() {
        assert!(Reader::new(&[0xcc, 0x7f]).uint().is_err());
        assert!(Reader::new(&[0xd9, 0x01, b'a']).str(10).is_err());
        assert!(Reader::new(&[0xdc, 0x00, 0x01]).list(10).is_err());
        assert!(Reader::new(&[0xc5, 0x00, 0x01, 0x00]).bin(10).is_err());
    }

    #[test]
    fn a_length_beyond_the_bytes_is_refused() {
        assert!(Reader::new(&[0xc6, 0xff, 0xff, 0xff, 0xff]).bin(usize::MAX).is_err());
        assert!(Reader::new(&[0xdd, 0xff, 0xff, 0xff, 0xff]).list(1_000).is_err());
    }
}
