//! The lattice over a nats-server: [`NatsTransport`], connected by [`NatsOptions`].
//!
//! The connection is kept up: it comes back by itself, with its subscriptions, and a server that accepts bytes but
//! answers nothing is left within six seconds.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_nats::client::traits::Publisher;
use async_nats::client::{PublishErrorKind, RequestErrorKind};
use async_nats::connection::State;
use async_nats::{Client, ConnectOptions, Event, ServerAddr};
use async_trait::async_trait;
use bytes::Bytes;
use futures::{StreamExt, future};
use tokio::time::{sleep, timeout};
use tokio_util::task::AbortOnDropHandle;
use tracing::{info, warn};

mod failure;
mod message;

use self::failure::{connect_error, no_server, too_large};
use self::message::{inbound, outbound};
pub use super::options::{Credentials, NatsOptions};
use super::pings::Pings;
use super::{Message, Subscription, Transport};
use crate::damper::Damper;
use crate::error::{Error, ErrorKind, Result};
use crate::secret::Secret;
use crate::subject::{QueueGroup, Subject};

/// How long a connection, a publish on a full connection, or a new subscription may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// How often the server is asked whether it still answers, and how long it has for it.
const PING_EVERY: Duration = Duration::from_millis(1500);
/// So many pings without an answer mean that the server hangs.
const MISSED_PINGS: u32 = 2;
/// The longest pause between two attempts to connect again.
const MAX_RECONNECT_DELAY: Duration = Duration::from_secs(1);

/// A connection to a nats-server. Cheap to clone; all clones are one connection, which closes with the last.
#[derive(Clone)]
pub struct NatsTransport {
    line: Arc<Line>,
    shared: Arc<Shared>,
}

struct Shared {
    servers: String,
    _tasks: [AbortOnDropHandle<()>; 2],
}

/// What connecting waits for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Wait {
    ForServer,
    ForNothing,
}

impl fmt::Debug for NatsTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("NatsTransport").field(&self.shared.servers).finish()
    }
}

impl NatsTransport {
    /// Connects, within [`PATIENCE`].
    ///
    /// # Errors
    /// `Disconnected` when no server answers, `Unauthorized` when it refuses the credentials, `Malformed` for a URL
    /// or seed that is none, `Io` for a file that cannot be read.
    pub async fn connect(options: NatsOptions) -> Result<Self> {
        Self::begin(options, Wait::ForServer).await
    }

    /// As [`NatsTransport::connect`]; where no server is there yet, it is connected to as soon as it is. Until then
    /// subscriptions are made and wait, and what is sent fails with `Disconnected`.
    ///
    /// # Errors
    /// As [`NatsTransport::connect`], but for `Disconnected`.
    pub async fn connect_sooner_or_later(options: NatsOptions) -> Result<Self> {
        match Self::begin(options.clone(), Wait::ForServer).await {
            Err(error) if error.kind() == ErrorKind::Disconnected => Self::begin(options, Wait::ForNothing).await,
            result => result,
        }
    }

    async fn begin(mut options: NatsOptions, wait: Wait) -> Result<Self> {
        let addresses = parse_servers(&options.servers)?;
        if let Credentials::None = options.credentials {
            options.credentials = credentials_in(&addresses);
        }
        let servers = shown(&addresses);
        let mut settings = settings(options).await?;
        if wait == Wait::ForNothing {
            settings = settings.retry_on_initial_connect();
        }
        let connecting = timeout(PATIENCE, settings.connect(addresses)).await;
        let client = match connecting {
            Ok(Ok(client)) => client,
            Ok(Err(error)) => return Err(connect_error(&servers, error)),
            Err(_elapsed) => return Err(no_server(&servers)),
        };
        let inbox = async_nats::Subject::from(client.new_inbox());
        let arriving = client.subscribe(inbox.clone()).await.map_err(|error| no_server(&servers).with_source(error))?;
        let line = Arc::new(Line { client, inbox, pings: Pings::default(), is_hung: AtomicBool::new(false) });
        let reader = AbortOnDropHandle::new(tokio::spawn(read_pings(line.clone(), arriving)));
        if wait == Wait::ForServer && !line.answers(PATIENCE).await {
            let text = format!(
                "nats-server at {servers} lets us in but tells us nothing; may this user publish and subscribe to `_INBOX.>`?"
            );
            return Err(Error::new(ErrorKind::Unauthorized, text));
        }
        let pinger = AbortOnDropHandle::new(tokio::spawn(keep_pinging(line.clone())));
        Ok(Self { line, shared: Arc::new(Shared { servers, _tasks: [reader, pinger] }) })
    }

    /// `host:port` of the servers, for messages to people.
    #[must_use]
    pub fn servers(&self) -> &str {
        &self.shared.servers
    }

    /// Sends what is buffered, ends the subscriptions and closes. All clones are closed.
    pub async fn close(&self) {
        // Neither can fail in a way that matters to one who leaves.
        let _ = timeout(PATIENCE, self.line.client.flush()).await;
        let _ = timeout(PATIENCE, self.line.client.drain()).await;
    }

    /// The connection, for the store on JetStream.
    pub(crate) fn client(&self) -> &Client {
        &self.line.client
    }

    fn closed(&self) -> Error {
        Error::new(ErrorKind::Disconnected, format!("the connection to nats-server at {} is closed", self.servers()))
    }

    fn stuck(&self, what: &str) -> Error {
        let text = format!("nats-server at {} has not taken {what} for {PATIENCE:?}", self.servers());
        Error::new(ErrorKind::Disconnected, text)
    }
}

#[async_trait]
impl Transport for NatsTransport {
    async fn publish(&self, message: Message) -> Result<()> {
        super::check_literal(&message.subject)?;
        if self.line.is_new() {
            return Err(no_server(self.servers()));
        }
        let size = message.payload.len();
        let outbound = outbound(message)?;
        // Waits only when the connection's queue is full: at once otherwise, and nothing is flushed here.
        match timeout(PATIENCE, self.line.client.publish_message(outbound)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(match error.kind() {
                PublishErrorKind::MaxPayloadExceeded => too_large(size, self.max_payload_bytes()),
                PublishErrorKind::InvalidSubject => Error::new(ErrorKind::Malformed, "a subject is not valid"),
                PublishErrorKind::Send => self.closed(),
            }),
            Err(_elapsed) => Err(self.stuck("a message")),
        }
    }

    async fn subscribe(&self, subject: Subject, group: Option<QueueGroup>) -> Result<Subscription> {
        super::check_pattern(&subject)?;
        let name = subject.as_str().to_owned();
        let subscribing = async {
            match group {
                None => self.line.client.subscribe(name).await,
                Some(group) => self.line.client.queue_subscribe(name, group.as_str().to_owned()).await,
            }
        };
        let messages = match timeout(PATIENCE, subscribing).await {
            Ok(Ok(messages)) => messages,
            Ok(Err(error)) => return Err(self.closed().with_source(error)),
            Err(_elapsed) => return Err(self.stuck("a subscription")),
        };
        if !self.line.is_new() {
            self.flush().await?;
        }
        Ok(Subscription::new(messages.filter_map(move |message| future::ready(inbound(&subject, message)))))
    }

    async fn request(&self, subject: Subject, payload: Bytes, patience: Duration) -> Result<Message> {
        super::check_literal(&subject)?;
        let size = payload.len();
        let request = async_nats::Request::new().payload(payload).timeout(None);
        let asking = self.line.client.send_request(subject.as_str().to_owned(), request);
        match timeout(patience, asking).await {
            Ok(Ok(answer)) => {
                // The inbox is the client's and no one else's to know.
                let answer = inbound(&subject, async_nats::Message { subject: subject.as_str().into(), ..answer });
                super::answered(&subject, answer)
            }
            Ok(Err(error)) => Err(match error.kind() {
                RequestErrorKind::NoResponders => {
                    Error::new(ErrorKind::NoResponders, format!("nobody listens on {subject}"))
                }
                RequestErrorKind::MaxPayloadExceeded => too_large(size, self.max_payload_bytes()),
                RequestErrorKind::InvalidSubject => {
                    Error::new(ErrorKind::Malformed, format!("subject {subject} is not valid"))
                }
                RequestErrorKind::TimedOut | RequestErrorKind::Other => self.closed().with_source(error),
            }),
            Err(_elapsed) => {
                Err(Error::new(ErrorKind::Timeout, format!("no answer from {subject} within {patience:?}")))
            }
        }
    }

    async fn flush(&self) -> Result<()> {
        if self.line.answers(PATIENCE).await { Ok(()) } else { Err(self.stuck("what was sent")) }
    }

    fn max_payload_bytes(&self) -> usize {
        self.line.client.max_payload()
    }

    fn is_connected(&self) -> bool {
        self.line.client.connection_state() == State::Connected && !self.line.is_hung.load(Ordering::Relaxed)
    }

    /// A server without a cluster and without a name has its id for a name, which is another one after its restart.
    fn broker(&self) -> Option<String> {
        let info = self.line.client.server_info();
        info.cluster.or(Some(info.server_name)).filter(|name| !name.is_empty())
    }
}

/// The connection together with the messages that it sends to itself.
struct Line {
    client: Client,
    // Where pings go: an inbox of this connection alone.
    inbox: async_nats::Subject,
    pings: Pings,
    is_hung: AtomicBool,
}

impl Line {
    /// Whether the server has taken in all that was sent before, within `patience`. The client's own flush ends
    /// when the bytes are written.
    async fn answers(&self, patience: Duration) -> bool {
        timeout(patience, async { while !self.ping().await {} }).await.is_ok()
    }

    /// Whether it never was connected.
    fn is_new(&self) -> bool {
        self.client.connection_state() == State::Pending
    }

    fn received_bytes(&self) -> u64 {
        self.client.statistics().in_bytes.load(Ordering::Relaxed)
    }

    /// Sends one ping and waits for it. It is lost with a connection, so it does not wait for ever.
    async fn ping(&self) -> bool {
        let mut ping = self.pings.begin();
        let there_and_back = async {
            // An error is that of a closed connection, on which nothing will arrive.
            let _ = self.client.publish(self.inbox.clone(), ping.payload()).await;
            ping.arrived().await;
        };
        timeout(PING_EVERY, there_and_back).await.is_ok()
    }
}

async fn read_pings(line: Arc<Line>, mut arriving: async_nats::Subscriber) {
    while let Some(message) = arriving.next().await {
        line.pings.arrive(&message.payload);
    }
}

async fn keep_pinging(line: Arc<Line>) {
    let mut missed = 0;
    loop {
        sleep(PING_EVERY).await;
        if line.is_new() {
            continue;
        }
        let received = line.received_bytes();
        // A server that is busy sending us something else may be late, but does not hang.
        if line.ping().await || line.received_bytes() > received {
            missed = 0;
            line.is_hung.store(false, Ordering::Relaxed);
            continue;
        }
        missed += 1;
        if missed >= MISSED_PINGS && line.client.connection_state() == State::Connected {
            if !line.is_hung.swap(true, Ordering::Relaxed) {
                warn!("nats-server stopped answering, connecting again");
            }
            missed = 0;
            // Waits while the connection's queue is full; the next round tries again.
            let _ = timeout(PING_EVERY, line.client.force_reconnect()).await;
        }
    }
}

fn parse_servers(servers: &[String]) -> Result<Vec<ServerAddr>> {
    let parse = |(nth, text): (usize, &String)| {
        // A URL may hold a password: it is not shown.
        text.parse::<ServerAddr>().map_err(|_error| {
            let text =
                format!("nats-server address {} is not valid, it should look like nats://127.0.0.1:4222", nth + 1);
            Error::new(ErrorKind::Malformed, text)
        })
    };
    let addresses: Vec<_> = servers.iter().enumerate().map(parse).collect::<Result<_>>()?;
    if addresses.is_empty() {
        return Err(Error::new(ErrorKind::Malformed, "no nats-server address is given"));
    }
    Ok(addresses)
}

/// The client looks at options only.
fn credentials_in(addresses: &[ServerAddr]) -> Credentials {
    let found = addresses.iter().find_map(|address| Some((address.username()?, address.password())));
    match found {
        None => Credentials::None,
        Some((token, None)) => Credentials::Token(Secret::new(token)),
        Some((user, Some(password))) => {
            Credentials::UserPassword { user: user.to_owned(), password: Secret::new(password) }
        }
    }
}

fn shown(addresses: &[ServerAddr]) -> String {
    addresses.iter().map(|address| format!("{}:{}", address.host(), address.port())).collect::<Vec<_>>().join(", ")
}

async fn settings(options: NatsOptions) -> Result<ConnectOptions> {
    // A host that is cut off tries again every second, for days if need be.
    let troubles = Damper::default();
    let mut settings = ConnectOptions::new()
        .name(options.name)
        .connection_timeout(PATIENCE / 2)
        .reconnect_delay_callback(|attempts| {
            let doubled =
                Duration::from_millis(10) * 2_u32.saturating_pow(u32::try_from(attempts).unwrap_or(u32::MAX).min(10));
            if attempts <= 1 { Duration::ZERO } else { doubled.min(MAX_RECONNECT_DELAY) }
        })
        .event_callback(move |event| {
            tell(&event, &troubles);
            future::ready(())
        });
    if let Some(path) = options.tls_ca {
        settings = settings.add_root_certificates(path).require_tls(true);
    }
    Ok(match options.credentials {
        Credentials::None => settings,
        Credentials::Token(token) => settings.token(token.reveal().to_owned()),
        Credentials::UserPassword { user, password } => settings.user_and_password(user, password.reveal().to_owned()),
        Credentials::NkeySeed(seed) => {
            nkeys::KeyPair::from_seed(seed.reveal())
                .map_err(|_error| Error::new(ErrorKind::Malformed, "the nkey seed for nats-server is not a seed"))?;
            settings.nkey(seed.reveal().to_owned())
        }
        Credentials::File(path) => settings.credentials_file(&path).await.map_err(|error| {
            let text = format!("credentials file {} cannot be used: {error}", path.display());
            Error::new(ErrorKind::Io, text).with_source(error)
        })?,
    })
}

fn tell(event: &Event, troubles: &Damper) {
    match event {
        Event::Connected => info!("connected to nats-server"),
        Event::Disconnected => warn!("lost the connection to nats-server"),
        Event::SlowConsumer(subscription) => warn!(subscription, "slow reader lost messages"),
        Event::ServerError(error) => warn!(%error, "nats-server refused something"),
        Event::ClientError(error) => {
            if let Some(left_out) = troubles.admit() {
                warn!(%error, left_out, "connection to nats-server in trouble");
            }
        }
        Event::LameDuckMode | Event::Draining | Event::Closed => info!(%event, "connection to nats-server changed"),
    }
}
