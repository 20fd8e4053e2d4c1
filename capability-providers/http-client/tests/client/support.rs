//! A client with one link, and servers that count their connections.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_util::task::AbortOnDropHandle;
use trellis_interfaces::http::ErrorCode;
use trellis_provider_http_client::{HttpClient, Resolver, system};
use trellis_provider_sdk::testing::{as_target, environment, invocation, link, nobody};
use trellis_provider_sdk::{Answer, Args, Body, CallError, CallErrorKind, Link, LinkError, Provider as _};

/// Far more than anything here takes; only a failure waits for it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

const OUTGOING: &str = "wasi:http/outgoing-handler";

/// A provider with a link.
pub(crate) struct Client {
    pub(crate) provider: HttpClient,
    link: Link,
    _data: tempfile::TempDir,
}

impl Client {
    /// By the system's resolver.
    pub(crate) async fn new(pairs: &[(&str, &str)]) -> Self {
        Self::resolving(system(), pairs).await
    }

    /// One that may ask everybody on this machine.
    pub(crate) async fn on_loopback(further: &[(&str, &str)]) -> Self {
        Self::new(&[&[("allow", "*:*"), ("grant_private", "loopback")], further].concat()).await
    }

    pub(crate) async fn resolving(resolver: Resolver, pairs: &[(&str, &str)]) -> Self {
        let data = tempfile::tempdir().unwrap();
        let provider = HttpClient::start(environment("http-client", data.path(), nobody()), resolver);
        let client = Self { provider, link: link("actor", "http-client", &[OUTGOING]), _data: data };
        client.put("actor", pairs).await.unwrap();
        client
    }

    /// Puts the link of `source`.
    pub(crate) async fn put(&self, source: &str, pairs: &[(&str, &str)]) -> Result<(), LinkError> {
        self.provider.link_up(&as_target(link(source, "http-client", &[OUTGOING]), pairs)).await
    }

    pub(crate) async fn send(&self, request: Request<Body>) -> Result<Response<Body>, CallError> {
        self.send_as(&self.link, request, PATIENCE).await
    }

    pub(crate) async fn send_from(&self, source: &str, request: Request<Body>) -> Result<Response<Body>, CallError> {
        self.send_as(&link(source, "http-client", &[OUTGOING]), request, PATIENCE).await
    }

    /// With so much time until the response begins.
    pub(crate) async fn send_within(
        &self,
        limit: Duration,
        request: Request<Body>,
    ) -> Result<Response<Body>, CallError> {
        self.send_as(&self.link, request, limit).await
    }

    async fn send_as(&self, link: &Link, request: Request<Body>, limit: Duration) -> Result<Response<Body>, CallError> {
        let (parts, body) = request.into_parts();
        let mut invocation = invocation(link, OUTGOING, "handle", &());
        invocation.head.context.deadline = tokio::time::Instant::now() + limit;
        invocation.args = Args::Request(Box::new(parts));
        invocation.body = body;
        let answer = tokio::time::timeout(PATIENCE * 2, self.provider.call(invocation)).await;
        let Answer { value, body } = answer.expect("it answers by the deadline")?;
        match value {
            Args::Response(head) => Ok(Response::from_parts(*head, body)),
            other => panic!("no response: {other:?}"),
        }
    }

    pub(crate) async fn get(&self, uri: &str) -> Result<(u16, String), CallError> {
        read(self.send(get(uri)).await?).await
    }
}

/// Status and body.
pub(crate) async fn read(response: Response<Body>) -> Result<(u16, String), CallError> {
    let (head, body) = response.into_parts();
    let body = tokio::time::timeout(PATIENCE, body.collect(1 << 30)).await.expect("the body ends")?;
    Ok((head.status.as_u16(), String::from_utf8_lossy(&body).into_owned()))
}

pub(crate) fn get(uri: &str) -> Request<Body> {
    Request::get(uri).body(Body::Empty).unwrap()
}

pub(crate) fn post(uri: &str, body: impl Into<Bytes>) -> Request<Body> {
    Request::post(uri).body(body.into().into()).unwrap()
}

/// What an error is, for the host and for the guest.
#[track_caller]
pub(crate) fn expect<T>(result: Result<T, CallError>, kind: CallErrorKind, code: Option<ErrorCode>) {
    let error = result.err().expect("it fails");
    assert_eq!((error.kind, ErrorCode::of(&error.message)), (kind, code), "{error}");
}

/// A resolver that gives these answers in turn, the last one for ever, and counts how often it was asked.
pub(crate) fn answering(answers: &[&[&str]]) -> (Resolver, Arc<AtomicUsize>) {
    let parse = |answer: &&[&str]| answer.iter().map(|address| address.parse().unwrap()).collect();
    let answers: Mutex<VecDeque<Vec<IpAddr>>> = Mutex::new(answers.iter().map(parse).collect());
    let asked = Arc::new(AtomicUsize::new(0));
    let count = asked.clone();
    let resolver: Resolver = Arc::new(move |_| {
        count.fetch_add(1, Ordering::SeqCst);
        let mut answers = answers.lock().unwrap();
        let answer = if answers.len() > 1 { answers.pop_front() } else { answers.front().cloned() };
        Box::pin(async move { Ok(answer.unwrap_or_default()) })
    });
    (resolver, asked)
}

/// A server; dropping it closes its port and its connections.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    /// How many connections it has accepted.
    pub(crate) connections: Arc<AtomicUsize>,
    _task: AbortOnDropHandle<()>,
}

pub(crate) type Reply = Response<Body>;

impl Server {
    /// HTTP/1.1 on `127.0.0.1`.
    pub(crate) async fn http<F>(service: F) -> Self
    where
        F: Fn(Request<Incoming>) -> BoxFuture<'static, Reply> + Clone + Send + Sync + 'static,
    {
        Self::http_at("127.0.0.1:0".parse().unwrap(), service).await
    }

    pub(crate) async fn http_at<F>(address: SocketAddr, service: F) -> Self
    where
        F: Fn(Request<Incoming>) -> BoxFuture<'static, Reply> + Clone + Send + Sync + 'static,
    {
        Self::raw_at(address, move |stream| serve(stream, service.clone())).await
    }

    /// One that does with each connection what it is told.
    pub(crate) async fn raw<F, C>(connection: F) -> Self
    where
        F: Fn(TcpStream) -> C + Send + 'static,
        C: Future<Output = ()> + Send + 'static,
    {
        Self::raw_at("127.0.0.1:0".parse().unwrap(), connection).await
    }

    async fn raw_at<F, C>(address: SocketAddr, connection: F) -> Self
    where
        F: Fn(TcpStream) -> C + Send + 'static,
        C: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let connections = Arc::new(AtomicUsize::new(0));
        let count = connections.clone();
        let task = tokio::spawn(async move {
            let mut running = JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                count.fetch_add(1, Ordering::SeqCst);
                running.spawn(connection(stream));
            }
        });
        Self { address, connections, _task: AbortOnDropHandle::new(task) }
    }

    /// One that answers each request with `text`.
    pub(crate) async fn saying(text: &'static str) -> Self {
        Self::http(move |_| Box::pin(async move { reply(200, text) })).await
    }

    pub(crate) fn uri(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub(crate) fn accepted(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

pub(crate) async fn serve<S, F>(stream: S, service: F)
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
    F: Fn(Request<Incoming>) -> BoxFuture<'static, Reply> + Send + Sync + 'static,
{
    let service = service_fn(move |request| {
        let answer = service(request);
        async move { Ok::<_, Infallible>(answer.await) }
    });
    let _ = auto::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service).await;
}

pub(crate) fn reply(status: u16, text: &'static str) -> Reply {
    Response::builder().status(status).body(Bytes::from_static(text.as_bytes()).into()).unwrap()
}

/// The head of a request as the server saw it, as its answer.
pub(crate) fn described(request: Request<Incoming>) -> BoxFuture<'static, Reply> {
    Box::pin(async move {
        let (parts, body) = request.into_parts();
        let body = body.collect().await.map(|body| body.to_bytes().len());
        let mut text = format!("{} {} {:?}\n", parts.method, parts.uri, body.ok());
        for (name, value) in &parts.headers {
            text += &format!("{name}: {}\n", String::from_utf8_lossy(value.as_bytes()));
        }
        Response::new(Body::from(Bytes::from(text)))
    })
}

/// The body of a request as it comes.
pub(crate) fn echoed(request: Request<Incoming>) -> BoxFuture<'static, Reply> {
    Box::pin(async move {
        let body = request.into_body().map_err(|error| CallError::provider(error.to_string()));
        Response::new(Body::stream(body))
    })
}

/// A body of unknown length.
pub(crate) fn streamed(bytes: &'static [u8]) -> Body {
    let frames = futures::stream::iter([Ok(http_body::Frame::data(Bytes::from_static(bytes)))]);
    Body::stream(http_body_util::StreamBody::new(frames))
}

/// A body whose length is known.
pub(crate) fn full(bytes: Bytes) -> Body {
    Body::stream(Full::new(bytes).map_err(|never| match never {}))
}
