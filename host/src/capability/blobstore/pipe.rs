//! Between a guest that writes a value and the call that carries it: so many bytes are in between at most.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::{Bytes, BytesMut};
use http_body::Frame;
use trellis_lattice::error::CallError;
use wasmtime_wasi::async_trait;
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamError};

/// What is written and not yet read. A guest may write so much before it says where to.
const BUFFER_BYTES: usize = 512 << 10;
/// What is read at once.
const PIECE_BYTES: usize = 64 << 10;

/// What writer and reader share. A lock, because both take turns; it is held to move bytes, never longer.
#[derive(Default)]
struct Shared(Mutex<Flow>);

#[derive(Default)]
struct Flow {
    buffer: BytesMut,
    end: End,
    reader: Reading,
    waiting_writer: Option<Waker>,
    waiting_reader: Option<Waker>,
}

/// How the value ends.
#[derive(Default, PartialEq, Eq)]
enum End {
    /// It does not yet.
    #[default]
    Open,
    /// What is in the buffer is the rest.
    Finished,
    /// The guest let go of it: it is not to be stored.
    Dropped,
}

/// Whether somebody reads.
#[derive(Default, PartialEq, Eq)]
enum Reading {
    /// Not yet.
    #[default]
    Awaited,
    /// A call carries the value.
    Begun,
    /// The call is over.
    Over,
}

impl Shared {
    fn flow(&self) -> MutexGuard<'_, Flow> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Flow {
    fn wake_writer(&mut self) {
        if let Some(waker) = self.waiting_writer.take() {
            waker.wake();
        }
    }

    fn wake_reader(&mut self) {
        if let Some(waker) = self.waiting_reader.take() {
            waker.wake();
        }
    }

    fn room(&self) -> Result<usize, StreamError> {
        if self.reader == Reading::Over || self.end != End::Open {
            return Err(StreamError::Closed);
        }
        let room = BUFFER_BYTES - self.buffer.len();
        if room == 0 && self.reader == Reading::Awaited {
            let message = "the value is to be written nowhere yet: call write-data before so much of it is written";
            return Err(StreamError::LastOperationFailed(wasmtime::Error::msg(message)));
        }
        Ok(room.min(PIECE_BYTES))
    }
}

/// The three ends of a value: who decides that it is whole, who writes it, who reads it.
pub(super) fn pipe() -> (Handle, Writer, Source) {
    let shared = Arc::new(Shared::default());
    (Handle(Arc::clone(&shared)), Writer(Arc::clone(&shared)), Source(shared))
}

/// Decides that the value is whole. Dropped before, the value fails.
pub(super) struct Handle(Arc<Shared>);

impl Handle {
    /// What was written is all.
    pub(super) fn finish(&self) {
        let mut flow = self.0.flow();
        flow.end = End::Finished;
        flow.wake_reader();
        flow.wake_writer();
    }

    /// Waits until the call reads, or is over.
    pub(super) async fn read_from(&self) {
        poll_fn(|cx| {
            let mut flow = self.0.flow();
            if flow.reader != Reading::Awaited {
                return Poll::Ready(());
            }
            flow.waiting_writer = Some(cx.waker().clone());
            Poll::Pending
        })
        .await;
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        let mut flow = self.0.flow();
        if flow.end == End::Open {
            flow.end = End::Dropped;
        }
        flow.wake_reader();
        flow.wake_writer();
    }
}

/// The stream that the guest writes to.
pub(super) struct Writer(Arc<Shared>);

#[async_trait]
impl OutputStream for Writer {
    fn write(&mut self, bytes: Bytes) -> Result<(), StreamError> {
        let mut flow = self.0.flow();
        if bytes.len() > flow.room()? {
            return Err(StreamError::trap("more was written than check-write allowed"));
        }
        flow.buffer.extend_from_slice(&bytes);
        flow.wake_reader();
        Ok(())
    }

    /// Nothing waits here for more: what is written goes on as soon as it is read.
    fn flush(&mut self) -> Result<(), StreamError> {
        Ok(())
    }

    fn check_write(&mut self) -> Result<usize, StreamError> {
        self.0.flow().room()
    }
}

#[async_trait]
impl Pollable for Writer {
    async fn ready(&mut self) {
        poll_fn(|cx| {
            let mut flow = self.0.flow();
            if !matches!(flow.room(), Ok(0)) {
                return Poll::Ready(());
            }
            flow.waiting_writer = Some(cx.waker().clone());
            Poll::Pending
        })
        .await;
    }
}

/// The body of the call.
pub(super) struct Source(Arc<Shared>);

impl http_body::Body for Source {
    type Data = Bytes;
    type Error = CallError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, CallError>>> {
        let mut flow = self.0.flow();
        if flow.reader == Reading::Awaited {
            flow.reader = Reading::Begun;
            flow.wake_writer();
        }
        let is_unfinished = flow.end == End::Dropped;
        if is_unfinished {
            return Poll::Ready(Some(Err(CallError::provider("the actor did not finish the value"))));
        }
        if !flow.buffer.is_empty() {
            let length = flow.buffer.len().min(PIECE_BYTES);
            let piece = flow.buffer.split_to(length).freeze();
            flow.wake_writer();
            return Poll::Ready(Some(Ok(Frame::data(piece))));
        }
        if flow.end == End::Finished {
            return Poll::Ready(None);
        }
        flow.waiting_reader = Some(cx.waker().clone());
        Poll::Pending
    }
}

impl Drop for Source {
    fn drop(&mut self) {
        let mut flow = self.0.flow();
        flow.reader = Reading::Over;
        flow.buffer = BytesMut::new();
        flow.wake_writer();
    }
}

#[cfg(test)]
mod tests {
    use super::{BUFFER_BYTES, PIECE_BYTES, pipe};
    use bytes::Bytes;
    use http_body_util::BodyExt as _;
    use wasmtime_wasi::p2::{OutputStream as _, Pollable as _, StreamError};

    #[tokio::test]
    async fn a_value_arrives_whole_and_ends_when_it_is_finished() {
        let (handle, mut writer, source) = pipe();
        let written: Vec<u8> = (0..3 * BUFFER_BYTES).map(|at| (at % 251) as u8).collect();
        let reader = tokio::spawn(source.collect());
        handle.read_from().await;
        let mut rest = Bytes::from(written.clone());
        while !rest.is_empty() {
            writer.ready().await;
            let room = writer.check_write().expect("is open");
            assert!(room <= PIECE_BYTES);
            writer.write(rest.split_to(room.min(rest.len()))).expect("there is room");
        }
        assert!(!reader.is_finished(), "it is not finished");
        handle.finish();
        assert!(matches!(writer.check_write(), Err(StreamError::Closed)));
        assert_eq!(reader.await.expect("ends").expect("is whole").to_bytes(), written);
    }

    #[tokio::test]
    async fn a_value_that_is_let_go_of_fails() {
        let (handle, mut writer, mut source) = pipe();
        writer.write(Bytes::from_static(b"half")).expect("there is room");
        drop(handle);
        assert!(source.frame().await.expect("not an end").is_err());
    }

    #[tokio::test]
    async fn who_writes_to_nowhere_or_nobody_is_told() {
        let (_handle, mut writer, source) = pipe();
        while let Ok(room) = writer.check_write() {
            writer.write(Bytes::from(vec![0; room])).expect("there is room");
        }
        writer.ready().await;
        match writer.check_write() {
            Err(StreamError::LastOperationFailed(error)) => assert!(error.to_string().contains("write-data")),
            other => panic!("{other:?}"),
        }
        drop(source);
        writer.ready().await;
        assert!(matches!(writer.check_write(), Err(StreamError::Closed)));
    }
}
