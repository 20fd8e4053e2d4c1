//! A process without free file descriptors. A program of its own: other tests would lack them as well.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::net::TcpStream;
use tokio::time::timeout;
use trellis_provider_http_server::{HttpServer, Listeners};
use trellis_provider_sdk::testing::{as_source, caller, config, environment, link};
use trellis_provider_sdk::{Answer, Args, Body, Provider};

/// Far more than anything here takes; only a failure waits for it.
const PATIENCE: Duration = Duration::from_secs(20);
/// Descriptors that are free when the server listens.
const FREE: u64 = 40;

async fn speak(stream: TcpStream) -> SendRequest<Full<Bytes>> {
    let (sender, connection) = handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    sender
}

async fn is_answered(sender: &mut SendRequest<Full<Bytes>>) -> bool {
    let request = Request::get("/").header("host", "a").body(Full::default()).unwrap();
    timeout(PATIENCE, sender.send_request(request)).await.is_ok_and(|response| response.is_ok())
}

#[tokio::test]
async fn without_descriptors_those_that_are_there_are_served_and_others_wait() {
    let data = tempfile::tempdir().unwrap();
    let actor = caller(|_| {
        let (parts, ()) = Response::new(()).into_parts();
        Box::pin(async { Ok(Answer { value: Args::Response(Box::new(parts)), body: Body::Empty }) })
    });
    let mut environment = environment("http-server", data.path(), actor);
    environment.config = config(&[("address", "127.0.0.1:0")]);
    let listeners: Arc<Listeners> = Arc::default();
    let server = HttpServer::start(environment, listeners.clone()).unwrap();
    server.link_up(&as_source(link("http-server", "actor", &["wasi:http/incoming-handler"]), &[])).await.unwrap();
    let address = listeners.local_address(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
    let mut first = speak(TcpStream::connect(address).await.unwrap()).await;
    assert!(is_answered(&mut first).await);

    let taken = std::fs::read_dir("/proc/self/fd").unwrap().count() as u64;
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: Some(taken + FREE), maximum }).unwrap();
    let mut others = Vec::new();
    // The server takes one for each of them as long as there are any.
    while let Ok(stream) = TcpStream::connect(address).await {
        others.push(stream);
    }
    assert!(others.len() as u64 > FREE / 3, "{}", others.len());
    for _ in 0..20 {
        assert!(is_answered(&mut first).await, "it has its connection");
    }
    others.truncate(1);
    let mut waiting = speak(others.remove(0)).await;
    assert!(is_answered(&mut waiting).await, "its turn came");
    let mut last = speak(TcpStream::connect(address).await.unwrap()).await;
    assert!(is_answered(&mut last).await, "as if nothing had been");
}
