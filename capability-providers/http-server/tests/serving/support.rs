//! A server with links to actors that are closures, and clients that speak either version of HTTP.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use http::{HeaderMap, Request, Response, StatusCode, header};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;
use trellis_provider_http_server::{HttpServer, Listeners};
use trellis_provider_sdk::testing::{as_source, caller, config, environment, link};
use trellis_provider_sdk::{ActiveLink, Answer, Args, Body, Call, CallError, Caller, LinkName, Provider as _};

/// Far more than anything here takes; only a failure waits for it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) type Reply = Result<Answer<Args>, CallError>;

pub(crate) fn actor<F>(behaviour: F) -> Arc<dyn Caller>
where
    F: Fn(Call<Args>) -> BoxFuture<'static, Reply> + Send + Sync + 'static,
{
    caller(behaviour)
}

pub(crate) fn answer(status: StatusCode, body: Body) -> Answer<Args> {
    let (mut parts, ()) = Response::new(()).into_parts();
    parts.status = status;
    Answer { value: Args::Response(Box::new(parts)), body }
}

pub(crate) fn request_of(call: &Call<Args>) -> &http::request::Parts {
    match &call.args {
        Args::Request(parts) => parts,
        other => panic!("no request: {other:?}"),
    }
}

/// Answers with the name of the link, the path and the trace.
pub(crate) fn describing() -> Arc<dyn Caller> {
    actor(|call| {
        let parts = request_of(&call);
        let trace = call.context.trace.as_ref().map(|trace| trace.parent.to_string()).unwrap_or_default();
        let text = format!("{} {} {} {}", call.link, call.interface, parts.uri.path(), trace);
        let hop = parts.headers.contains_key("connection") || parts.headers.contains_key("x-private");
        let status = if hop { StatusCode::IM_A_TEAPOT } else { StatusCode::OK };
        Box::pin(async move { Ok(answer(status, Bytes::from(text.trim_end().to_owned()).into())) })
    })
}

/// Answers with the body that it is sent, while it comes.
pub(crate) fn echo() -> Arc<dyn Caller> {
    actor(|call| Box::pin(async { Ok(answer(StatusCode::OK, call.body)) }))
}

pub(crate) struct Server {
    pub(crate) listeners: Arc<Listeners>,
    pub(crate) provider: HttpServer,
    _data: tempfile::TempDir,
}

impl Server {
    pub(crate) fn new(caller: Arc<dyn Caller>, pairs: &[(&str, &str)]) -> Self {
        Self::sharing(Arc::default(), caller, pairs)
    }

    pub(crate) fn sharing(listeners: Arc<Listeners>, caller: Arc<dyn Caller>, pairs: &[(&str, &str)]) -> Self {
        let data = tempfile::tempdir().unwrap();
        let mut environment = environment("http-server", data.path(), caller);
        environment.config = config(&[("address", "127.0.0.1:0")]);
        environment.config.extend(config(pairs));
        Self { provider: HttpServer::start(environment, listeners.clone()).unwrap(), listeners, _data: data }
    }

    pub(crate) async fn with_link(caller: Arc<dyn Caller>, pairs: &[(&str, &str)]) -> (Self, SocketAddr) {
        let server = Self::new(caller, &[]);
        server.provider.link_up(&named("default", pairs)).await.unwrap();
        let address = server.address();
        (server, address)
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.listeners.local_address(SocketAddr::from(([127, 0, 0, 1], 0))).expect("it listens")
    }
}

pub(crate) fn named(name: &str, pairs: &[(&str, &str)]) -> ActiveLink {
    let mut link = link("http-server", "actor", &["wasi:http/incoming-handler"]);
    link.name = LinkName::parse(name).unwrap();
    as_source(link, pairs)
}

/// What a client speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Version {
    Http1,
    /// By prior knowledge.
    Http2,
}

pub(crate) const VERSIONS: [Version; 2] = [Version::Http1, Version::Http2];

/// One connection.
pub(crate) enum Client {
    Http1(http1::SendRequest<Body>),
    Http2(http2::SendRequest<Body>),
}

impl Client {
    pub(crate) async fn connect(version: Version, address: SocketAddr) -> Self {
        let stream = TokioIo::new(TcpStream::connect(address).await.unwrap());
        match version {
            Version::Http1 => {
                let (sender, connection) = http1::handshake(stream).await.unwrap();
                tokio::spawn(connection);
                Self::Http1(sender)
            }
            Version::Http2 => {
                let (sender, connection) = http2::handshake(TokioExecutor::new(), stream).await.unwrap();
                tokio::spawn(connection);
                Self::Http2(sender)
            }
        }
    }

    /// The response, once it begins. The request is as for HTTP/1.1: with a path, and the host as a header field.
    pub(crate) async fn send(&mut self, request: Request<Body>) -> hyper::Result<Response<Incoming>> {
        let sent = async {
            match self {
                Self::Http1(sender) => {
                    sender.ready().await?;
                    sender.send_request(request).await
                }
                Self::Http2(sender) => {
                    sender.ready().await?;
                    sender.send_request(of_http2(request)).await
                }
            }
        };
        timeout(PATIENCE, sent).await.expect("an answer or an error")
    }
}

fn of_http2(request: Request<Body>) -> Request<Body> {
    let (mut parts, body) = request.into_parts();
    let host = parts.headers.remove(header::HOST).expect("requests of tests have one");
    parts.uri = format!("http://{}{}", host.to_str().unwrap(), parts.uri).parse().unwrap();
    Request::from_parts(parts, body)
}

pub(crate) fn request(host: &str, path: &str) -> Request<Body> {
    Request::get(path).header(header::HOST, host).body(Body::Empty).unwrap()
}

pub(crate) fn post(body: Body) -> Request<Body> {
    Request::post("/").header(header::HOST, "a").body(body).unwrap()
}

/// The answer to a request over a connection of its own.
pub(crate) async fn send(
    version: Version,
    address: SocketAddr,
    request: Request<Body>,
) -> (StatusCode, HeaderMap, String) {
    let (parts, body) = Client::connect(version, address).await.send(request).await.unwrap().into_parts();
    (parts.status, parts.headers, text(body).await)
}

/// All of a body.
pub(crate) async fn text(body: Incoming) -> String {
    let body = timeout(PATIENCE, body.collect()).await.expect("an end").unwrap().to_bytes();
    String::from_utf8(body.to_vec()).unwrap()
}

/// What the server says to these bytes until it closes.
pub(crate) async fn raw(address: SocketAddr, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    let mut said = Vec::new();
    let _ = timeout(PATIENCE, stream.read_to_end(&mut said)).await.expect("the server closes");
    String::from_utf8_lossy(&said).into_owned()
}
