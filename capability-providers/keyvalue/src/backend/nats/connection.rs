//! One connection to a server, for all links that have the same: it comes back by itself.

use std::time::Duration;

use async_nats::connection::State;
use async_nats::jetstream::{self, Context};
use async_nats::{Client, ConnectErrorKind, ConnectOptions, Event, ServerAddr};
use tokio::sync::watch;
use tokio::time::timeout;
use tracing::{info, warn};
use trellis_provider_sdk::{CallError, CallErrorKind, LinkError};

use crate::backend::Failure;
use crate::config::{Server, wrong};

/// How long connecting may take, and the longest pause between two attempts.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
const MAX_PAUSE: Duration = Duration::from_secs(1);

/// How often the server is asked whether it still answers; two silences and it is left.
const PING_EVERY: Duration = Duration::from_secs(2);

/// The longest wait of the client for one answer. Calls have shorter deadlines of their own.
const PATIENCE: Duration = Duration::from_secs(30);

/// Writes that may wait for their answers at once; more wait to be sent.
const IN_FLIGHT: usize = 4_096;

/// Whether a request changes something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Effect {
    /// It does not.
    Read,
    /// It does.
    Write,
}

/// A connection. Closes when it is dropped.
pub(crate) struct Connection {
    context: Context,
    /// How often the connection was lost.
    losses: watch::Receiver<u64>,
    /// `host:port` of the servers, for messages.
    servers: String,
}

impl Connection {
    /// Connects.
    ///
    /// # Errors
    /// `Config` for a URL that is none; `Unavailable` when no server is there, or refuses us.
    pub(crate) async fn open(server: &Server) -> Result<Self, LinkError> {
        let addresses = addresses(server)?;
        let servers: Vec<_> =
            addresses.iter().map(|address| format!("{}:{}", address.host(), address.port())).collect();
        let servers = servers.join(", ");
        let (lost, losses) = watch::channel(0);
        let connecting = options(server, lost, servers.clone()).connect(addresses);
        let client = match timeout(CONNECT_TIMEOUT * 2, connecting).await {
            Ok(Ok(client)) => client,
            Ok(Err(error)) => return Err(unavailable(&servers, error.kind())),
            Err(_elapsed) => return Err(unavailable(&servers, ConnectErrorKind::TimedOut)),
        };
        let builder = jetstream::ContextBuilder::new().timeout(PATIENCE).max_ack_inflight(IN_FLIGHT);
        let context = builder.backpressure_on_inflight(true).build(client);
        Ok(Self { context, losses, servers })
    }

    /// JetStream on this connection.
    pub(super) fn context(&self) -> &Context {
        &self.context
    }

    /// The connection itself.
    pub(super) fn client(&self) -> Client {
        self.context.client()
    }

    /// `host:port` of the servers, for messages.
    pub(super) fn servers(&self) -> &str {
        &self.servers
    }

    /// Awaits what a server answers; not on a connection that is not there, and not longer than it is.
    pub(super) async fn on_line<T>(&self, effect: Effect, request: impl Future<Output = T>) -> Result<T, Failure> {
        let mut losses = self.losses.clone();
        losses.mark_unchanged();
        if self.client().connection_state() != State::Connected {
            return Err(CallError::no_target(format!("nats-server at {} cannot be reached", self.servers)).into());
        }
        tokio::select! {
            biased;
            answer = request => Ok(answer),
            _ = losses.changed() => {
                let message = format!("the connection to nats-server at {} was lost", self.servers);
                Err(Failure::Call(match effect {
                    Effect::Read => CallError::provider(message),
                    Effect::Write => CallError::new(CallErrorKind::UnknownOutcome, message),
                }))
            }
        }
    }
}

fn addresses(server: &Server) -> Result<Vec<ServerAddr>, LinkError> {
    let parse = |text: &str| text.trim().parse::<ServerAddr>();
    let addresses: Result<Vec<_>, _> = server.url.reveal().split(',').map(parse).collect();
    addresses.map_err(|_| {
        let expected = "`nats://` or `tls://`, host and port; several with commas between";
        wrong("url", "is not a URL of NATS", expected, "nats://127.0.0.1:4222")
    })
}

fn options(server: &Server, lost: watch::Sender<u64>, servers: String) -> ConnectOptions {
    let mut options = ConnectOptions::new()
        .name("trellis keyvalue")
        .connection_timeout(CONNECT_TIMEOUT)
        .ping_interval(PING_EVERY)
        .request_timeout(Some(PATIENCE))
        .reconnect_delay_callback(|attempts| {
            let pause = Duration::from_millis(50) * u32::try_from(attempts.min(20)).unwrap_or(20);
            pause.min(MAX_PAUSE)
        })
        .event_callback(move |event| {
            match event {
                Event::Disconnected => {
                    warn!(servers, "connection to nats-server was lost");
                    lost.send_modify(|losses| *losses += 1);
                }
                Event::Connected => info!(servers, "connection to nats-server is there"),
                _ => {}
            }
            async {}
        });
    if let (Some(username), Some(password)) = (&server.username, &server.password) {
        options = options.user_and_password(username.clone(), password.reveal().to_owned());
    }
    if let Some(token) = &server.token {
        options = options.token(token.reveal().to_owned());
    }
    options
}

fn unavailable(servers: &str, kind: ConnectErrorKind) -> LinkError {
    LinkError::Unavailable(match kind {
        ConnectErrorKind::AuthorizationViolation | ConnectErrorKind::Authentication => {
            format!("nats-server at {servers} refuses the user, password or token of the link")
        }
        kind => format!("nats-server at {servers} cannot be reached: {kind}"),
    })
}
