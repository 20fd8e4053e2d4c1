//! A value that a guest reads: the body of an answer as a stream of wasi:io.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::Body as _;
use trellis_lattice::body::Body;
use trellis_lattice::error::CallError;
use wasmtime_wasi::async_trait;
use wasmtime_wasi::p2::{InputStream, Pollable, StreamError};

/// An `incoming-value`.
#[derive(Debug)]
#[expect(unreachable_pub, reason = "the generated code exports it")]
pub struct IncomingValue {
    pub(super) size: u64,
    pub(super) body: Body,
}

/// Reads a body as the guest asks for it; what arrived and was not read yet is one frame.
pub(super) struct Reader {
    body: Body,
    state: Ahead,
}

/// What is known before the guest asks.
enum Ahead {
    /// Bytes, if any.
    Bytes(Bytes),
    /// The body failed, which the guest is told once.
    Failed(CallError),
    /// Nothing more comes.
    Ended,
}

impl Reader {
    /// Reads `body`.
    pub(super) fn of(body: Body) -> Self {
        Self { body, state: Ahead::Bytes(Bytes::new()) }
    }

    fn poll_ahead(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while matches!(&self.state, Ahead::Bytes(bytes) if bytes.is_empty()) {
            match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
                Some(Ok(frame)) => self.state = Ahead::Bytes(frame.into_data().unwrap_or_default()),
                Some(Err(error)) => self.state = Ahead::Failed(error),
                None => self.state = Ahead::Ended,
            }
        }
        Poll::Ready(())
    }
}

#[async_trait]
impl InputStream for Reader {
    fn read(&mut self, size: usize) -> Result<Bytes, StreamError> {
        // Whoever reads without waiting first is told what there is now.
        let _ = self.poll_ahead(&mut Context::from_waker(std::task::Waker::noop()));
        match std::mem::replace(&mut self.state, Ahead::Ended) {
            Ahead::Bytes(mut bytes) => {
                let taken = bytes.split_to(size.min(bytes.len()));
                self.state = Ahead::Bytes(bytes);
                Ok(taken)
            }
            Ahead::Failed(error) => Err(StreamError::LastOperationFailed(error.into())),
            Ahead::Ended => Err(StreamError::Closed),
        }
    }
}

#[async_trait]
impl Pollable for Reader {
    async fn ready(&mut self) {
        poll_fn(|cx| self.poll_ahead(cx)).await;
    }
}
