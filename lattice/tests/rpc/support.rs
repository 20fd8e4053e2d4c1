//! A lattice for one test: its authority, peers that serve a few functions, and invocations of them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use futures::future::BoxFuture;
use http_body_util::{BodyExt as _, StreamBody};
use trellis_lattice::body::Body;
use trellis_lattice::contract::Interface;
use trellis_lattice::error::CallError;
use trellis_lattice::id::{EntityId, IssuerId, LatticeName, LinkName, PeerId};
use trellis_lattice::identity::claims::{PeerClaims, Verified};
use trellis_lattice::identity::key::{Key, KeyKind};
use trellis_lattice::identity::peer::{Identity, exchange_public};
use trellis_lattice::identity::token;
use trellis_lattice::identity::trust::Trust;
use trellis_lattice::message::invocation::{Answer, Context, Encoding, Head, Invocation};
use trellis_lattice::message::presence::{Running, State};
use trellis_lattice::rpc::{Join, Peer, Serve};
use trellis_lattice::transport::SharedTransport;
use trellis_lattice::transport::memory::MemoryBus;
use trellis_lattice::transport::nats::{NatsOptions, NatsTransport};

use crate::nats_server::NatsServer;

pub(crate) const TARGET: &str = "echo";

pub(crate) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// Who signs, and for which lattice.
pub(crate) struct Authority {
    key: Key,
    pub(crate) lattice: LatticeName,
}

impl Authority {
    pub(crate) fn new() -> Self {
        Self { key: Key::generate(KeyKind::Account), lattice: LatticeName::parse("test").unwrap() }
    }

    pub(crate) fn trust(&self) -> Arc<Trust> {
        let authority = IssuerId::parse(&self.key.public()).unwrap();
        Arc::new(Trust { authority, issuers: BTreeMap::new() })
    }

    pub(crate) fn identity(&self, key: &Key) -> Identity {
        let claims = PeerClaims {
            issuer: IssuerId::parse(&self.key.public()).unwrap(),
            peer: PeerId::parse(&key.public()).unwrap(),
            exchange: exchange_public(key),
            lattice: self.lattice.clone(),
            labels: BTreeMap::new(),
            entity: None,
            call: Vec::new(),
            expires_at: now() + 3600,
        };
        let token = token::issue_peer(&claims, &self.key, now()).unwrap();
        Identity::new(key, token, now()).unwrap()
    }

    pub(crate) fn join(&self, key: &Key) -> Join {
        Join { lattice: self.lattice.clone(), identity: self.identity(key), trust: self.trust(), site: None }
    }
}

/// What the peers of a test serve, and what they saw.
#[derive(Default)]
pub(crate) struct Functions {
    pub(crate) started: AtomicUsize,
    pub(crate) running: AtomicUsize,
    /// Notified to let "late" begin to read.
    pub(crate) gate: tokio::sync::Notify,
}

struct Counted<'a>(&'a AtomicUsize);

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Serve for Functions {
    fn serve(
        self: Arc<Self>,
        _from: Arc<Verified<PeerClaims>>,
        invocation: Invocation<Bytes>,
    ) -> BoxFuture<'static, Result<Answer<Bytes>, CallError>> {
        Box::pin(async move { self.perform(invocation).await })
    }
}

impl Functions {
    async fn perform(&self, invocation: Invocation<Bytes>) -> Result<Answer<Bytes>, CallError> {
        self.started.fetch_add(1, Ordering::SeqCst);
        self.running.fetch_add(1, Ordering::SeqCst);
        let _running = Counted(&self.running);
        let Invocation { head, args, body } = invocation;
        match &*head.function {
            "echo" => Ok(Answer { value: args, body }),
            "hang" => std::future::pending().await,
            "fail" => Err(CallError::provider("it does not work")),
            "panic" => panic!("on purpose"),
            "count" => {
                let (total, _) = drain(body).await?;
                Ok(Answer { value: total.to_be_bytes().to_vec().into(), body: Body::Empty })
            }
            "late" => {
                self.gate.notified().await;
                let (total, _) = drain(body).await?;
                Ok(Answer { value: total.to_be_bytes().to_vec().into(), body: Body::Empty })
            }
            "ignore" => Ok(Answer { value: Bytes::new(), body: Body::Empty }),
            "produce" => {
                let len = u64::from_be_bytes(args[..].try_into().unwrap());
                Ok(Answer { value: Bytes::new(), body: produced(len) })
            }
            "break" => {
                let frames = [Ok(data(1000)), Err(CallError::trap("guest trapped in its body"))];
                Ok(Answer { value: Bytes::new(), body: Body::stream(StreamBody::new(futures::stream::iter(frames))) })
            }
            other => Err(CallError::contract(format!("no function {other}"))),
        }
    }
}

fn data(len: usize) -> http_body::Frame<Bytes> {
    http_body::Frame::data(vec![7; len].into())
}

/// A stream of `len` bytes in pieces of 40,000.
pub(crate) fn produced(len: u64) -> Body {
    const PIECE: u64 = 40_000;
    let piece = Bytes::from(vec![7; PIECE as usize]);
    let pieces = (0..len.div_ceil(PIECE)).map(move |i| {
        let size = PIECE.min(len - i * PIECE) as usize;
        Ok(http_body::Frame::data(piece.slice(..size)))
    });
    Body::stream(StreamBody::new(futures::stream::iter(pieces)))
}

/// Reads a body piece by piece; how long it was, and its trailers.
pub(crate) async fn drain(mut body: Body) -> Result<(u64, Option<http::HeaderMap>), CallError> {
    let (mut total, mut trailers) = (0, None);
    while let Some(frame) = body.frame().await {
        match frame?.into_data() {
            Ok(data) => total += data.len() as u64,
            Err(frame) => trailers = frame.into_trailers().ok(),
        }
    }
    Ok((total, trailers))
}

/// A call of `function` on the target that all serving peers run.
pub(crate) fn call(function: &str, args: impl Into<Bytes>) -> Invocation<Bytes> {
    let head = Head {
        id: uuid::Uuid::now_v7(),
        source: EntityId::parse("caller").unwrap(),
        target: EntityId::parse(TARGET).unwrap(),
        link: LinkName::default(),
        interface: Interface::parse("test:test/test@1.0.0").unwrap(),
        function: function.into(),
        signature: None,
        encoding: Encoding::Pack,
        attempt: 1,
        grant_epoch: 0,
        context: Context::root(Duration::from_secs(20)),
    };
    Invocation { head, args: args.into(), body: Body::Empty }
}

/// Joins as a peer that serves [`Functions`] as [`TARGET`].
pub(crate) async fn serving(transport: SharedTransport, join: Join) -> (Arc<Peer>, Arc<Functions>) {
    let functions = Arc::new(Functions::default());
    let peer = Peer::join(transport, join, Some(functions.clone())).await.unwrap();
    peer.announce(State::Ready, vec![Running { id: EntityId::parse(TARGET).unwrap(), exports: Vec::new() }]);
    (peer, functions)
}

pub(crate) async fn calling(transport: SharedTransport, join: Join) -> Arc<Peer> {
    Peer::join(transport, join, None).await.unwrap()
}

/// What the peers of a test are connected by.
pub(crate) enum Net {
    Memory(MemoryBus),
    Nats(NatsServer),
}

impl Net {
    pub(crate) fn memory() -> Self {
        Self::Memory(MemoryBus::new())
    }

    pub(crate) async fn nats() -> Self {
        Self::Nats(NatsServer::start().await)
    }

    /// A participant; on memory `name` is what partitions go by, on NATS it has a connection of its own.
    pub(crate) async fn connect(&self, name: &str) -> SharedTransport {
        match self {
            Self::Memory(bus) => Arc::new(bus.endpoint(name)),
            Self::Nats(server) => Arc::new(NatsTransport::connect(NatsOptions::new(server.url())).await.unwrap()),
        }
    }
}

/// Makes each of these functions, which take a [`Net`], a test on either transport.
macro_rules! on_both {
    ($($test:ident),* $(,)?) => {
        mod memory {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $test() {
                super::$test(&crate::support::Net::memory()).await;
            })*
        }

        mod nats {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $test() {
                super::$test(&crate::support::Net::nats().await).await;
            })*
        }
    };
}

pub(crate) use on_both;

/// A caller and a server that know each other.
pub(crate) async fn pair(net: &Net) -> (Arc<Peer>, Arc<Peer>, Arc<Functions>) {
    let authority = Authority::new();
    let host = authority.join(&Key::generate(KeyKind::Host));
    let user = authority.join(&Key::generate(KeyKind::User));
    let (server, functions) = serving(net.connect("server").await, host).await;
    let caller = calling(net.connect("caller").await, user).await;
    until("the server is known", || caller.present().iter().any(|p| !p.running.is_empty())).await;
    (caller, server, functions)
}

/// Waits until `condition` holds.
pub(crate) async fn until(what: &str, condition: impl Fn() -> bool) {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
    while !condition() {
        assert!(tokio::time::Instant::now() < deadline, "still waiting until {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
