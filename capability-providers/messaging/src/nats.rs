//! Core NATS: messages for those who are there, at most once.
//!
//! The connection is kept up: it comes back by itself, with its subscriptions, and a server that answers nothing is
//! left within some seconds.

use std::future;
use std::sync::Arc;
use std::time::Duration;

use async_nats::client::{PublishErrorKind, RequestErrorKind};
use async_nats::{Client, ConnectErrorKind, ConnectOptions, Event, HeaderMap, ServerAddr, ServerInfo};
use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt as _;
use tokio::sync::watch;
use tokio::time::{Instant, timeout};
use tokio_util::task::AbortOnDropHandle;
use tracing::{info, warn};
use trellis_interfaces::messaging::BrokerMessage;
use trellis_provider_sdk::{Damper, Health, LinkError};
use uuid::Uuid;

use crate::broker::{Broker, Feed, Refusal, Subscription};
use crate::config::{Order, ServerConfig};
use crate::lanes::{Delivery, Lanes};
use crate::subject::{is_inbox, is_reserved};

/// How long connecting, or one round to the server, may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long a message waits for a connection that was lost a moment ago.
const RECONNECT_PATIENCE: Duration = Duration::from_secs(2);
/// How often the server is asked whether it is still there; it is left after three pings without an answer.
const PING_EVERY: Duration = Duration::from_millis(1500);
/// The longest pause between two attempts to connect again.
const MAX_RECONNECT_DELAY: Duration = Duration::from_secs(1);
/// Messages of one subscription that wait in memory; what comes beyond is lost, and said to be.
const MAX_WAITING: usize = 4_096;

/// A connection to a nats-server.
pub(crate) struct Connection {
    client: Client,
    /// For people, without passwords.
    servers: String,
    is_connected: watch::Receiver<bool>,
}

impl Connection {
    /// Connects.
    pub(crate) async fn open(config: &ServerConfig) -> Result<Self, LinkError> {
        let addresses = config.servers.iter().map(|url| url.parse::<ServerAddr>()).collect::<Result<Vec<_>, _>>();
        // A URL may hold a password: it is not shown.
        let addresses = addresses
            .map_err(|_| LinkError::Unavailable("a URL in link config key \"cluster_uris\" is not valid".to_owned()))?;
        let shown = addresses.iter().map(|address| format!("{}:{}", address.host(), address.port()));
        let servers = shown.collect::<Vec<_>>().join(", ");
        let (told, is_connected) = watch::channel(true);
        let options = options(config, &addresses, told).await?;
        let client = match timeout(PATIENCE, options.connect(addresses)).await {
            Ok(Ok(client)) => client,
            Ok(Err(error)) => return Err(LinkError::Unavailable(why_not(&servers, &error))),
            Err(_) => return Err(LinkError::Unavailable(format!("no nats-server answers at {servers}"))),
        };
        let connection = Self { client, servers, is_connected };
        connection.settle().await?;
        Ok(connection)
    }

    /// The client, for JetStream.
    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    /// For people.
    pub(crate) fn servers(&self) -> &str {
        &self.servers
    }

    /// What the server says of itself.
    pub(crate) fn server_info(&self) -> ServerInfo {
        self.client.server_info()
    }

    pub(crate) fn health(&self) -> Health {
        match *self.is_connected.borrow() {
            true => Health::Healthy,
            false => Health::Unhealthy(format!("no nats-server answers at {}", self.servers)),
        }
    }

    /// Waits for the connection to be there; what is sent before would be kept and sent long after.
    pub(crate) async fn connected(&self) -> Result<(), Refusal> {
        let mut is_connected = self.is_connected.clone();
        match timeout(RECONNECT_PATIENCE, is_connected.wait_for(|is_connected| *is_connected)).await {
            Ok(Ok(_)) => Ok(()),
            _ => Err(Refusal(format!("no nats-server answers at {}", self.servers))),
        }
    }

    /// Waits until the server has taken in all that was sent before, by a message to ourselves.
    async fn settle(&self) -> Result<(), LinkError> {
        let inbox = self.client.new_inbox();
        let there_and_back = async {
            let mut arriving = self.client.subscribe(inbox.clone()).await.ok()?;
            self.client.publish(inbox, Bytes::new()).await.ok()?;
            arriving.next().await
        };
        match timeout(PATIENCE, there_and_back).await {
            Ok(Some(_)) => Ok(()),
            _ => Err(LinkError::Unavailable(format!(
                "nats-server at {} lets us in but tells us nothing; may this user publish and subscribe to `_INBOX.>`?",
                self.servers
            ))),
        }
    }

    /// Publishes to those who are there.
    pub(crate) async fn publish(&self, message: &BrokerMessage) -> Result<(), Refusal> {
        self.connected().await?;
        let (subject, body) = (message.subject.clone(), message.body.clone());
        let sent = match message.reply_to.clone() {
            None => self.client.publish(subject, body).await,
            Some(reply_to) => self.client.publish_with_reply(subject, reply_to, body).await,
        };
        sent.map_err(|error| match error.kind() {
            PublishErrorKind::MaxPayloadExceeded => self.too_large(&message.body),
            _ => Refusal(format!("message was not taken by nats-server at {}: {error}", self.servers)),
        })?;
        let flushed = self.unless_lost(self.client.flush()).await?;
        flushed.map_err(|error| Refusal(format!("message was not sent: {error}")))
    }

    /// As [`Broker::flush`] has it.
    pub(crate) async fn flush(&self) {
        // What a lost connection had taken along is delivered again.
        let _ = self.unless_lost(self.client.flush()).await;
    }

    /// Sends a request and waits for its answer.
    pub(crate) async fn request(&self, subject: String, body: Bytes) -> Result<BrokerMessage, Refusal> {
        self.connected().await?;
        let request = async_nats::Request::new().payload(body.clone()).timeout(None);
        let answer = self.unless_lost(self.client.send_request(subject.clone(), request)).await?;
        let answer = answer.map_err(|error| match error.kind() {
            RequestErrorKind::NoResponders => Refusal(format!("nobody is subscribed to {subject:?}")),
            RequestErrorKind::MaxPayloadExceeded => self.too_large(&body),
            _ => Refusal(format!("request was not taken by nats-server at {}: {error}", self.servers)),
        })?;
        Ok(inbound(answer))
    }

    /// Awaits `work`, which would wait for ever when the connection is lost meanwhile.
    async fn unless_lost<T>(&self, work: impl Future<Output = T>) -> Result<T, Refusal> {
        let mut is_connected = self.is_connected.clone();
        tokio::select! {
            done = work => Ok(done),
            _ = is_connected.wait_for(|is_connected| !is_connected) => {
                Err(Refusal(format!("the connection to nats-server at {} was lost", self.servers)))
            }
        }
    }

    /// That a message is over the server's limit.
    pub(crate) fn too_large(&self, body: &Bytes) -> Refusal {
        let (size, limit) = (body.len(), self.server_info().max_payload);
        Refusal(format!("a body of {size} bytes is over the limit of {limit} of nats-server at {}", self.servers))
    }
}

/// Core NATS for one link.
pub(crate) struct Nats(Connection);

impl Nats {
    /// Connects.
    pub(crate) async fn connect(config: &ServerConfig) -> Result<Self, LinkError> {
        Ok(Self(Connection::open(config).await?))
    }
}

#[async_trait]
impl Broker for Nats {
    async fn publish(&self, message: &BrokerMessage, _: Uuid, _: Instant) -> Result<(), Refusal> {
        self.0.publish(message).await
    }

    async fn request(&self, subject: String, body: Bytes) -> Result<BrokerMessage, Refusal> {
        self.0.request(subject, body).await
    }

    async fn subscribe(&self, subscription: &Subscription, lanes: &Arc<Lanes>) -> Result<Feed, LinkError> {
        let mut feed = Feed::new();
        for pattern in &subscription.patterns {
            let subscribed =
                self.0.client.queue_subscribe(pattern.as_str().to_owned(), subscription.group.clone()).await;
            let mut arriving = subscribed.map_err(|error| {
                LinkError::Unavailable(format!(
                    "no subscription to {} at {}: {error}",
                    pattern.as_str(),
                    self.0.servers
                ))
            })?;
            let (lanes, order) = (lanes.clone(), subscription.order.clone());
            feed.push(AbortOnDropHandle::new(tokio::spawn(async move {
                while let Some(message) = arriving.next().await {
                    if is_reserved(&message.subject) || is_inbox(&message.subject) {
                        continue;
                    }
                    let key = key(order.as_ref(), &message.subject, message.headers.as_ref());
                    lanes.take(Delivery { message: inbound(message), key, receipt: None }).await;
                }
            })));
        }
        self.0.settle().await?;
        Ok(feed)
    }

    async fn flush(&self) {
        self.0.flush().await;
    }

    fn health(&self) -> Health {
        self.0.health()
    }
}

/// What a message is kept in order by.
pub(crate) fn key(order: Option<&Order>, subject: &str, headers: Option<&HeaderMap>) -> Option<String> {
    order?.key(subject, |name| Some(headers?.get(name)?.to_string()))
}

fn inbound(message: async_nats::Message) -> BrokerMessage {
    BrokerMessage {
        subject: message.subject.to_string(),
        body: message.payload,
        reply_to: message.reply.map(|reply| reply.to_string()),
    }
}

async fn options(
    config: &ServerConfig,
    addresses: &[ServerAddr],
    told: watch::Sender<bool>,
) -> Result<ConnectOptions, LinkError> {
    // A server that stays away is tried every second, for days if need be.
    let troubles = Damper::default();
    let mut options = ConnectOptions::new()
        .name("trellis messaging")
        .connection_timeout(PATIENCE / 2)
        .ping_interval(PING_EVERY)
        .subscription_capacity(MAX_WAITING)
        .reconnect_delay_callback(|attempts| {
            let doublings = u32::try_from(attempts.saturating_sub(1)).unwrap_or(u32::MAX).min(10);
            (Duration::from_millis(10) * 2_u32.pow(doublings)).min(MAX_RECONNECT_DELAY)
        })
        .event_callback(move |event| {
            follow(&event, &told, &troubles);
            future::ready(())
        });
    if let Some(path) = &config.tls_ca {
        options = options.add_root_certificates(path.clone()).require_tls(true);
    }
    if let Some(seed) = &config.nkey_seed {
        return Ok(options.nkey(seed.reveal().to_owned()));
    }
    if let Some(path) = &config.credentials_file {
        return options.credentials_file(path).await.map_err(|error| {
            LinkError::Unavailable(format!("credentials file {} cannot be used: {error}", path.display()))
        });
    }
    // The client does not look for credentials in URLs.
    let user = addresses.iter().find_map(|address| Some((address.username()?.to_owned(), address.password())));
    Ok(match user {
        None => options,
        Some((token, None)) => options.token(token),
        Some((user, Some(password))) => options.user_and_password(user, password.to_owned()),
    })
}

fn follow(event: &Event, told: &watch::Sender<bool>, troubles: &Damper) {
    match event {
        Event::Connected => drop(told.send_replace(true)),
        Event::Disconnected | Event::Closed => drop(told.send_replace(false)),
        _ => {}
    }
    let Some(left_out) = troubles.admit() else { return };
    match event {
        Event::Connected | Event::LameDuckMode | Event::Draining | Event::Closed => {
            info!(%event, left_out, "connection to nats-server changed");
        }
        Event::SlowConsumer(_) => warn!(left_out, "messages came faster than they are handled, and were lost"),
        _ => warn!(%event, left_out, "connection to nats-server in trouble"),
    }
}

fn why_not(servers: &str, error: &async_nats::ConnectError) -> String {
    match error.kind() {
        ConnectErrorKind::AuthorizationViolation | ConnectErrorKind::Authentication => format!(
            "nats-server at {servers} refuses the credentials; check link config keys \"credentials_file\", \
             \"nkey_seed\" and \"cluster_uris\""
        ),
        ConnectErrorKind::Tls => {
            format!("no TLS with nats-server at {servers}: {error}; check link config key \"tls_ca\"")
        }
        _ => format!("no nats-server answers at {servers}; check link config key \"cluster_uris\""),
    }
}
