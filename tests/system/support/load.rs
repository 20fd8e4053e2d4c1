//! Requests without a pause while something else happens, and what became of each.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt as _, Empty};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;

use super::wait;

/// How a client uses its connections.
#[derive(Clone, Copy)]
enum Connections {
    /// A new one for each request.
    Fresh,
    /// One for as long as the server keeps it. A request over one that was used before and is closed meanwhile is sent
    /// again over a new one (RFC 9112, 9.3.1); over a new one never.
    Kept,
}

/// Clients that ask for one path until they are told to stop.
pub(crate) struct Load {
    is_over: Arc<AtomicBool>,
    answered: Arc<AtomicUsize>,
    clients: Vec<JoinHandle<Vec<Result<String, String>>>>,
}

impl Load {
    /// Clients of both kinds.
    pub(crate) fn start(runtime: &Runtime, address: SocketAddr, path: &'static str) -> Self {
        Self::of(
            runtime,
            (address, path),
            &[Connections::Fresh, Connections::Kept, Connections::Fresh, Connections::Kept],
        )
    }

    /// Clients that send nothing twice, so that what they are answered can be counted.
    pub(crate) fn once(runtime: &Runtime, address: SocketAddr, path: &'static str) -> Self {
        Self::of(runtime, (address, path), &[Connections::Fresh; 4])
    }

    fn of(runtime: &Runtime, (address, path): (SocketAddr, &'static str), kinds: &[Connections]) -> Self {
        let (is_over, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let client = |kind: &Connections| {
            let (kind, is_over, answered) = (*kind, Arc::clone(&is_over), Arc::clone(&answered));
            runtime.spawn(async move {
                let mut client = Client { address, path, kept: None };
                let mut outcomes = Vec::new();
                while !is_over.load(Ordering::Relaxed) {
                    outcomes.push(client.ask(kind).await);
                    answered.fetch_add(1, Ordering::Relaxed);
                }
                outcomes
            })
        };
        let clients = kinds.iter().map(client).collect();
        Self { is_over, answered, clients }
    }

    /// Waits until so many more requests were answered.
    pub(crate) fn until_more(&self, count: usize) {
        let before = self.answered.load(Ordering::Relaxed);
        wait::until("more answers", || {
            let now = self.answered.load(Ordering::Relaxed);
            if now >= before + count { Ok(()) } else { Err(format!("{} of {count}", now - before)) }
        });
    }

    /// Stops the clients; the bodies of all answers, none of which was a failure.
    pub(crate) fn end(self, runtime: &Runtime) -> Vec<String> {
        self.is_over.store(true, Ordering::Relaxed);
        let outcomes = self.clients.into_iter().flat_map(|client| runtime.block_on(client).expect("no panic"));
        let (answers, failures): (Vec<_>, Vec<_>) = outcomes.partition(Result::is_ok);
        let failures: Vec<_> = failures.into_iter().filter_map(Result::err).collect();
        assert!(
            failures.is_empty(),
            "{} of {} requests failed: {:?}",
            failures.len(),
            answers.len(),
            &failures[..failures.len().min(5)]
        );
        answers.into_iter().filter_map(Result::ok).collect()
    }
}

struct Client {
    address: SocketAddr,
    path: &'static str,
    /// A connection that was used before.
    kept: Option<SendRequest<Empty<Bytes>>>,
}

impl Client {
    async fn ask(&mut self, kind: Connections) -> Result<String, String> {
        if let Some(mut kept) = self.kept.take()
            && kept.ready().await.is_ok()
            && let Ok(answer) = self.over(&mut kept).await
        {
            self.kept = Some(kept);
            return answer;
        }
        let stream = TcpStream::connect(self.address).await.map_err(|error| format!("connect: {error}"))?;
        let (mut sender, connection) = handshake(TokioIo::new(stream)).await.map_err(|error| error.to_string())?;
        tokio::spawn(connection);
        let answer = self.over(&mut sender).await.map_err(|error| format!("over a new connection: {error:?}"))?;
        if let Connections::Kept = kind {
            self.kept = Some(sender);
        }
        answer
    }

    /// An error means that there is no answer.
    async fn over(&self, sender: &mut SendRequest<Empty<Bytes>>) -> Result<Result<String, String>, hyper::Error> {
        let request = Request::get(self.path).header(http::header::HOST, self.address.to_string());
        let response = sender.send_request(request.body(Empty::new()).expect("the parts are valid")).await?;
        let status = response.status();
        let body = response.into_body().collect().await?.to_bytes();
        let body = String::from_utf8_lossy(&body).into_owned();
        Ok(if status == http::StatusCode::OK { Ok(body) } else { Err(format!("{status}: {body}")) })
    }
}
