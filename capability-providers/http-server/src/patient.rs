//! A stream whose writes fail when the peer takes too little for too long, and whose end does not take the last answer
//! with it.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

use crate::pace::{MinPace, Pace};

/// What is still read of a peer that sends more than was wanted, once it was told so.
const LINGER_BYTES: usize = 4 << 20;
/// How long.
const LINGER: Duration = Duration::from_millis(500);

/// A stream with a watch on what the peer takes.
pub(crate) struct Patient<S> {
    stream: S,
    pace: Pace,
    lingering: Lingering,
}

/// Reads what the peer is still sending after the last answer: closing a socket with unread bytes makes the kernel reset
/// the connection, and the peer would lose an answer that it had not read yet.
#[derive(Default)]
struct Lingering {
    read_bytes: usize,
    /// Runs from when something was there to be read.
    timer: Option<Pin<Box<Sleep>>>,
}

impl Lingering {
    fn poll<S: AsyncRead + Unpin>(&mut self, stream: &mut S, cx: &mut Context<'_>) -> Poll<()> {
        let mut scrap = [0; 8 << 10];
        loop {
            let mut buf = ReadBuf::new(&mut scrap);
            match Pin::new(&mut *stream).poll_read(cx, &mut buf) {
                Poll::Ready(Ok(())) if !buf.filled().is_empty() && self.read_bytes < LINGER_BYTES => {
                    self.read_bytes += buf.filled().len();
                    self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep(LINGER)));
                }
                Poll::Ready(_) => return Poll::Ready(()),
                // A peer that sends nothing has nothing to lose.
                Poll::Pending => return self.timer.as_mut().map_or(Poll::Ready(()), |timer| timer.as_mut().poll(cx)),
            }
        }
    }
}

impl<S> Patient<S> {
    /// Watches the writes to `stream`.
    pub(crate) fn new(stream: S, min: MinPace) -> Self {
        Self { stream, pace: Pace::new(min), lingering: Lingering::default() }
    }

    fn guard(&mut self, cx: &mut Context<'_>, write: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        let too_slow = || io::Error::new(io::ErrorKind::TimedOut, "peer takes too few bytes");
        match write {
            Poll::Ready(Ok(bytes)) => Poll::Ready(self.pace.moved(bytes).map(|()| bytes).map_err(|_| too_slow())),
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending => {
                ready!(self.pace.poll_stalled(cx));
                Poll::Ready(Err(too_slow()))
            }
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Patient<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Patient<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let write = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.guard(cx, write)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let write = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.guard(cx, write)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    /// TLS writes what it has encrypted here.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flush = Pin::new(&mut self.stream).poll_flush(cx);
        self.guard(cx, flush.map_ok(|()| 0)).map_ok(|_| ())
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let shutdown = Pin::new(&mut self.stream).poll_shutdown(cx);
        ready!(self.guard(cx, shutdown.map_ok(|()| 0)))?;
        let Self { stream, lingering, .. } = &mut *self;
        lingering.poll(stream, cx).map(Ok)
    }
}
