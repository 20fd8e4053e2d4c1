//! A server with links to actors that are closures, and the least that speaks to it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
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

/// Answers `hello`.
pub(crate) fn hello() -> Arc<dyn Caller> {
    actor(|_| Box::pin(async { Ok(answer(StatusCode::OK, Bytes::from_static(b"hello").into())) }))
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
    /// One with this config and no link.
    pub(crate) fn unlinked(caller: Arc<dyn Caller>, pairs: &[(&str, &str)]) -> Self {
        Self::sharing(Arc::default(), caller, pairs)
    }

    pub(crate) fn sharing(listeners: Arc<Listeners>, caller: Arc<dyn Caller>, pairs: &[(&str, &str)]) -> Self {
        let data = tempfile::tempdir().unwrap();
        let mut environment = environment("http-server", data.path(), caller);
        environment.config = config(&[("address", "127.0.0.1:0")]);
        environment.config.extend(config(pairs));
        Self { provider: HttpServer::start(environment, listeners.clone()).unwrap(), listeners, _data: data }
    }

    /// One with this config and a link for all requests.
    pub(crate) async fn linked(caller: Arc<dyn Caller>, pairs: &[(&str, &str)]) -> Self {
        let server = Self::unlinked(caller, pairs);
        server.provider.link_up(&named("default", &[])).await.unwrap();
        server
    }

    /// One with a link that has this config, and its address.
    pub(crate) async fn with_link(caller: Arc<dyn Caller>, pairs: &[(&str, &str)]) -> (Self, SocketAddr) {
        let server = Self::unlinked(caller, &[]);
        server.provider.link_up(&named("default", pairs)).await.unwrap();
        let address = server.address();
        (server, address)
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.listeners.local_address(SocketAddr::from(([127, 0, 0, 1], 0))).expect("it listens")
    }

    pub(crate) async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address()).await.unwrap()
    }

    /// The status of a request over a connection of its own.
    pub(crate) async fn status(&self, path: &str) -> u16 {
        let mut sender = speak(self.connect().await).await;
        timeout(PATIENCE, sender.send_request(get(path))).await.expect("an answer").unwrap().status().as_u16()
    }

    /// What it says to these bytes until it closes.
    pub(crate) async fn says_to(&self, bytes: &[u8]) -> String {
        let mut stream = self.connect().await;
        // It may close before it has read all.
        let _ = stream.write_all(bytes).await;
        until_closed(&mut stream).await
    }
}

pub(crate) fn named(name: &str, pairs: &[(&str, &str)]) -> ActiveLink {
    let mut link = link("http-server", "actor", &["wasi:http/incoming-handler"]);
    link.name = LinkName::parse(name).unwrap();
    as_source(link, pairs)
}

pub(crate) fn get(path: &str) -> Request<Full<Bytes>> {
    Request::get(path).header("host", "localhost").body(Full::default()).unwrap()
}

/// HTTP/1.1 over a connection.
pub(crate) async fn speak<S>(stream: S) -> http1::SendRequest<Full<Bytes>>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    sender
}

/// All that comes until the other side closes, however it does.
pub(crate) async fn until_closed<S: AsyncRead + Unpin>(stream: &mut S) -> String {
    let mut said = Vec::new();
    let _ = timeout(PATIENCE, stream.read_to_end(&mut said)).await.expect("the server closes");
    String::from_utf8_lossy(&said).into_owned()
}
