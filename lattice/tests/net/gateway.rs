//! The gateway as ordinary NATS clients see it: async-nats, and bytes on a socket.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream;
use futures::StreamExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use trellis_lattice::error::ErrorKind;
use trellis_lattice::gateway::Gateway;
use trellis_lattice::id::LatticeName;
use trellis_lattice::secret::Secret;
use trellis_lattice::store::jetstream::JetStreamStore;
use trellis_lattice::subject::Subject;
use trellis_lattice::transport::memory::MemoryBus;
use trellis_lattice::transport::nats::{Credentials, NatsOptions, NatsTransport};
use trellis_lattice::transport::{Message, SharedTransport};

use crate::support::{PATIENCE, eventually, soon};

const TOKEN: &str = "s3cret";
const CONNECT: &str =
    "CONNECT {\"auth_token\":\"s3cret\",\"verbose\":false,\"headers\":true,\"no_responders\":true}\r\n";

fn any_port() -> SocketAddr {
    "127.0.0.1:0".parse().expect("an address")
}

async fn gateway(bus: &MemoryBus) -> Gateway {
    Gateway::bind(bus.clone(), any_port(), Secret::new(TOKEN)).await.expect("a port is free")
}

pub(crate) async fn start(bus: &MemoryBus) -> (Gateway, NatsOptions) {
    let gateway = gateway(bus).await;
    let url = format!("nats://{}", gateway.addr());
    (gateway, NatsOptions { credentials: Credentials::Token(Secret::new(TOKEN)), ..NatsOptions::new(url) })
}

async fn client(gateway: &Gateway) -> async_nats::Client {
    let options = async_nats::ConnectOptions::with_token(TOKEN.to_owned())
        .reconnect_delay_callback(|_attempts| Duration::from_millis(20));
    options.connect(format!("nats://{}", gateway.addr())).await.expect("it is up")
}

fn subject(text: &str) -> Subject {
    Subject::from_wire(text).expect("valid")
}

/// Bytes on a socket.
struct Raw {
    socket: TcpStream,
    received: String,
}

impl Raw {
    async fn open(gateway: &Gateway) -> Self {
        let socket = TcpStream::connect(gateway.addr()).await.expect("it listens");
        let mut raw = Self { socket, received: String::new() };
        raw.expect("\r\n").await;
        raw
    }

    async fn connected(gateway: &Gateway) -> Self {
        let mut raw = Self::open(gateway).await;
        raw.say(&format!("{CONNECT}PING\r\n")).await;
        raw.expect("PONG\r\n").await;
        raw
    }

    async fn say(&mut self, text: &str) {
        // A gateway that has ended the connection may refuse the rest.
        let _ = self.socket.write_all(text.as_bytes()).await;
    }

    /// Reads until `text` came, and returns all up to its end.
    async fn expect(&mut self, text: &str) -> String {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            if let Some(at) = self.received.find(text) {
                let rest = self.received.split_off(at + text.len());
                return std::mem::replace(&mut self.received, rest);
            }
            let mut buffer = [0; 4096];
            let read = tokio::time::timeout_at(deadline, self.socket.read(&mut buffer)).await;
            match read {
                Ok(Ok(count)) if count > 0 => self.received.push_str(&String::from_utf8_lossy(&buffer[..count])),
                other => panic!("{text:?} never came, but {:?}: {other:?}", self.received),
            }
        }
    }

    /// Reads to the end of the connection.
    async fn expect_end(mut self) -> String {
        let mut rest = Vec::new();
        // A reset is an end as well.
        let _ = soon("the end of the connection", self.socket.read_to_end(&mut rest)).await;
        self.received + &String::from_utf8_lossy(&rest)
    }
}

/// What a client that says `text` after connecting is told before it is cut, while others are served.
async fn check_cut(text: &str, expected: &str) {
    let bus = MemoryBus::new();
    let gateway = gateway(&bus).await;
    let other = client(&gateway).await;
    let mut raw = Raw::connected(&gateway).await;
    raw.say(text).await;
    let told = raw.expect_end().await;
    assert_eq!(told, format!("-ERR '{expected}'\r\n"), "{:?}", text.get(..40));
    let mut messages = other.subscribe("still.here").await.expect("subscribes");
    other.publish("still.here", "yes".into()).await.expect("taken");
    assert_eq!(soon("a message", messages.next()).await.expect("one").payload, "yes");
}

#[tokio::test]
async fn what_breaks_the_protocol_is_told_and_cut_and_others_go_on() {
    check_cut("GET / HTTP/1.1\r\nHost: x\r\n\r\n", "Unknown Protocol Operation").await;
    check_cut("\u{0}\u{1}\u{2}garbage \u{fffd}\r\n", "Unknown Protocol Operation").await;
    check_cut("PUB a\r\n", "Parser Error").await;
    check_cut(&format!("PUB {} 1\r\nx\r\n", "a".repeat(10 * 1024)), "maximum control line exceeded").await;
    check_cut(&"x".repeat(1024 * 1024), "maximum control line exceeded").await;
    check_cut(&format!("PUB a {}\r\n{}\r\n", 1024 * 1024 + 1, "x".repeat(2000)), "Maximum Payload Violation").await;
}

#[tokio::test]
async fn subjects_that_are_none_are_refused_and_the_connection_goes_on() {
    let bus = MemoryBus::new();
    let gateway = gateway(&bus).await;
    let mut raw = Raw::connected(&gateway).await;
    for text in ["PUB a..b 1\r\nx\r\n", "PUB a.* 1\r\nx\r\n", "SUB a.>.b 1\r\n", "SUB .a 1\r\n", "PUB a > 1\r\nx\r\n"] {
        raw.say(&format!("{text}PING\r\n")).await;
        assert_eq!(raw.expect("PONG\r\n").await, "-ERR 'Invalid Subject'\r\nPONG\r\n", "{text:?}");
    }
    raw.say(&format!("PUB {} 1\r\nx\r\nPING\r\n", "a".repeat(3000))).await;
    assert_eq!(raw.expect("PONG\r\n").await, "-ERR 'Invalid Subject'\r\nPONG\r\n");
}

#[tokio::test]
async fn only_the_token_lets_in() {
    let bus = MemoryBus::new();
    let (gateway, options) = start(&bus).await;
    for credentials in [Credentials::None, Credentials::Token(Secret::new("canary"))] {
        let error = NatsTransport::connect(NatsOptions { credentials, ..options.clone() }).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unauthorized, "{error:?}");
        assert!(!format!("{error:?}").contains("canary"));
    }
    let in_url = NatsOptions::new(format!("nats://{TOKEN}@{}", gateway.addr()));
    NatsTransport::connect(in_url).await.expect("a token may stand in the address");
    for text in ["PING\r\n", "SUB > 1\r\n", "CONNECT {}\r\n", "CONNECT garbage\r\n"] {
        let mut raw = Raw::open(&gateway).await;
        raw.say(text).await;
        assert_eq!(raw.expect_end().await, "-ERR 'Authorization Violation'\r\n", "{text:?}");
    }
}

#[tokio::test]
async fn jetstream_is_refused_in_its_own_words() {
    let bus = MemoryBus::new();
    let (gateway, options) = start(&bus).await;
    let context = jetstream::new(client(&gateway).await);
    let error = context.create_stream("orders").await.unwrap_err();
    let jetstream::context::CreateStreamErrorKind::JetStream(answer) = error.kind() else {
        panic!("an answer of JetStream was expected: {error:?}");
    };
    assert_eq!((answer.code(), answer.error_code().0), (503, 10_039));
    assert!(answer.to_string().contains("JetStream not enabled"), "{answer}");

    let transport = NatsTransport::connect(options).await.unwrap();
    let error = JetStreamStore::open(&transport, &LatticeName::parse("default").unwrap()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NoResponders);
    assert!(error.to_string().contains("start it with `-js`"), "{error}");
}

#[tokio::test]
async fn clients_and_participants_in_the_process_hear_each_other() {
    let bus = MemoryBus::new();
    let gateway = gateway(&bus).await;
    let inside: SharedTransport = Arc::new(bus.endpoint("inside"));
    let outside = client(&gateway).await;
    let mut questions = inside.subscribe(subject("ask.*"), None).await.unwrap();
    let asking = tokio::spawn({
        let outside = outside.clone();
        async move { outside.request("ask.me", "?".into()).await }
    });
    let question = soon("a question", questions.next()).await.unwrap();
    assert_eq!(question.payload, "?");
    let mut answer = Message::new(question.reply.unwrap(), "!");
    answer.headers = vec![("Answer".into(), "yes".into())];
    inside.publish(answer).await.unwrap();
    let answer = soon("the answer", asking).await.unwrap().unwrap();
    assert_eq!(answer.payload, "!");
    assert_eq!(answer.headers.unwrap().get("Answer").unwrap().as_str(), "yes");

    let nobody = outside.request("nobody", "?".into()).await.unwrap_err();
    assert_eq!(nobody.kind(), async_nats::client::RequestErrorKind::NoResponders);
}

#[tokio::test]
async fn a_client_comes_back_when_the_gateway_does() {
    let bus = MemoryBus::new();
    let first = gateway(&bus).await;
    let addr = first.addr();
    let outside = client(&first).await;
    let mut messages = outside.subscribe("a").await.unwrap();
    outside.flush().await.unwrap();
    first.close().await;
    eventually("the loss is noticed", async || outside.connection_state() != async_nats::connection::State::Connected)
        .await;
    let _second = Gateway::bind(bus.clone(), addr, Secret::new(TOKEN)).await.expect("the port is free again");
    let inside: SharedTransport = Arc::new(bus.endpoint("inside"));
    eventually("it listens again", async || {
        inside.publish(Message::new(subject("a"), "hello")).await.unwrap();
        tokio::time::timeout(Duration::from_millis(50), messages.next()).await.is_ok()
    })
    .await;
}

#[tokio::test]
async fn a_drop_cuts_and_a_close_delivers_what_is_under_way() {
    let bus = MemoryBus::new();
    let gateway = gateway(&bus).await;
    let mut raw = Raw::connected(&gateway).await;
    raw.say("SUB a 1\r\nPING\r\n").await;
    raw.expect("PONG\r\n").await;
    let inside: SharedTransport = Arc::new(bus.endpoint("inside"));
    inside.publish(Message::new(subject("a"), "last")).await.unwrap();
    gateway.close().await;
    assert_eq!(raw.expect_end().await, "MSG a 1 4\r\nlast\r\n");

    let gateway = self::gateway(&bus).await;
    let addr = gateway.addr();
    let raw = Raw::connected(&gateway).await;
    drop(gateway);
    assert_eq!(raw.expect_end().await, "");
    eventually("nobody listens", async || TcpStream::connect(addr).await.is_err()).await;
}

#[tokio::test]
async fn a_subscription_with_a_limit_ends_there() {
    let bus = MemoryBus::new();
    let gateway = gateway(&bus).await;
    let inside: SharedTransport = Arc::new(bus.endpoint("inside"));
    let mut raw = Raw::connected(&gateway).await;
    raw.say("SUB a 1\r\nUNSUB 1 2\r\nSUB end 2\r\nPING\r\n").await;
    raw.expect("PONG\r\n").await;
    for on in ["a", "a", "a", "end"] {
        inside.publish(Message::new(subject(on), "x")).await.unwrap();
    }
    let told = raw.expect("MSG end 2 1\r\nx\r\n").await;
    assert_eq!(told, "MSG a 1 1\r\nx\r\nMSG a 1 1\r\nx\r\nMSG end 2 1\r\nx\r\n");
    let asked = inside.request(subject("a"), "".into(), PATIENCE).await.unwrap_err();
    assert_eq!(asked.kind(), ErrorKind::NoResponders);
    raw.say("SUB a 3\r\nUNSUB 3\r\nPING\r\n").await;
    raw.expect("PONG\r\n").await;
    let asked = inside.request(subject("a"), "".into(), PATIENCE).await.unwrap_err();
    assert_eq!(asked.kind(), ErrorKind::NoResponders);
}

#[tokio::test]
async fn a_client_is_served_as_it_wishes() {
    let bus = MemoryBus::new();
    let gateway = gateway(&bus).await;
    let inside: SharedTransport = Arc::new(bus.endpoint("inside"));
    let mut raw = Raw::open(&gateway).await;
    raw.say("CONNECT {\"auth_token\":\"s3cret\",\"verbose\":true,\"echo\":false}\r\nSUB > 1\r\n").await;
    raw.expect("+OK\r\n+OK\r\n").await;
    let mut message = Message::new(subject("a"), "plain");
    message.headers = vec![("A".into(), "1".into())];
    inside.publish(message).await.unwrap();
    raw.expect("MSG a 1 5\r\nplain\r\n").await;
    raw.say("PUB own 1\r\nx\r\nPUB nobody ask 1\r\nx\r\nPING\r\n").await;
    assert_eq!(raw.expect("PONG\r\n").await, "+OK\r\n+OK\r\nPONG\r\n");
}

#[tokio::test]
async fn a_client_that_reads_nothing_is_cut_and_holds_nobody_up() {
    let bus = MemoryBus::new();
    let gateway = gateway(&bus).await;
    let inside: SharedTransport = Arc::new(bus.endpoint("inside"));
    let mut raw = Raw::connected(&gateway).await;
    raw.say("SUB a 1\r\nPING\r\n").await;
    raw.expect("PONG\r\n").await;
    let mut sent = 0;
    eventually("the client is cut", async || {
        for _ in 0..8 {
            inside.publish(Message::new(subject("a"), vec![7; 1024 * 1024])).await.unwrap();
            sent += 1;
        }
        inside.request(subject("a"), "".into(), Duration::from_millis(10)).await.unwrap_err().kind()
            == ErrorKind::NoResponders
    })
    .await;
    assert!(sent < 1000, "{sent} MiB were buffered");
}

#[tokio::test]
async fn addresses_that_cannot_be_used_are_named() {
    let bus = MemoryBus::new();
    let open = "0.0.0.0:0".parse().unwrap();
    let error = Gateway::bind(bus.clone(), open, Secret::new(TOKEN)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Malformed);
    let gateway = gateway(&bus).await;
    let error = Gateway::bind(bus.clone(), gateway.addr(), Secret::new(TOKEN)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Io);
    assert!(error.to_string().contains(&gateway.addr().to_string()), "{error}");
}

#[tokio::test]
async fn connections_are_bounded() {
    let bus = MemoryBus::new();
    let gateway = gateway(&bus).await;
    let mut clients = Vec::new();
    for _ in 0..256 {
        clients.push(Raw::connected(&gateway).await);
    }
    let socket = TcpStream::connect(gateway.addr()).await.unwrap();
    let refused = Raw { socket, received: String::new() };
    assert_eq!(refused.expect_end().await, "-ERR 'maximum connections exceeded'\r\n");
    clients.pop();
    eventually("there is room again", async || {
        let mut socket = TcpStream::connect(gateway.addr()).await.unwrap();
        let mut first = [0; 4];
        socket.read_exact(&mut first).await.is_ok() && &first == b"INFO"
    })
    .await;
}
