//! A server, its caller, and a member of the lattice that sends what it likes.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures::StreamExt as _;
use trellis_lattice::identity::key::{Key, KeyKind};
use trellis_lattice::identity::peer::Identity;
use trellis_lattice::identity::token;
use trellis_lattice::message::invocation::Head;
use trellis_lattice::message::presence::{Presence, Running, State};
use trellis_lattice::rpc::{Peer, Refused};
use trellis_lattice::seal::Session;
use trellis_lattice::subject::{inbox, presence, reply_slot, reply_slots};
use trellis_lattice::transport::memory::{MemoryBus, MemoryTransport};
use trellis_lattice::transport::{Message, Subscription, Transport as _};
use trellis_lattice::wire::bundle::{decode_bundle, is_bundle};
use trellis_lattice::wire::{CallFrame, Part, SignedPresence, Stamp, Value};

use crate::support::{Authority, Functions, TARGET, call, calling, now, serving, until};

/// A genuine member that sends what it likes.
pub(crate) struct Member {
    pub(crate) authority: Arc<Authority>,
    pub(crate) key: Key,
    pub(crate) identity: Identity,
    pub(crate) bus: MemoryTransport,
    pub(crate) answers: Subscription,
    pub(crate) clock_ms: u64,
    pub(crate) sequence: u64,
    pub(crate) unread: VecDeque<Message>,
}

/// Now, in milliseconds since 1970.
pub(crate) fn unix_ms() -> u64 {
    u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap()
}

impl Member {
    pub(crate) async fn new(bus: &MemoryBus, authority: Arc<Authority>) -> Self {
        let key = Key::generate(KeyKind::User);
        let identity = authority.identity(&key);
        let bus = bus.endpoint("member");
        let answers = bus.subscribe(reply_slots(&authority.lattice, identity.peer()), None).await.unwrap();
        Self { authority, key, identity, bus, answers, clock_ms: unix_ms(), sequence: 0, unread: VecDeque::new() }
    }

    pub(crate) fn presence(&mut self, state: State) -> Vec<u8> {
        self.sequence += 1;
        let presence = Presence {
            peer: self.identity.peer().clone(),
            token: self.identity.token.clone(),
            boot: self.identity.boot,
            started_at_ms: self.clock_ms,
            sequence: self.sequence,
            said_at_ms: self.clock_ms,
            site: None,
            state,
            running: vec![Running { id: TARGET.parse().unwrap(), exports: Vec::new() }],
        };
        SignedPresence::encode(&presence, &self.authority.lattice, |bytes| self.key.sign(bytes))
    }

    pub(crate) async fn introduce(&mut self, to: &Peer) {
        let frame = self.presence(State::Ready);
        self.bus.publish(Message::new(presence(&self.authority.lattice), frame)).await.unwrap();
        until("it is known", || to.present().iter().any(|p| p.boot == self.identity.boot)).await;
    }

    pub(crate) fn session(&self, with: &Presence) -> Session {
        let claims = token::verify_peer(&with.token, now()).unwrap();
        Session::between(&self.identity, &self.authority.lattice, &claims, with.boot).unwrap()
    }

    pub(crate) fn frame(&self, session: &Session, issued_at_ms: u64) -> Vec<u8> {
        self.frame_of(session, issued_at_ms, (&call("echo", "").head, Part::Empty))
    }

    pub(crate) fn frame_of(&self, session: &Session, issued_at_ms: u64, (head, body): (&Head, Part<'_>)) -> Vec<u8> {
        let stamp = Stamp { sequence: session.next_sequence(), issued_at_ms, budget_ms: 5_000 };
        CallFrame::encode(session.outgoing_tag(), stamp, head, (Value::Inline(b"value"), body)).unwrap()
    }

    pub(crate) async fn send(&self, to: &Presence, frame: impl Into<bytes::Bytes>) {
        let reply = reply_slot(&self.authority.lattice, self.identity.peer(), 0);
        let message = Message::new(inbox(&self.authority.lattice, &to.peer), frame).with_reply(reply);
        self.bus.publish(message).await.unwrap();
    }

    /// The next frame that comes, alone or with others.
    pub(crate) async fn answer(&mut self) -> Message {
        if let Some(earlier) = self.unread.pop_front() {
            return earlier;
        }
        let message = tokio::time::timeout(Duration::from_secs(10), self.answers.next()).await.unwrap().unwrap();
        if is_bundle(&message.payload) {
            let frames = decode_bundle(&message.payload).unwrap().into_iter();
            self.unread.extend(frames.map(|(_, frame)| Message::new(message.subject.clone(), frame)));
            return self.unread.pop_front().unwrap();
        }
        message
    }
}

/// A server, what a caller knows of it, and a member that knows it as well.
pub(crate) struct Scene {
    pub(crate) bus: MemoryBus,
    pub(crate) server: Arc<Peer>,
    pub(crate) functions: Arc<Functions>,
    pub(crate) caller: Arc<Peer>,
    pub(crate) served_by: Arc<Presence>,
    pub(crate) member: Member,
}

impl Scene {
    pub(crate) async fn set() -> Self {
        let bus = MemoryBus::new();
        let authority = Arc::new(Authority::new());
        let host = authority.join(&Key::generate(KeyKind::Host));
        let (server, functions) = serving(Arc::new(bus.endpoint("server")), host).await;
        let user = authority.join(&Key::generate(KeyKind::User));
        let caller = calling(Arc::new(bus.endpoint("caller")), user).await;
        until("the server is known", || caller.present().iter().any(|p| !p.running.is_empty())).await;
        let served_by = Arc::clone(&caller.present()[0]);
        let member = Member::new(&bus, authority).await;
        Self { bus, server, functions, caller, served_by, member }
    }

    /// Sends `frame`, waits until it was refused as `expected` says, and checks that nothing was called and calls
    /// still work.
    pub(crate) async fn refused(&self, frame: Vec<u8>, read: impl Fn(Refused) -> u64) {
        let (before, started) = (read(self.server.refused()), self.functions.started.load(Ordering::SeqCst));
        self.member.send(&self.served_by, frame).await;
        until("it is refused", || read(self.server.refused()) == before + 1).await;
        assert_eq!(self.functions.started.load(Ordering::SeqCst), started);
        self.caller.call(call("echo", "")).await.unwrap();
    }
}
