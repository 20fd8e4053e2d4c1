//! One connection: which protocol it speaks, its limits and timers, and its end.

use std::convert::Infallible;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use http::header::{CONNECTION, HeaderValue};
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulConnection;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;
use tracing::debug;

use crate::forward;
use crate::listener::Shared;
use crate::patient::Patient;
use crate::stream::{self, Streams};
use crate::unsent;

/// The largest head of a request in HTTP/1.1, and in HTTP/2, where it is counted without compression.
const MAX_HEAD_BYTES: usize = 32 << 10;
const MAX_HEADER_LIST_BYTES: u32 = 16 << 10;

/// Requests that one HTTP/2 connection may have open.
const MAX_STREAMS: u32 = 128;
/// Streams that the peer opened and gave up before they were looked at; more end the connection.
const MAX_PENDING_RESETS: usize = 20;
/// Streams that were reset here because the peer broke a rule; more end the connection.
const MAX_ERROR_RESETS: usize = 100;
/// What a peer may send of all its bodies, and of one, before the actor reads.
const CONNECTION_WINDOW_BYTES: u32 = 1 << 20;
const STREAM_WINDOW_BYTES: u32 = 64 << 10;
/// What waits here for a peer that does not take it, for each stream.
const SEND_BUFFER_BYTES: usize = 64 << 10;

/// How long the first request of a connection is awaited when the server goes away: it may be on its way, and closing
/// would lose it. Later ones are for their senders to send again (RFC 9112, 9.3.1).
const FIRST_REQUEST: Duration = Duration::from_millis(500);

/// How often a quiet HTTP/2 peer is asked whether it is there, and how long it may take to say so.
const PING: Duration = Duration::from_secs(20);

/// A connection whose protocol is known.
enum Opened {
    Http1(TcpStream),
    Http2(TcpStream),
    Http1OverTls(Box<TlsStream<TcpStream>>),
    Http2OverTls(Box<TlsStream<TcpStream>>),
}

/// Serves a connection until it ends. Dropping the future closes it and cancels its calls.
pub(crate) async fn serve(stream: TcpStream, shared: Arc<Shared>) {
    let _ = stream.set_nodelay(true);
    unsent::bound(&stream);
    let header_timeout = shared.limits.header_timeout;
    let opened = tokio::select! {
        opened = tokio::time::timeout(header_timeout, open(stream, &shared)) => opened,
        // Nothing was asked yet.
        () = gone_by(&shared.closing, std::future::pending()) => return,
    };
    match opened {
        Ok(Ok(Opened::Http1(stream))) => serve_http1(stream, shared).await,
        Ok(Ok(Opened::Http2(stream))) => serve_http2(stream, shared).await,
        Ok(Ok(Opened::Http1OverTls(stream))) => serve_http1(stream, shared).await,
        Ok(Ok(Opened::Http2OverTls(stream))) => serve_http2(stream, shared).await,
        Ok(Err(error)) => debug!("connection not opened: {error}"),
        Err(_) => {}
    }
}

async fn open(stream: TcpStream, shared: &Shared) -> io::Result<Opened> {
    let Some(config) = shared.tls.load_full() else { return detect(stream).await };
    let stream = Box::new(TlsAcceptor::from(config).accept(stream).await?);
    Ok(match stream.get_ref().1.alpn_protocol() {
        Some(b"h2") => Opened::Http2OverTls(stream),
        _ => Opened::Http1OverTls(stream),
    })
}

/// Tells by its first bytes, which stay where they are: no method of HTTP/1.1 begins with `PRI`.
async fn detect(stream: TcpStream) -> io::Result<Opened> {
    let mut start = [0; 3];
    loop {
        let length = stream.peek(&mut start).await?;
        match &start[..length] {
            b"PRI" => return Ok(Opened::Http2(stream)),
            [] => return Err(io::ErrorKind::UnexpectedEof.into()),
            // The stream is readable already, so that the next peek would not wait for more.
            b"P" | b"PR" => tokio::time::sleep(Duration::from_millis(1)).await,
            _ => return Ok(Opened::Http1(stream)),
        }
    }
}

async fn serve_http1<S>(stream: S, shared: Arc<Shared>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let limits = shared.limits;
    let (closing, begun) = (shared.closing.clone(), Arc::new(Notify::new()));
    let begins = begun.clone();
    let service = service_fn(move |request| {
        begins.notify_one();
        let shared = shared.clone();
        async move {
            let mut response = forward::serve(&shared, request).await;
            if shared.closing.is_cancelled() {
                // hyper says so by itself only when it was told before the answer was ready.
                response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            }
            Ok::<_, Infallible>(response)
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.header_timeout)
        .max_header_size(MAX_HEAD_BYTES)
        .serve_connection(TokioIo::new(Patient::new(stream, limits.pace())), service);
    run(connection, gone_by(&closing, begun.notified())).await;
}

/// Ends when the server goes away and a connection has begun with its first request, or had the time to.
async fn gone_by(closing: &CancellationToken, begun: impl Future<Output = ()>) {
    closing.cancelled().await;
    let _ = tokio::time::timeout(FIRST_REQUEST, begun).await;
}

async fn serve_http2<S>(stream: S, shared: Arc<Shared>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let limits = shared.limits;
    let closing = shared.closing.clone();
    let ended = CancellationToken::new();
    let _ended = ended.clone().drop_guard();
    let streams = Streams::new(ended, limits.stall_timeout);
    let service = service_fn(move |request| {
        let shared = shared.clone();
        async move { Ok::<_, Infallible>(stream::watched(forward::serve(&shared, request).await)) }
    });
    let connection = http2::Builder::new(streams.clone())
        .timer(TokioTimer::new())
        .keep_alive_interval(PING)
        .keep_alive_timeout(PING)
        .max_concurrent_streams(MAX_STREAMS)
        .max_header_list_size(MAX_HEADER_LIST_BYTES)
        .max_pending_accept_reset_streams(MAX_PENDING_RESETS)
        .max_local_error_reset_streams(MAX_ERROR_RESETS)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .max_send_buf_size(SEND_BUFFER_BYTES)
        .serve_connection(TokioIo::new(Patient::new(stream, limits.pace())), service);
    // hyper's header timer is for HTTP/1.1 only.
    let closing = async {
        tokio::select! {
            () = closing.cancelled() => {}
            () = streams.idle(limits.header_timeout) => {}
        }
    };
    tokio::select! {
        () = run(connection, closing) => {}
        // It does not answer the goodbye.
        () = streams.idle(limits.header_timeout * 2) => {}
    }
}

/// Runs a connection to its end; after `closing`, to the end of the requests that it has.
async fn run<C>(connection: C, closing: impl Future<Output = ()>)
where
    C: GracefulConnection<Error = hyper::Error>,
{
    let mut connection = pin!(connection);
    let result = tokio::select! {
        // An answer that is ready at the same moment says goodbye.
        biased;
        () = closing => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
        result = connection.as_mut() => result,
    };
    if let Err(error) = result {
        debug!("connection ended: {error}");
    }
}
