//! The HTTP server by its public API: real sockets, actors that are closures.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use http::{HeaderMap, Request, Response, StatusCode, header};
use http_body::Frame;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::time::timeout;
use trellis_provider_http_server::{HttpServer, Listeners};
use trellis_provider_sdk::testing::{as_source, caller, config, environment, link, nobody};
use trellis_provider_sdk::{
    ActiveLink, Answer, Args, Body, Call, CallError, CallErrorKind, Caller, Health, LinkError, LinkName, Provider,
};

/// Far more than anything here takes; only a failure waits for it.
const PATIENCE: Duration = Duration::from_secs(20);

type Reply = Result<Answer<Args>, CallError>;

fn actor<F>(behaviour: F) -> Arc<dyn Caller>
where
    F: Fn(Call<Args>) -> BoxFuture<'static, Reply> + Send + Sync + 'static,
{
    caller(behaviour)
}

fn answer(status: StatusCode, body: Body) -> Answer<Args> {
    let (mut parts, ()) = Response::new(()).into_parts();
    parts.status = status;
    Answer { value: Args::Response(Box::new(parts)), body }
}

fn request_of(call: &Call<Args>) -> &http::request::Parts {
    match &call.args {
        Args::Request(parts) => parts,
        other => panic!("no request: {other:?}"),
    }
}

/// Answers with the name of the link, the path and the trace.
fn describing() -> Arc<dyn Caller> {
    actor(|call| {
        let parts = request_of(&call);
        let trace = call.context.trace.as_ref().map(|trace| trace.parent.to_string()).unwrap_or_default();
        let text = format!("{} {} {} {}", call.link, call.interface, parts.uri.path(), trace);
        let hop = parts.headers.contains_key("connection") || parts.headers.contains_key("x-private");
        let status = if hop { StatusCode::IM_A_TEAPOT } else { StatusCode::OK };
        Box::pin(async move { Ok(answer(status, Bytes::from(text.trim_end().to_owned()).into())) })
    })
}

fn failing(error: CallError) -> Arc<dyn Caller> {
    actor(move |_| {
        let error = error.clone();
        Box::pin(async move { Err(error) })
    })
}

struct Server {
    listeners: Arc<Listeners>,
    provider: HttpServer,
    _data: tempfile::TempDir,
}

impl Server {
    fn new(caller: Arc<dyn Caller>, pairs: &[(&str, &str)]) -> Self {
        Self::sharing(Arc::default(), caller, pairs)
    }

    fn sharing(listeners: Arc<Listeners>, caller: Arc<dyn Caller>, pairs: &[(&str, &str)]) -> Self {
        let data = tempfile::tempdir().unwrap();
        let mut environment = environment("http-server", data.path(), caller);
        environment.config = config(&[("address", "127.0.0.1:0")]);
        environment.config.extend(config(pairs));
        Self { provider: HttpServer::start(environment, listeners.clone()).unwrap(), listeners, _data: data }
    }

    async fn with_link(caller: Arc<dyn Caller>, pairs: &[(&str, &str)]) -> (Self, SocketAddr) {
        let server = Self::new(caller, &[]);
        server.provider.link_up(&named("default", pairs)).await.unwrap();
        let address = server.address();
        (server, address)
    }

    fn address(&self) -> SocketAddr {
        self.listeners.local_address(SocketAddr::from(([127, 0, 0, 1], 0))).expect("it listens")
    }
}

fn named(name: &str, pairs: &[(&str, &str)]) -> ActiveLink {
    let mut link = link("http-server", "actor", &["wasi:http/incoming-handler"]);
    link.name = LinkName::parse(name).unwrap();
    as_source(link, pairs)
}

async fn connect(address: SocketAddr) -> http1::SendRequest<Full<Bytes>> {
    let stream = TcpStream::connect(address).await.unwrap();
    let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    sender
}

fn request(host: &str, path: &str) -> Request<Full<Bytes>> {
    Request::get(path).header(header::HOST, host).body(Full::default()).unwrap()
}

async fn send(address: SocketAddr, request: Request<Full<Bytes>>) -> (StatusCode, HeaderMap, String) {
    let mut sender = connect(address).await;
    let response = timeout(PATIENCE, sender.send_request(request)).await.expect("an answer").unwrap();
    let (parts, body) = response.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    (parts.status, parts.headers, String::from_utf8(body.to_vec()).unwrap())
}

/// What the server says to these bytes until it closes.
async fn raw(address: SocketAddr, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    let mut said = Vec::new();
    let _ = timeout(PATIENCE, stream.read_to_end(&mut said)).await.expect("the server closes");
    String::from_utf8_lossy(&said).into_owned()
}

#[tokio::test]
async fn requests_go_to_the_link_that_fits_best() {
    let server = Server::new(describing(), &[]);
    let links: [(&str, &[(&str, &str)]); 4] = [
        ("all", &[]),
        ("api", &[("path", "/api")]),
        ("shop", &[("host", "shop.example.com")]),
        ("wild", &[("host", "*.example.com"), ("path", "/w")]),
    ];
    for (name, pairs) in links {
        server.provider.link_up(&named(name, pairs)).await.unwrap();
    }
    for (host, path, expected) in [
        ("localhost", "/", "all"),
        ("localhost", "/api/x?y", "api"),
        ("shop.example.com:80", "/api", "shop"),
        ("a.example.com", "/w/1", "wild"),
        ("a.example.com", "/x", "all"),
    ] {
        let (status, _, body) = send(server.address(), request(host, path)).await;
        assert_eq!((status, body.split(' ').next()), (StatusCode::OK, Some(expected)), "{host}{path}");
    }
    server.provider.link_down(&named("all", &[])).await;
    let (status, ..) = send(server.address(), request("localhost", "/")).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn two_links_for_the_same_requests_are_a_conflict_that_names_both() {
    let server = Server::new(describing(), &[]);
    server.provider.link_up(&named("first", &[("path", "/a")])).await.unwrap();
    let error = server.provider.link_up(&named("second", &[("path", "/a/")])).await.expect_err("conflict").to_string();
    assert!(error.contains("first") && error.contains("second") && error.contains("/a"), "{error}");
    server.provider.link_up(&named("first", &[("path", "/b")])).await.expect("the same link may change");
    server.provider.link_up(&named("second", &[("path", "/a")])).await.expect("the path is free now");

    let other = Server::sharing(server.listeners.clone(), describing(), &[]);
    other.provider.link_up(&named("third", &[])).await.expect("providers of one process share a listener");
    assert!(other.provider.link_up(&named("fourth", &[("path", "/a")])).await.is_err());
}

#[tokio::test]
async fn links_with_weights_divide_requests_exactly() {
    let server = Server::new(describing(), &[]);
    let put = async |name: &str, weight: &str| {
        server.provider.link_up(&named(name, &[("path", "/a"), ("weight", weight)])).await.unwrap();
    };
    let count = async || {
        let mut stable = 0;
        for _ in 0..50 {
            let (status, _, body) = send(server.address(), request("localhost", "/a")).await;
            assert_eq!(status, StatusCode::OK);
            stable += usize::from(body.starts_with("stable "));
            let others = named("other", &[("path", "/b")]);
            server.provider.link_up(&others).await.expect("what else happens does not begin the division anew");
        }
        stable
    };
    put("stable", "90").await;
    put("canary", "10").await;
    assert_eq!(count().await, 45);
    put("stable", "50").await;
    put("canary", "50").await;
    assert_eq!(count().await, 25);
    put("stable", "0").await;
    assert_eq!(count().await, 0);
    put("canary", "0").await;
    assert_eq!(send(server.address(), request("localhost", "/a")).await.0, StatusCode::NOT_FOUND);
    server.provider.link_down(&named("canary", &[])).await;
    put("stable", "1").await;
    assert_eq!(count().await, 50);

    let error = server.provider.link_up(&named("third", &[("path", "/a")])).await.expect_err("no weight").to_string();
    assert!(error.contains("stable") && error.contains("`weight`"), "{error}");
    let other = Server::sharing(server.listeners.clone(), describing(), &[]);
    let error = other.provider.link_up(&named("stranger", &[("path", "/a"), ("weight", "1")])).await;
    error.expect_err("another provider is another owner");
}

#[tokio::test]
async fn a_port_in_use_fails_the_link_and_is_named() {
    let taken = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = taken.local_addr().unwrap();
    let server = Server::new(describing(), &[]);
    let wanting = named("default", &[("address", &address.to_string())]);
    let error = server.provider.link_up(&wanting).await.expect_err("in use");
    assert!(matches!(&error, LinkError::Unavailable(text) if text.contains(&address.to_string())), "{error}");
    drop(taken);
    server.provider.link_up(&wanting).await.expect("the port is free now");
    assert_eq!(server.provider.health().await, Health::Healthy);
    server.provider.link_down(&wanting).await;
    tokio::net::TcpListener::bind(address).await.expect("the last link gives the port back");
}

#[tokio::test]
async fn a_link_that_is_not_for_http_is_refused() {
    let server = Server::new(nobody(), &[]);
    let link = link("http-server", "actor", &["wasi:http/outgoing-handler"]);
    let error = server.provider.link_up(&as_source(link, &[])).await.expect_err("not callable").to_string();
    assert!(error.contains("wasi:http/incoming-handler"), "{error}");
}

#[tokio::test]
async fn http2_is_spoken_on_the_same_port() {
    let (_server, address) = Server::with_link(describing(), &[]).await;
    let stream = TcpStream::connect(address).await.unwrap();
    let (mut sender, connection) =
        http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.expect("prior knowledge");
    tokio::spawn(connection);
    let request = Request::get(format!("http://{address}/two")).body(Full::<Bytes>::default()).unwrap();
    let response = timeout(PATIENCE, sender.send_request(request)).await.expect("an answer").unwrap();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(body, "default wasi:http/incoming-handler /two");
}

#[tokio::test]
async fn a_trace_is_passed_on_and_hop_by_hop_headers_are_not() {
    let (_server, address) = Server::with_link(describing(), &[]).await;
    let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let mut request = request("localhost", "/");
    for (name, value) in [("traceparent", parent), ("connection", "x-private"), ("x-private", "1")] {
        request.headers_mut().insert(name, value.parse().unwrap());
    }
    let (status, _, body) = send(address, request).await;
    assert_eq!(status, StatusCode::OK);
    assert!(body.ends_with(parent), "{body}");
}

#[tokio::test]
async fn a_slow_client_is_cut() {
    let server = Server::new(describing(), &[("header_timeout", "200ms")]);
    server.provider.link_up(&named("default", &[])).await.unwrap();
    for start in ["", "P", "PRI * HTTP/2.0\r\n", "GET / HTTP/1.1\r\nHost: a\r\nX-"] {
        let said = raw(server.address(), start.as_bytes()).await;
        assert!(!said.contains("200 OK"), "{start:?} got {said:?}");
    }
    let (status, ..) = send(server.address(), request("localhost", "/")).await;
    assert_eq!(status, StatusCode::OK, "others are served");
}

#[tokio::test]
async fn ambiguous_requests_are_refused() {
    let (_server, address) = Server::with_link(describing(), &[]).await;
    for (bad, status) in [
        ("GET / HTTP/1.1\r\nConnection: close\r\n\r\n", "400"),
        ("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\nConnection: close\r\n\r\n", "400"),
        ("GET http://b/ HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", "400"),
        ("CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\nConnection: close\r\n\r\n", "405"),
        ("GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", "400"),
        ("GET / HTTP/1.1\r\nHost : a\r\n\r\n", "400"),
    ] {
        let said = raw(address, bad.as_bytes()).await;
        assert!(said.starts_with(&format!("HTTP/1.1 {status}")), "{bad:?} got {said:?}");
    }
    let long = format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "x".repeat(40 << 10));
    let said = raw(address, long.as_bytes()).await;
    assert!(said.starts_with("HTTP/1.1 431"), "{said:?}");
}

#[tokio::test]
async fn bodies_stream_both_ways_as_they_are_read() {
    let (_server, address) =
        Server::with_link(actor(|call| Box::pin(async { Ok(answer(StatusCode::OK, call.body)) })), &[]).await;
    let (chunks, receiver) = futures::channel::mpsc::channel::<Result<Frame<Bytes>, CallError>>(0);
    let stream = TcpStream::connect(address).await.unwrap();
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let request = Request::post("/").header(header::HOST, "a").body(StreamBody::new(receiver)).unwrap();
    let mut response = timeout(PATIENCE, sender.send_request(request)).await.expect("before the body ends").unwrap();
    let mut chunks = chunks;
    for n in 0..8_u8 {
        let chunk = Bytes::from(vec![n; 64 << 10]);
        futures::SinkExt::send(&mut chunks, Ok(Frame::data(chunk.clone()))).await.unwrap();
        let mut echoed = 0;
        while echoed < chunk.len() {
            let frame = timeout(PATIENCE, response.frame()).await.expect("echoed at once").unwrap().unwrap();
            echoed += frame.data_ref().map_or(0, Bytes::len);
        }
    }
    drop(chunks);
    assert!(timeout(PATIENCE, response.frame()).await.expect("the end").is_none());
}

#[tokio::test]
async fn a_client_that_waits_for_100_continue_gets_it_whatever_the_actor_does_first() {
    let (_server, address) =
        Server::with_link(actor(|call| Box::pin(async { Ok(answer(StatusCode::OK, call.body)) })), &[]).await;
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream
        .write_all(
            b"POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n",
        )
        .await
        .unwrap();
    let mut said = [0; 25];
    timeout(PATIENCE, stream.read_exact(&mut said)).await.expect("it need not send the body first").unwrap();
    assert_eq!(&said, b"HTTP/1.1 100 Continue\r\n\r\n");
    stream.write_all(b"body").await.unwrap();
    let mut rest = String::new();
    timeout(PATIENCE, stream.read_to_string(&mut rest)).await.expect("an answer").unwrap();
    assert!(rest.starts_with("HTTP/1.1 200") && rest.contains("body"), "{rest}");
}

#[tokio::test]
async fn a_client_is_not_read_faster_than_the_actor_reads() {
    let (_server, address) = Server::with_link(
        actor(|call| {
            Box::pin(async move {
                let _unread = call.body;
                std::future::pending::<Reply>().await
            })
        }),
        &[],
    )
    .await;
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000000\r\n\r\n").await.unwrap();
    let chunk = vec![0; 1 << 20];
    let mut sent = 0_usize;
    while let Ok(written) = timeout(Duration::from_millis(500), stream.write(&chunk)).await {
        sent += written.unwrap();
        assert!(sent < 64 << 20, "the server buffers without bound");
    }
}

#[tokio::test]
async fn a_body_over_the_limit_of_its_link_is_413() {
    let echo = actor(|call| {
        Box::pin(async {
            let body = call.body.collect(1 << 30).await?;
            Ok(answer(StatusCode::OK, body.into()))
        })
    });
    let (_server, address) = Server::with_link(echo, &[("body_limit", "1KiB")]).await;
    let post =
        |length: usize| Request::post("/").header(header::HOST, "a").body(Full::from(vec![b'x'; length])).unwrap();
    assert_eq!(send(address, post(1_024)).await.0, StatusCode::OK);
    assert_eq!(send(address, post(1_025)).await.0, StatusCode::PAYLOAD_TOO_LARGE);
    let chunk = "x".repeat(1_025);
    let chunked =
        format!("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n401\r\n{chunk}\r\n0\r\n\r\n");
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(chunked.as_bytes()).await.unwrap();
    let mut start = [0; 12];
    timeout(PATIENCE, stream.read_exact(&mut start)).await.expect("an answer").unwrap();
    assert_eq!(&start, b"HTTP/1.1 413");
}

#[tokio::test]
async fn a_response_body_that_fails_breaks_the_connection_off() {
    let (_server, address) = Server::with_link(
        actor(|_| {
            Box::pin(async {
                let frames = [Ok(Frame::data(Bytes::from_static(b"half"))), Err(CallError::trap("guest trapped"))];
                Ok(answer(StatusCode::OK, Body::stream(StreamBody::new(futures::stream::iter(frames)))))
            })
        }),
        &[],
    )
    .await;
    let mut sender = connect(address).await;
    match timeout(PATIENCE, sender.send_request(request("a", "/"))).await.expect("an end") {
        Ok(response) => assert!(timeout(PATIENCE, response.collect()).await.expect("an end").is_err()),
        Err(error) => assert!(error.is_incomplete_message(), "{error}"),
    }
}

#[tokio::test]
async fn every_failure_has_its_status_and_no_detail() {
    for (kind, status) in [
        (CallErrorKind::NoTarget, 503),
        (CallErrorKind::Overloaded, 503),
        (CallErrorKind::Deadline, 504),
        (CallErrorKind::Denied, 403),
        (CallErrorKind::Trap, 500),
        (CallErrorKind::TooLarge, 413),
        (CallErrorKind::Contract, 502),
        (CallErrorKind::Provider, 502),
        (CallErrorKind::UnknownOutcome, 502),
        (CallErrorKind::Cancelled, 503),
    ] {
        let mut error = CallError::new(kind, "the detail");
        error.retry_after = (kind == CallErrorKind::Overloaded).then_some(Duration::from_millis(2_100));
        let (_server, address) = Server::with_link(failing(error), &[]).await;
        let (got, headers, body) = send(address, request("a", "/")).await;
        assert_eq!(got.as_u16(), status, "{kind:?}");
        assert!(!body.contains("detail") && !body.is_empty(), "{body}");
        let retry = headers.get(header::RETRY_AFTER).map(|value| value.to_str().unwrap());
        let expected = if kind == CallErrorKind::Overloaded { "3" } else { "1" };
        assert_eq!(retry, (status == 503).then_some(expected));
    }
}

#[tokio::test]
async fn no_response_within_the_timeout_is_504() {
    let hung = actor(|_| Box::pin(std::future::pending()));
    let (_server, address) = Server::with_link(hung, &[("timeout", "50ms")]).await;
    assert_eq!(send(address, request("a", "/")).await.0, StatusCode::GATEWAY_TIMEOUT);
}

#[tokio::test]
async fn a_client_that_leaves_cancels_its_call() {
    struct Guard(Arc<Semaphore>);
    impl Drop for Guard {
        fn drop(&mut self) {
            self.0.add_permits(1);
        }
    }
    let (started, left) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
    let seen = (started.clone(), left.clone());
    let hung = actor(move |_| {
        let (started, left) = seen.clone();
        Box::pin(async move {
            let _guard = Guard(left);
            started.add_permits(1);
            std::future::pending().await
        })
    });
    let (_server, address) = Server::with_link(hung, &[]).await;
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    let _ = timeout(PATIENCE, started.acquire()).await.expect("the call starts");
    drop(stream);
    let _ = timeout(PATIENCE, left.acquire()).await.expect("the call is cancelled");
}

#[tokio::test]
async fn draining_finishes_what_is_there_and_takes_nothing_new() {
    let (arrived, gate) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
    let served = Arc::new(AtomicUsize::new(0));
    let seen = (arrived.clone(), gate.clone(), served.clone());
    let waiting = actor(move |_| {
        let (arrived, gate, served) = seen.clone();
        Box::pin(async move {
            arrived.add_permits(1);
            gate.acquire().await.unwrap().forget();
            served.fetch_add(1, Ordering::Relaxed);
            Ok(answer(StatusCode::OK, Body::Empty))
        })
    });
    let (server, address) = Server::with_link(waiting, &[]).await;
    let idle = connect(address).await;
    let in_flight = tokio::spawn(send(address, request("a", "/")));
    let _ = timeout(PATIENCE, arrived.acquire()).await.expect("the request arrives");
    let mut drained: Pin<Box<_>> = Box::pin(server.provider.drain(PATIENCE));
    timeout(PATIENCE, async {
        let refused = async { while TcpStream::connect(address).await.is_ok() {} };
        tokio::select! {
            () = &mut drained => panic!("drained with a request in flight"),
            () = refused => {}
        }
    })
    .await
    .expect("new connections are refused");
    gate.add_permits(1);
    timeout(PATIENCE, drained).await.expect("drained");
    assert_eq!(in_flight.await.unwrap().0, StatusCode::OK);
    assert_eq!(served.load(Ordering::Relaxed), 1);
    drop(idle);
}
