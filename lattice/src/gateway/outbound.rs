//! What waits to be written to one client: encoded where it is published, written by the client's task.

use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::{BufMut, BytesMut};
use tokio::io::AsyncWriteExt;
use tokio::net::tcp::OwnedWriteHalf;
use tokio::sync::Notify;
use tokio::time::timeout;

use super::headers;
use crate::transport::Message;
use crate::transport::memory::Delivery;

/// A client for which more bytes wait is too slow, and cut.
const MAX_WAITING_BYTES: usize = 32 * 1024 * 1024;
/// So many bytes are written at a time, each within [`WRITE_PATIENCE`].
const CHUNK_BYTES: usize = 64 * 1024;
/// How long a client may take nothing.
const WRITE_PATIENCE: Duration = Duration::from_secs(10);
/// A buffer that grew larger is not kept.
const KEPT_BYTES: usize = 1024 * 1024;

/// The buffer of one client.
#[derive(Default)]
pub(super) struct Outbound {
    // A lock, because publishers on any thread add to it; held for copying one message, or swapping the buffer.
    state: Mutex<State>,
    added: Notify,
    overflowed: Notify,
}

#[derive(Default)]
struct State {
    buffer: BytesMut,
    is_closed: bool,
}

impl Outbound {
    /// Adds a line of the protocol, its end included.
    pub(super) fn line(&self, line: &str) {
        self.add(line.len(), |buffer| buffer.put_slice(line.as_bytes()));
    }

    /// Adds `message` for the subscription `id`.
    pub(super) fn message(&self, id: &str, message: &Message) -> Delivery {
        let reply = message.reply.as_ref().map(|reply| reply.as_str());
        let header_bytes = headers::size(message);
        // Room for the words of the line besides the names.
        let size = message.subject.as_str().len()
            + id.len()
            + reply.map_or(0, str::len)
            + header_bytes
            + message.payload.len()
            + 64;
        self.add(size, |buffer| write_message(id, message, reply, header_bytes, buffer))
    }

    /// Nothing more is added; what is there is still written.
    pub(super) fn close(&self) {
        self.state().is_closed = true;
        self.added.notify_one();
    }

    /// Completes when the client was too slow.
    pub(super) async fn overflowed(&self) {
        self.overflowed.notified().await;
    }

    /// Writes to `socket` until closed and all is written.
    ///
    /// # Errors
    /// Those of the socket, and `TimedOut` when the client takes nothing.
    pub(super) async fn write_to(&self, socket: &mut OwnedWriteHalf) -> io::Result<()> {
        let mut batch = BytesMut::new();
        loop {
            let is_closed = self.swap(&mut batch);
            if batch.is_empty() {
                if is_closed {
                    return timeout(WRITE_PATIENCE, socket.shutdown()).await?;
                }
                self.added.notified().await;
                continue;
            }
            for chunk in batch.chunks(CHUNK_BYTES) {
                timeout(WRITE_PATIENCE, socket.write_all(chunk)).await??;
            }
            if batch.capacity() > KEPT_BYTES {
                batch = BytesMut::new();
            }
            batch.clear();
        }
    }

    fn swap(&self, batch: &mut BytesMut) -> bool {
        let mut state = self.state();
        std::mem::swap(&mut state.buffer, batch);
        state.is_closed
    }

    fn add(&self, size: usize, write: impl FnOnce(&mut BytesMut)) -> Delivery {
        let mut state = self.state();
        if state.is_closed {
            return Delivery::Gone;
        }
        if state.buffer.len() + size > MAX_WAITING_BYTES {
            drop(state);
            self.overflowed.notify_one();
            return Delivery::Lost;
        }
        let was_empty = state.buffer.is_empty();
        write(&mut state.buffer);
        drop(state);
        if was_empty {
            self.added.notify_one();
        }
        Delivery::Taken
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn write_message(id: &str, message: &Message, reply: Option<&str>, header_bytes: usize, buffer: &mut BytesMut) {
    buffer.put_slice(if header_bytes > 0 { b"HMSG " } else { b"MSG " });
    for word in [Some(message.subject.as_str()), Some(id), reply].into_iter().flatten() {
        buffer.put_slice(word.as_bytes());
        buffer.put_u8(b' ');
    }
    if header_bytes > 0 {
        put_number(buffer, header_bytes);
        buffer.put_u8(b' ');
    }
    put_number(buffer, header_bytes + message.payload.len());
    buffer.put_slice(b"\r\n");
    headers::write(message, buffer);
    buffer.put_slice(&message.payload);
    buffer.put_slice(b"\r\n");
}

/// Without the allocation that `to_string` makes.
fn put_number(buffer: &mut BytesMut, number: usize) {
    use std::fmt::Write;
    write!(buffer, "{number}").expect("a buffer takes any text");
}
