//! One connection: which protocol it speaks, its limits and timers, and its end.

use std::convert::Infallible;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use hyper::rt::Executor;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulConnection;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::Sleep;
use tokio_util::sync::CancellationToken;
use tracing::debug;

use crate::forward;
use crate::listener::Shared;

/// The largest head of a request.
const MAX_HEAD_BYTES: usize = 32 << 10;

/// Requests that one HTTP/2 connection may have open.
const MAX_STREAMS: u32 = 128;

/// How often a quiet HTTP/2 peer is asked whether it is there, and how long it may take to say so.
const PING: Duration = Duration::from_secs(20);

enum Protocol {
    Http1,
    Http2,
}

/// Serves a connection until it ends. Dropping the future closes it and cancels its calls.
pub(crate) async fn serve(stream: TcpStream, shared: Arc<Shared>) {
    let _ = stream.set_nodelay(true);
    let header_timeout = shared.limits.header_timeout;
    let detected = tokio::select! {
        detected = tokio::time::timeout(header_timeout, detect(&stream)) => detected,
        // Nothing was asked yet.
        () = shared.closing.cancelled() => return,
    };
    match detected {
        Ok(Ok(Protocol::Http1)) => serve_http1(stream, shared).await,
        Ok(Ok(Protocol::Http2)) => serve_http2(stream, shared).await,
        Ok(Err(_)) | Err(_) => {}
    }
}

/// Tells by its first bytes, which stay where they are: no method of HTTP/1.1 begins with `PRI`.
async fn detect(stream: &TcpStream) -> io::Result<Protocol> {
    let mut start = [0; 3];
    loop {
        let length = stream.peek(&mut start).await?;
        match &start[..length] {
            b"PRI" => return Ok(Protocol::Http2),
            [] => return Err(io::ErrorKind::UnexpectedEof.into()),
            // The stream is readable already, so that the next peek would not wait for more.
            b"P" | b"PR" => tokio::time::sleep(Duration::from_millis(1)).await,
            _ => return Ok(Protocol::Http1),
        }
    }
}

async fn serve_http1(stream: TcpStream, shared: Arc<Shared>) {
    let limits = shared.limits;
    let closing = shared.closing.clone();
    let service = service_fn(move |request| {
        let shared = shared.clone();
        async move { Ok::<_, Infallible>(forward::serve(&shared, request).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.header_timeout)
        .max_header_size(MAX_HEAD_BYTES)
        .serve_connection(TokioIo::new(Patient::new(stream, limits.stall_timeout)), service);
    run(connection, &closing).await;
}

async fn serve_http2(stream: TcpStream, shared: Arc<Shared>) {
    let limits = shared.limits;
    let closing = shared.closing.clone();
    let streams = CancellationToken::new();
    let _ended = streams.clone().drop_guard();
    let spoke = Arc::new(AtomicBool::new(false));
    let speaks = spoke.clone();
    let service = service_fn(move |request| {
        speaks.store(true, Ordering::Relaxed);
        let shared = shared.clone();
        async move { Ok::<_, Infallible>(forward::serve(&shared, request).await) }
    });
    let connection = http2::Builder::new(Owned(streams))
        .timer(TokioTimer::new())
        .keep_alive_interval(PING)
        .keep_alive_timeout(PING)
        .max_concurrent_streams(MAX_STREAMS)
        .max_header_list_size(u32::try_from(MAX_HEAD_BYTES).expect("32 KiB"))
        .serve_connection(TokioIo::new(Patient::new(stream, limits.stall_timeout)), service);
    let mut served = pin!(run(connection, &closing));
    // hyper's header timer is for HTTP/1.1 only.
    if tokio::time::timeout(limits.header_timeout, served.as_mut()).await.is_err() && spoke.load(Ordering::Relaxed) {
        served.await;
    }
}

async fn run<C>(connection: C, closing: &CancellationToken)
where
    C: GracefulConnection<Error = hyper::Error>,
{
    let mut connection = pin!(connection);
    let result = tokio::select! {
        result = connection.as_mut() => result,
        () = closing.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = result {
        debug!("connection ended: {error}");
    }
}

/// Runs the streams of one HTTP/2 connection, as long as the connection is there.
#[derive(Clone)]
struct Owned(CancellationToken);

impl<F> Executor<F> for Owned
where
    F: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, stream: F) {
        let ended = self.0.clone();
        tokio::spawn(async move { ended.run_until_cancelled_owned(stream).await });
    }
}

/// A stream whose writes fail when the peer takes nothing for the timeout.
struct Patient {
    stream: TcpStream,
    timeout: Duration,
    /// Armed while a write waits.
    stalled: Option<Pin<Box<Sleep>>>,
}

impl Patient {
    fn new(stream: TcpStream, timeout: Duration) -> Self {
        Self { stream, timeout, stalled: None }
    }

    fn guard<T>(&mut self, cx: &mut Context<'_>, write: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if write.is_ready() {
            self.stalled = None;
            return write;
        }
        let timeout = self.timeout;
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(tokio::time::sleep(timeout)));
        ready!(stalled.as_mut().poll(cx));
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "peer takes no bytes")))
    }
}

impl AsyncRead for Patient {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Patient {
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

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
