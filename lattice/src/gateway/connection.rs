//! One client: reads its commands, writes what is for it, and ends it when it breaks the rules.

use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::OwnedReadHalf;
use tokio::time::{Instant, timeout, timeout_at};
use tracing::{debug, warn};

use super::handshake::{self, Wishes};
use super::outbound::Outbound;
use super::parser::{Command, Parser, Refusal, Violation};
use super::subscriptions::{HeaderSupport, Reader, Subscriptions};
use super::{Shared, jetstream};
use crate::error::ErrorKind;
use crate::transport::Message;
use crate::transport::memory::{Echo, MemoryTransport};

/// How long a client has to say who it is.
const HANDSHAKE_PATIENCE: Duration = Duration::from_secs(5);
/// A client that is silent for so long is asked whether it is there.
const PING_EVERY: Duration = Duration::from_secs(30);
/// So many questions without an answer end it.
const MISSED_PINGS: u32 = 2;
/// How long a client that is cut may take to read why.
const LINGER: Duration = Duration::from_secs(1);
/// So many bytes are read at a time.
const READ_BYTES: usize = 64 * 1024;

/// Why a connection ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// The client left, or the socket broke.
    Left,
    /// The gateway closes.
    Closing,
    /// The client takes too little of what is for it.
    Slow,
    Unauthorized,
    LateHandshake,
    Silent,
    TooManySubscriptions,
    Violated(Violation),
}

impl End {
    /// What the client is told.
    fn text(self) -> Option<&'static str> {
        Some(match self {
            Self::Left | Self::Closing | Self::Slow => return None,
            Self::Unauthorized => "Authorization Violation",
            Self::LateHandshake => "Authentication Timeout",
            Self::Silent => "Stale Connection",
            Self::TooManySubscriptions => "maximum subscriptions exceeded",
            Self::Violated(Violation::UnknownOperation) => "Unknown Protocol Operation",
            Self::Violated(Violation::Arguments) => "Parser Error",
            Self::Violated(Violation::Line) => "maximum control line exceeded",
            Self::Violated(Violation::Payload) => "Maximum Payload Violation",
        })
    }
}

/// Serves one client until it ends.
pub(super) async fn serve(socket: TcpStream, shared: Arc<Shared>, id: u64) {
    // Small messages must not wait for more; if the option is not there, they do.
    let _ = socket.set_nodelay(true);
    let (mut read_half, mut write_half) = socket.into_split();
    let outbound = Arc::new(Outbound::default());
    outbound.line(&handshake::info_line(shared.addr, id));
    let mut client = Client::new(&shared, outbound.clone(), id);
    let end = {
        let writing = outbound.write_to(&mut write_half);
        tokio::pin!(writing);
        let end = tokio::select! {
            end = client.read(&mut read_half) => end,
            _ = &mut writing => End::Left,
            () = outbound.overflowed() => End::Slow,
            () = shared.closing.cancelled() => End::Closing,
        };
        drop(client);
        if let Some(text) = end.text() {
            outbound.line(&format!("-ERR '{text}'\r\n"));
        }
        outbound.close();
        if end != End::Slow && end != End::Left {
            let _ = timeout(LINGER, writing).await;
        }
        end
    };
    match end {
        End::Left | End::Closing => debug!(client = id, ?end, "client of the gateway left"),
        _ => warn!(client = id, ?end, "client of the gateway was cut"),
    }
    if end.text().is_some() {
        // Closing with unread input would take the error line away from the client.
        let _ = timeout(LINGER, tokio::io::copy(&mut read_half, &mut tokio::io::sink())).await;
    }
    // The peer may be gone already.
    let _ = timeout(LINGER, write_half.shutdown()).await;
}

struct Client {
    shared: Arc<Shared>,
    transport: MemoryTransport,
    outbound: Arc<Outbound>,
    subscriptions: Subscriptions,
    // `None` until the client has shown the token.
    wishes: Option<Wishes>,
}

impl Client {
    fn new(shared: &Arc<Shared>, outbound: Arc<Outbound>, id: u64) -> Self {
        let transport = shared.bus.endpoint(&format!("gateway client {id}"));
        Self { shared: shared.clone(), transport, outbound, subscriptions: Subscriptions::default(), wishes: None }
    }

    /// Reads and does what the client wants, until the connection has to end.
    async fn read(&mut self, socket: &mut OwnedReadHalf) -> End {
        let handshake_until = Instant::now() + HANDSHAKE_PATIENCE;
        let mut input = BytesMut::with_capacity(READ_BYTES);
        let mut parser = Parser::default();
        let mut missed = 0;
        loop {
            let until = if self.wishes.is_some() { Instant::now() + PING_EVERY } else { handshake_until };
            input.reserve(READ_BYTES);
            match timeout_at(until, socket.read_buf(&mut input)).await {
                Ok(Ok(0) | Err(_)) => return End::Left,
                Ok(Ok(_)) => missed = 0,
                Err(_elapsed) if self.wishes.is_none() => return End::LateHandshake,
                Err(_elapsed) if missed >= MISSED_PINGS => return End::Silent,
                Err(_elapsed) => {
                    missed += 1;
                    self.outbound.line("PING\r\n");
                }
            }
            if let Err(end) = self.obey_all(&mut parser, &mut input) {
                return end;
            }
        }
    }

    fn obey_all(&mut self, parser: &mut Parser, input: &mut BytesMut) -> Result<(), End> {
        while let Some(command) = parser.next(input).map_err(End::Violated)? {
            match (self.wishes, command) {
                (_, Command::Connect(json)) => {
                    let wishes = handshake::admit(&json, &self.shared.token).map_err(|_refused| End::Unauthorized)?;
                    self.wishes = Some(wishes);
                    self.acknowledge(wishes);
                }
                (None, _) => return Err(End::Unauthorized),
                (Some(wishes), command) => self.obey(command, wishes)?,
            }
        }
        Ok(())
    }

    fn obey(&mut self, command: Command, wishes: Wishes) -> Result<(), End> {
        match command {
            Command::Ping => self.outbound.line("PONG\r\n"),
            Command::Publish(message) => {
                self.acknowledge(wishes);
                return self.publish(&message, wishes);
            }
            Command::Subscribe { subject, group, id } => {
                let headers = if wishes.headers { HeaderSupport::Full } else { HeaderSupport::None };
                let reader = Reader::new(id, self.outbound.clone(), headers);
                match self.subscriptions.add(&self.transport, (subject, group), reader) {
                    Ok(Ok(())) => self.acknowledge(wishes),
                    Ok(Err(_too_many)) => return Err(End::TooManySubscriptions),
                    Err(error) if error.kind() == ErrorKind::Disconnected => return Err(End::Closing),
                    Err(_malformed) => self.refuse(Refusal::Subject),
                }
            }
            Command::Unsubscribe { id, after } => {
                self.subscriptions.remove(&id, after);
                self.acknowledge(wishes);
            }
            Command::Refused(refusal) => self.refuse(refusal),
            Command::Pong | Command::Ignored | Command::Connect(_) => {}
        }
        Ok(())
    }

    fn publish(&self, message: &Message, wishes: Wishes) -> Result<(), End> {
        let refusal = jetstream::refusal(message);
        let echo = if wishes.echo || refusal.is_some() { Echo::Own } else { Echo::OthersOnly };
        match self.transport.send(refusal.as_ref().unwrap_or(message), echo) {
            Ok(0) if wishes.no_responders && refusal.is_none() => {
                if let Some(reply) = &message.reply {
                    self.transport.say_no_responders(reply);
                }
            }
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::Disconnected => return Err(End::Closing),
            Err(_malformed) => self.refuse(Refusal::Subject),
        }
        Ok(())
    }

    fn acknowledge(&self, wishes: Wishes) {
        if wishes.verbose {
            self.outbound.line("+OK\r\n");
        }
    }

    fn refuse(&self, refusal: Refusal) {
        self.outbound.line(match refusal {
            Refusal::Subject => "-ERR 'Invalid Subject'\r\n",
            Refusal::Headers => "-ERR 'Invalid Headers'\r\n",
        });
    }
}
