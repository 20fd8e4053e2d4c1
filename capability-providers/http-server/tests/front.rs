//! What links do without their actors: methods, headers, answers, redirects, CORS, rates, the access log, and whether
//! the listener is ready. Real sockets, actors that are closures.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::timeout;
use trellis_provider_http_server::{HttpServer, Listeners};
use trellis_provider_sdk::testing::{as_source, caller, caller_where, config, environment, link};
use trellis_provider_sdk::{ActiveLink, Answer, Args, Caller, LinkName, Provider};

/// Far more than anything here takes; only a failure waits for it.
const PATIENCE: Duration = Duration::from_secs(20);

struct Server {
    listeners: Arc<Listeners>,
    provider: HttpServer,
    _data: tempfile::TempDir,
}

/// Answers with the name of the link, and says of CORS what it should not.
fn naming() -> Arc<dyn Caller> {
    caller(|call| {
        let (mut parts, ()) = Response::new(()).into_parts();
        parts.headers.insert("access-control-allow-origin", "*".parse().unwrap());
        let body = Bytes::from(call.link.to_string()).into();
        Box::pin(async move { Ok(Answer { value: Args::Response(Box::new(parts)), body }) })
    })
}

impl Server {
    fn start(pairs: &[(&str, &str)]) -> Self {
        Self::calling(naming(), pairs)
    }

    fn calling(caller: Arc<dyn Caller>, pairs: &[(&str, &str)]) -> Self {
        let data = tempfile::tempdir().unwrap();
        let mut environment = environment("http-server", data.path(), caller);
        environment.config = config(&[("address", "127.0.0.1:0")]);
        environment.config.extend(config(pairs));
        let listeners: Arc<Listeners> = Arc::default();
        Self { provider: HttpServer::start(environment, listeners.clone()).unwrap(), listeners, _data: data }
    }

    async fn with(pairs: &[(&str, &str)]) -> Self {
        let server = Self::start(&[]);
        server.put("default", pairs).await;
        server
    }

    async fn put(&self, name: &str, pairs: &[(&str, &str)]) {
        self.provider.link_up(&named(name, pairs)).await.unwrap();
    }

    fn address(&self) -> SocketAddr {
        self.listeners.local_address(SocketAddr::from(([127, 0, 0, 1], 0))).expect("it listens")
    }

    async fn ask(&self, method: Method, path: &str, fields: &[(&str, &str)]) -> (StatusCode, HeaderMap, String) {
        let mut request = Request::builder().method(method).uri(path).header("host", "shop.example.com");
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        let stream = TcpStream::connect(self.address()).await.unwrap();
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
        let connection = tokio::spawn(connection);
        let sent = sender.send_request(request.body(Full::<Bytes>::default()).unwrap());
        let (parts, body) = timeout(PATIENCE, sent).await.expect("an answer").unwrap().into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        connection.abort();
        (parts.status, parts.headers, String::from_utf8(body.to_vec()).unwrap())
    }
}

fn named(name: &str, pairs: &[(&str, &str)]) -> ActiveLink {
    let mut link = link("http-server", "actor", &["wasi:http/incoming-handler"]);
    link.name = LinkName::parse(name).unwrap();
    as_source(link, pairs)
}

#[tokio::test]
async fn methods_headers_and_wildcards_choose_the_link() {
    let server = Server::start(&[]);
    server.put("read", &[("path", "/orders"), ("methods", "GET")]).await;
    server.put("write", &[("path", "/orders"), ("methods", "POST, PUT")]).await;
    server.put("beta", &[("path", "/orders"), ("headers", "x-beta=yes")]).await;
    server.put("items", &[("path", "/orders/*/items")]).await;
    let no_fields: &[(&str, &str)] = &[];
    for (method, path, fields, expected) in [
        (Method::GET, "/orders/1", no_fields, "read"),
        (Method::PUT, "/orders", no_fields, "write"),
        (Method::GET, "/orders", &[("x-beta", "yes")], "beta"),
        (Method::DELETE, "/orders/7/items/1", no_fields, "items"),
    ] {
        let (status, _, body) = server.ask(method.clone(), path, fields).await;
        assert_eq!((status, body.as_str()), (StatusCode::OK, expected), "{method} {path}");
    }
    let (status, headers, _) = server.ask(Method::DELETE, "/orders/7", no_fields).await;
    assert_eq!((status, headers["allow"].to_str().unwrap()), (StatusCode::METHOD_NOT_ALLOWED, "GET, POST, PUT"));
    let error = server.provider.link_up(&named("again", &[("path", "/orders"), ("methods", "get")])).await;
    let error = error.expect_err("the same requests").to_string();
    assert!(error.contains("/orders GET") && error.contains("read"), "{error}");
}

#[tokio::test]
async fn answers_and_redirects_need_no_actor() {
    let server = Server::start(&[]);
    server.put("closed", &[("path", "/closed"), ("answer_status", "503"), ("answer_body", "closed")]).await;
    let robots = [("path", "/app.json"), ("answer_body", "{}"), ("answer_type", "application/json")];
    server.put("json", &robots).await;
    server.put("moved", &[("redirect", "https://{host}{path}"), ("redirect_status", "301")]).await;
    let (status, _, body) = server.ask(Method::GET, "/closed/x", &[]).await;
    assert_eq!((status, body.as_str()), (StatusCode::SERVICE_UNAVAILABLE, "closed"));
    let (status, headers, body) = server.ask(Method::GET, "/app.json", &[]).await;
    assert_eq!(
        (status, headers["content-type"].to_str().unwrap(), body.as_str()),
        (StatusCode::OK, "application/json", "{}")
    );
    let (status, headers, _) = server.ask(Method::GET, "/a/b?c=d", &[]).await;
    assert_eq!(status, StatusCode::MOVED_PERMANENTLY);
    assert_eq!(headers["location"], "https://shop.example.com/a/b?c=d");
}

#[tokio::test]
async fn browsers_are_told_which_origins_may_call() {
    let page = "https://page.example.com";
    let server = Server::with(&[
        ("methods", "PUT"),
        ("cors_origins", page),
        ("cors_methods", "PUT"),
        ("cors_headers", "authorization"),
        ("cors_credentials", "true"),
        ("cors_max_age", "10m"),
        ("cors_expose", "etag"),
    ])
    .await;
    let asks = [("origin", page), ("access-control-request-method", "PUT")];
    let (status, headers, body) = server.ask(Method::OPTIONS, "/", &asks).await;
    assert_eq!((status, body.as_str()), (StatusCode::NO_CONTENT, ""), "the actor is not asked");
    for (name, expected) in [
        ("access-control-allow-origin", page),
        ("access-control-allow-methods", "PUT"),
        ("access-control-allow-headers", "authorization"),
        ("access-control-allow-credentials", "true"),
        ("access-control-max-age", "600"),
        ("vary", "origin"),
    ] {
        assert_eq!(headers[name], expected, "{name}");
    }
    let evil = [("origin", "https://evil.example"), ("access-control-request-method", "PUT")];
    assert_eq!(server.ask(Method::OPTIONS, "/", &evil).await.0, StatusCode::FORBIDDEN);
    let (status, headers, body) = server.ask(Method::PUT, "/", &asks[..1]).await;
    assert_eq!((status, body.as_str()), (StatusCode::OK, "default"));
    assert_eq!(headers["access-control-allow-origin"], page);
    assert_eq!(headers["access-control-expose-headers"], "etag");
    let (status, headers, _) = server.ask(Method::PUT, "/", &evil[..1]).await;
    assert_eq!((status, headers.get("access-control-allow-origin")), (StatusCode::OK, None));
    let (status, headers, _) = server.ask(Method::GET, "/", &[]).await;
    assert_eq!((status, &headers["allow"]), (StatusCode::METHOD_NOT_ALLOWED, &http::HeaderValue::from_static("PUT")));
}

#[tokio::test]
async fn who_is_over_the_rate_is_told_when_to_come_again() {
    let server = Server::start(&[]);
    server.put("limited", &[("path", "/limited"), ("rate_limit", "1/h"), ("rate_burst", "3")]).await;
    server.put("free", &[]).await;
    for _ in 0..3 {
        assert_eq!(server.ask(Method::GET, "/limited", &[]).await.0, StatusCode::OK);
    }
    let (status, headers, _) = server.ask(Method::GET, "/limited", &[]).await;
    assert_eq!(status, StatusCode::TOO_MANY_REQUESTS);
    let seconds: u32 = headers["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((3_000..=3_600).contains(&seconds), "{seconds}");
    assert_eq!(server.ask(Method::GET, "/other", &[]).await.0, StatusCode::OK, "other links are not limited");
}

#[tokio::test]
async fn health_is_answered_only_where_it_is_on() {
    let silent = Server::with(&[]).await;
    assert_eq!(silent.ask(Method::GET, "/livez", &[]).await.2, "default", "it is the actor's path");
    let server = Server::start(&[("health", "on")]);
    server.put("default", &[]).await;
    for path in ["/livez", "/readyz"] {
        let (status, _, body) = server.ask(Method::GET, path, &[]).await;
        assert_eq!((status, body.as_str()), (StatusCode::OK, "ok\n"), "{path}");
    }
    assert_eq!(server.ask(Method::POST, "/livez", &[]).await.2, "default");
    assert!(HttpServer::start(environment("h", std::path::Path::new("/"), naming()), Arc::default()).is_ok());
    let mut wrong = environment("h", std::path::Path::new("/"), naming());
    wrong.config = config(&[("health", "yes")]);
    let error = HttpServer::start(wrong, Arc::default()).err().expect("neither on nor off").to_string();
    assert!(error.contains("health") && error.contains("on"), "{error}");
}

#[tokio::test]
async fn it_is_ready_while_somebody_answers_the_requests_of_a_link() {
    let runs = Arc::new(AtomicBool::new(false));
    let is_running = runs.clone();
    let calls = caller_where(naming(), move |link| link.as_str() == "second" && is_running.load(Ordering::SeqCst));
    let server = Server::calling(calls, &[("health", "on")]);
    server.put("first", &[("path", "/first"), ("weight", "0")]).await;
    let check = async |expected: StatusCode, reason: &str| {
        let (status, _, body) = server.ask(Method::GET, "/readyz", &[]).await;
        assert!(status == expected && body.contains(reason), "{status}: {body}");
        let (status, _, _) = server.ask(Method::GET, "/livez", &[]).await;
        assert_eq!(status, StatusCode::OK, "it is alive in any case");
    };
    check(StatusCode::SERVICE_UNAVAILABLE, "no actor is linked").await;
    server.put("second", &[("path", "/second"), ("host", "shop.example.com")]).await;
    check(StatusCode::SERVICE_UNAVAILABLE, "no host runs").await;
    runs.store(true, Ordering::SeqCst);
    check(StatusCode::OK, "ok").await;
    runs.store(false, Ordering::SeqCst);
    check(StatusCode::SERVICE_UNAVAILABLE, "no host runs").await;
    server.put("third", &[("path", "/gone"), ("answer_status", "410")]).await;
    check(StatusCode::OK, "ok").await;
}

#[tokio::test]
async fn with_all_it_is_ready_when_every_link_is_established_and_answered() {
    let runs = Arc::new(AtomicBool::new(false));
    let is_running = runs.clone();
    let calls = caller_where(naming(), move |link| link.as_str() != "late" || is_running.load(Ordering::SeqCst));
    let server = Server::calling(calls, &[("health", "on"), ("ready", "all")]);
    let check = async |expected: StatusCode, reason: &str| {
        let (status, _, body) = server.ask(Method::GET, "/readyz", &[]).await;
        assert!(status == expected && body.contains(reason), "{status}: {body}");
    };
    server.put("default", &[]).await;
    check(StatusCode::OK, "ok").await;
    server.put("idle", &[("path", "/idle"), ("weight", "0")]).await;
    server.put("late", &[("path", "/late")]).await;
    check(StatusCode::SERVICE_UNAVAILABLE, "no host runs one of").await;
    runs.store(true, Ordering::SeqCst);
    check(StatusCode::OK, "ok").await;
    for refused in [&[("path", "/late")][..], &[("path", "/new"), ("tls_cert", "/no.pem"), ("tls_key", "/no.pem")]] {
        server.provider.link_up(&named("new", refused)).await.expect_err("it cannot be");
        check(StatusCode::SERVICE_UNAVAILABLE, "a link is not established").await;
        server.put("new", &[("path", "/new")]).await;
        check(StatusCode::OK, "ok").await;
    }
    server.provider.link_up(&named("new", &[("path", "/late")])).await.expect_err("another link has these requests");
    server.provider.link_down(&named("new", &[])).await;
    check(StatusCode::OK, "ok").await;
}

/// What was logged in this thread.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn each_request_has_one_line_in_the_access_log_without_what_is_private() {
    let log = Log::default();
    let lines = log.clone();
    let subscriber = tracing_subscriber::fmt().with_writer(move || lines.clone()).with_ansi(false).finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    let server = Server::start(&[]);
    server.put("logged", &[("access_log", "on")]).await;
    server.put("silent", &[("path", "/silent")]).await;
    server.ask(Method::GET, "/a?token=hunter2", &[("authorization", "hunter2")]).await;
    server.ask(Method::GET, "/silent", &[]).await;
    let text = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    let lines: Vec<&str> = text.lines().filter(|line| line.contains("request answered")).collect();
    let [line] = lines.as_slice() else { panic!("{text}") };
    for part in ["link_name=logged", "actor_id=actor", "method=GET", "path=\"/a\"", "status=200", "duration_ms="] {
        assert!(line.contains(part), "{line}");
    }
    assert!(!text.contains("hunter2"), "{text}");
}
