//! Messages on the socket: four bytes of length, big-endian, and so many bytes.

use std::io;

use bytes::{BufMut as _, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt as _};
use trellis_lattice::wire::MAX_FRAME_BYTES;

/// How much is read at a time.
const READ_BYTES: usize = 64 << 10;
/// The length in front of a message.
const LENGTH_BYTES: usize = 4;

/// Appends `message` with its length in front.
pub(super) fn put(into: &mut BytesMut, message: &[u8]) {
    into.reserve(LENGTH_BYTES + message.len());
    into.put_u32(u32::try_from(message.len()).expect("messages are below 512 KiB"));
    into.put_slice(message);
}

/// The messages that arrive on a stream.
pub(super) struct Messages<R> {
    stream: R,
    buffer: BytesMut,
}

impl<R: AsyncRead + Unpin> Messages<R> {
    pub(super) fn new(stream: R) -> Self {
        Self { stream, buffer: BytesMut::with_capacity(READ_BYTES) }
    }

    /// The next one; `None` when the other end closed. Cancel safe.
    ///
    /// # Errors
    /// When the stream fails, ends within a message, or announces one that is too long or empty.
    pub(super) async fn next(&mut self) -> io::Result<Option<Bytes>> {
        loop {
            if let Some(message) = self.split()? {
                return Ok(Some(message));
            }
            if self.stream.read_buf(&mut self.buffer).await? > 0 {
                continue;
            }
            return if self.buffer.is_empty() { Ok(None) } else { Err(io::ErrorKind::UnexpectedEof.into()) };
        }
    }

    fn split(&mut self) -> io::Result<Option<Bytes>> {
        let Some(length) = self.buffer.first_chunk::<LENGTH_BYTES>() else {
            self.buffer.reserve(READ_BYTES);
            return Ok(None);
        };
        let length = u32::from_be_bytes(*length) as usize;
        if !(1..=MAX_FRAME_BYTES).contains(&length) {
            let message = format!("a message of {length} bytes was announced; 1 to {MAX_FRAME_BYTES} are allowed");
            return Err(io::Error::new(io::ErrorKind::InvalidData, message));
        }
        let missing = (LENGTH_BYTES + length).saturating_sub(self.buffer.len());
        if missing > 0 {
            self.buffer.reserve(missing.max(READ_BYTES));
            return Ok(None);
        }
        let mut message = self.buffer.split_to(LENGTH_BYTES + length);
        Ok(Some(message.split_off(LENGTH_BYTES).freeze()))
    }
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;

    use super::{Messages, put};

    #[tokio::test]
    async fn messages_arrive_whole_however_they_are_cut() {
        let mut bytes = BytesMut::new();
        let long = vec![7; 200_000];
        put(&mut bytes, b"a");
        put(&mut bytes, &long);
        put(&mut bytes, b"end");
        assert_eq!(bytes[..5], [0, 0, 0, 1, b'a'], "PROTOCOL.md");
        let (left, mut right) = tokio::io::duplex(7);
        let sent = tokio::spawn(async move { tokio::io::AsyncWriteExt::write_all(&mut right, &bytes).await });
        let mut messages = Messages::new(left);
        for expected in [&b"a"[..], &long, b"end"] {
            assert_eq!(messages.next().await.expect("read").expect("there")[..], *expected);
        }
        sent.await.expect("joined").expect("written");
        assert!(messages.next().await.expect("closed").is_none());
    }

    #[tokio::test]
    async fn a_message_that_is_empty_cut_or_too_long_is_an_error() {
        for bytes in [&[0, 0, 0, 0][..], &[0, 0, 0, 2, 1], &[0, 8, 0, 1, 1], &[0xff; 8], &[0, 0]] {
            assert!(Messages::new(bytes).next().await.is_err(), "{bytes:?}");
        }
    }
}
