//! Serves the NATS client protocol from the bus of this process, on loopback: the command line, provider processes and
//! any ordinary NATS client join an embedded lattice through it.
//!
//! It is no nats-server: no JetStream, no accounts, no clusters. Hosts join a lattice over a real one.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use tracing::{info, warn};

use crate::error::{Error, ErrorKind, Result};
use crate::secret::Secret;
use crate::transport::memory::MemoryBus;

mod connection;
mod handshake;
mod headers;
mod jetstream;
mod outbound;
mod parser;
mod subscriptions;

/// At most so many clients at a time; more are told so and cut.
const MAX_CONNECTIONS: usize = 256;
/// How long clients have to take what is buffered for them when the gateway closes.
const CLOSE_PATIENCE: Duration = Duration::from_secs(2);
/// How long to wait when the system has no more sockets.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A listener and its clients. Dropping it cuts them; [`Gateway::close`] lets them take what is theirs.
#[derive(Debug)]
pub struct Gateway {
    addr: SocketAddr,
    closing: CancellationToken,
    accepting: AbortOnDropHandle<()>,
}

/// What all connections share.
struct Shared {
    bus: MemoryBus,
    addr: SocketAddr,
    token: Secret,
    closing: CancellationToken,
}

impl Gateway {
    /// Listens on `addr`, which is on loopback (port 0 for any), for clients that show `token`.
    ///
    /// # Errors
    /// `Malformed` when `addr` is not on loopback, `Io` when it cannot be listened on (it is in use).
    pub async fn bind(bus: MemoryBus, addr: SocketAddr, token: Secret) -> Result<Self> {
        if !addr.ip().is_loopback() {
            let text = format!("the gateway serves loopback only, not {addr}; use 127.0.0.1, or a nats-server");
            return Err(Error::new(ErrorKind::Malformed, text));
        }
        let bound = TcpListener::bind(addr).await.and_then(|listener| Ok((listener.local_addr()?, listener)));
        let (addr, listener) = bound.map_err(|error| {
            let text = format!("cannot listen for NATS clients on {addr}: {error}; choose another port");
            Error::new(ErrorKind::Io, text).with_source(error)
        })?;
        let closing = CancellationToken::new();
        let shared = Arc::new(Shared { bus, addr, token, closing: closing.clone() });
        let accepting = AbortOnDropHandle::new(tokio::spawn(accept(listener, shared)));
        info!(%addr, "gateway started");
        Ok(Self { addr, closing, accepting })
    }

    /// Where it listens.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Stops listening, lets clients take what is buffered for them (at most 2 s) and closes their connections.
    pub async fn close(self) {
        self.closing.cancel();
        // What is left after that is cut when `self` is dropped.
        let _ = timeout(CLOSE_PATIENCE, self.accepting).await;
    }
}

/// Owns the tasks of the connections: when this ends, they end.
async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    let mut last_id = 0_u64;
    loop {
        tokio::select! {
            () = shared.closing.cancelled() => break,
            Some(ended) = connections.join_next() => report(ended),
            accepted = listener.accept() => match accepted {
                Ok((socket, _)) if connections.len() >= MAX_CONNECTIONS => refuse(&socket),
                Ok((socket, _)) => {
                    last_id += 1;
                    connections.spawn(connection::serve(socket, shared.clone(), last_id));
                }
                Err(error) => {
                    warn!(%error, "gateway could not accept a client");
                    sleep(ACCEPT_PAUSE).await;
                }
            },
        }
    }
    drop(listener);
    while let Some(ended) = connections.join_next().await {
        report(ended);
    }
}

fn report(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended {
        warn!(%error, "connection of the gateway ended badly");
    }
}

fn refuse(socket: &TcpStream) {
    // A fresh socket takes one line at once; if not, the client sees it closed.
    let _ = socket.try_write(b"-ERR 'maximum connections exceeded'\r\n");
}
