//! The channel between host and process: calls, bodies, cancellation, and an end that does not keep to the rules.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http_body_util::BodyExt as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::sync::mpsc;
use trellis_lattice::wire::flow::encode_bare;
use trellis_lattice::wire::reply::decode_error;
use trellis_lattice::wire::{
    CallFrame, Chunk, Kind, MIN_CHUNK_COST_BYTES, Part, Prefix, ReplyFrame, Stamp, Tag, Value, WINDOW_BYTES,
};
use trellis_provider_sdk::process::{Channel, MAX_CALLS, Serve};
use trellis_provider_sdk::{Answer, Args, Body, CallError, CallErrorKind, Head, Invocation, testing};
use uuid::Uuid;

const PATIENCE: Duration = Duration::from_secs(20);

/// Mirrors, or never answers; counts what it is doing.
#[derive(Default)]
struct Mirror(Arc<AtomicUsize>);

struct Doing(Arc<AtomicUsize>);

impl Drop for Doing {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

#[async_trait]
impl Serve for Mirror {
    async fn serve(&self, invocation: Invocation<Args>) -> Result<Answer<Args>, CallError> {
        self.0.fetch_add(1, Ordering::SeqCst);
        let _doing = Doing(Arc::clone(&self.0));
        if &*invocation.head.function == "never" {
            std::future::pending::<()>().await;
        }
        Ok(Answer { value: invocation.args, body: invocation.body })
    }
}

fn invocation(function: &str, text: &str, body: Body) -> Invocation<Args> {
    let link = testing::link("actor", "provider", &["test:echo/echo"]);
    Invocation { body, ..testing::invocation(&link, "test:echo/echo", function, &text) }
}

async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let wait = async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, wait).await.unwrap_or_else(|_| panic!("{what}"));
}

/// A channel whose other end is the test.
struct Raw {
    channel: Channel,
    controls: mpsc::Receiver<Bytes>,
    doing: Arc<AtomicUsize>,
    socket: UnixStream,
}

impl Raw {
    fn open() -> Self {
        let (ours, theirs) = UnixStream::pair().expect("sockets");
        let mirror = Mirror::default();
        let doing = Arc::clone(&mirror.0);
        let (channel, controls) = Channel::open(ours, Arc::new(mirror));
        Self { channel, controls, doing, socket: theirs }
    }

    async fn send(&mut self, message: &[u8]) {
        let mut bytes = u32::try_from(message.len()).expect("short").to_be_bytes().to_vec();
        bytes.extend_from_slice(message);
        // The channel may have been closed already, which is what the test looks at.
        let _ = self.socket.write_all(&bytes).await;
    }

    async fn receive(&mut self) -> Vec<u8> {
        let read = async {
            let len = self.socket.read_u32().await.expect("a length");
            let mut message = vec![0; len as usize];
            self.socket.read_exact(&mut message).await.expect("a message");
            message
        };
        tokio::time::timeout(PATIENCE, read).await.expect("a message comes")
    }

    async fn call(&mut self, function: &str, body: Part<'_>) -> Uuid {
        let head = Head { id: Uuid::now_v7(), ..invocation(function, "", Body::Empty).head };
        let stamp = Stamp { sequence: 0, issued_at_ms: 0, budget_ms: 20_000 };
        let frame = CallFrame::encode(Tag::default(), stamp, &head, (Value::Inline(b"\xa1x"), body)).expect("fits");
        self.send(&frame).await;
        head.id
    }

    async fn until_closed(&self) -> String {
        until("the channel closes", || self.channel.closed().is_some()).await;
        self.channel.closed().expect("is closed")
    }
}

fn prefix(kind: Kind, id: Uuid) -> Prefix {
    Prefix { kind, tag: Tag::default(), id }
}

#[tokio::test]
async fn values_and_bodies_of_any_size_come_back() {
    let (left, right) = UnixStream::pair().expect("sockets");
    let (caller, _controls) = Channel::open(left, Arc::new(Mirror::default()));
    let (_server, _others) = Channel::open(right, Arc::new(Mirror::default()));
    for (value, body) in [(1, 0), (1, 1), (600_000, 0), (100, 600_000), (600_000, 5_000_000), (500_000, 100_000)] {
        let text = "v".repeat(value);
        let sent = Bytes::from(vec![7; body]);
        let answer = caller.call(invocation("mirror", &text, sent.clone().into())).await.expect("answers");
        let back: String = testing::value(&answer).expect("a text");
        assert_eq!((back.len(), answer.body.collect(body + 1).await.expect("whole")), (value, sent));
    }
}

#[tokio::test]
async fn a_caller_that_leaves_ends_the_call_at_the_other_end() {
    let mirror = Mirror::default();
    let doing = Arc::clone(&mirror.0);
    let (left, right) = UnixStream::pair().expect("sockets");
    let (caller, _controls) = Channel::open(left, Arc::new(Mirror::default()));
    let (_server, _others) = Channel::open(right, Arc::new(mirror));
    let call = tokio::time::timeout(Duration::from_millis(50), caller.call(invocation("never", "", Body::Empty)));
    assert!(call.await.is_err());
    until("the call ends", || doing.load(Ordering::SeqCst) == 0).await;
    drop(_server);
    drop(_others);
    until("the channel closes", || caller.closed().is_some()).await;
    let error = caller.call(invocation("mirror", "", Body::Empty)).await.expect_err("closed");
    assert_eq!(error.kind, CallErrorKind::NoTarget);
}

#[tokio::test]
async fn what_is_no_message_closes_the_channel() {
    let garbage: [&[u8]; 6] = [b"\x00garbage", &[0xff; 40], &[1; 26], &[1, 99], b"\x01", &[0; 400_000]];
    for message in garbage {
        let mut raw = Raw::open();
        let pending = tokio::spawn({
            let channel = raw.channel.clone();
            async move { channel.call(invocation("mirror", "", Body::Empty)).await.expect_err("never answered").kind }
        });
        raw.receive().await;
        raw.send(message).await;
        raw.until_closed().await;
        assert_eq!(pending.await.expect("no panic"), CallErrorKind::UnknownOutcome);
        assert!(raw.controls.recv().await.is_none());
    }
    let mut raw = Raw::open();
    raw.socket.write_all(&u32::MAX.to_be_bytes()).await.expect("written");
    assert!(raw.until_closed().await.contains("4294967295"));
}

#[tokio::test]
async fn a_flood_of_control_messages_closes_the_channel() {
    let mut raw = Raw::open();
    for _ in 0..100 {
        raw.send(b"{}").await;
    }
    assert!(raw.until_closed().await.contains("control messages"));
}

#[tokio::test]
async fn calls_beyond_the_bound_are_overloaded_and_cancel_makes_room() {
    let mut raw = Raw::open();
    let mut ids = Vec::new();
    for _ in 0..MAX_CALLS {
        ids.push(raw.call("never", Part::Empty).await);
    }
    let refused = raw.call("never", Part::Empty).await;
    let answer = raw.receive().await;
    let (Prefix { kind, id, .. }, content) = Prefix::read(&answer).expect("a frame");
    assert_eq!((kind, id), (Kind::Error, refused));
    assert_eq!(decode_error(content).expect("an error").kind, CallErrorKind::Overloaded);
    raw.send(&encode_bare(prefix(Kind::Cancel, ids[0]))).await;
    until("room is made", || raw.doing.load(Ordering::SeqCst) == MAX_CALLS - 1).await;
    let answered = raw.call("mirror", Part::Empty).await;
    let answer = raw.receive().await;
    let (Prefix { kind, id, .. }, content) = Prefix::read(&answer).expect("a frame");
    assert_eq!((kind, id), (Kind::Reply, answered));
    assert_eq!(ReplyFrame::decode(content).expect("an answer").body, Part::Empty);
}

#[tokio::test]
async fn more_of_a_body_than_was_granted_breaks_it_off_and_nothing_else() {
    let mut raw = Raw::open();
    let channel = raw.channel.clone();
    let call = tokio::spawn(async move { channel.call(invocation("mirror", "", Body::Empty)).await });
    let frame = raw.receive().await;
    let id = Prefix::read(&frame).expect("a frame").0.id;
    let reply = ReplyFrame { value: Value::Inline(b"\xa1x"), body: Part::Streamed(None) };
    raw.send(&reply.encode(Tag::default(), id)).await;
    let mut body = call.await.expect("no panic").expect("an answer").body;
    // Nothing is read yet, so that nothing is granted beyond the first window of 1 MiB.
    let data = vec![0; 256 << 10];
    for sequence in 0..5 {
        raw.send(&Chunk { sequence, data: &data }.encode(prefix(Kind::Chunk, id))).await;
    }
    let answered = raw.call("mirror", Part::Empty).await;
    let message = raw.receive().await;
    assert_eq!(Prefix::read(&message).expect("a frame").0, prefix(Kind::Reply, answered), "the channel goes on");
    let mut received = 0;
    let error = loop {
        match body.frame().await.expect("it does not end well") {
            Ok(frame) => received += frame.into_data().expect("data").len(),
            Err(error) => break error,
        }
    };
    assert_eq!((received, error.kind), (4 * data.len(), CallErrorKind::TooLarge));
}

#[tokio::test]
async fn empty_chunks_without_end_last_as_long_as_their_caller_waits() {
    let mut raw = Raw::open();
    let channel = raw.channel.clone();
    let wait = Duration::from_millis(300);
    let call =
        tokio::spawn(tokio::time::timeout(
            wait,
            async move { channel.call(invocation("mirror", "", Body::Empty)).await },
        ));
    let frame = raw.receive().await;
    let id = Prefix::read(&frame).expect("a frame").0.id;
    // A value of ten bytes, none of which comes.
    let reply = ReplyFrame { value: Value::Streamed(10), body: Part::Streamed(None) };
    raw.send(&reply.encode(Tag::default(), id)).await;
    let mut sequence = 0;
    while !call.is_finished() {
        raw.send(&Chunk { sequence, data: &[] }.encode(prefix(Kind::Chunk, id))).await;
        sequence += 1;
        // Fewer in all than a window has room for: it is not for too many that the call ends.
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert!(call.await.expect("no panic").is_err(), "the time was over");
    let said = async { while Prefix::read(&raw.receive().await).expect("a frame").0.kind != Kind::Cancel {} };
    tokio::time::timeout(PATIENCE, said).await.expect("the other end is told that the caller left");
}

#[tokio::test]
async fn empty_chunks_that_nobody_reads_break_the_body_off() {
    let mut raw = Raw::open();
    let channel = raw.channel.clone();
    let call = tokio::spawn(async move { channel.call(invocation("mirror", "", Body::Empty)).await });
    let frame = raw.receive().await;
    let id = Prefix::read(&frame).expect("a frame").0.id;
    let reply = ReplyFrame { value: Value::Inline(b"\xa1x"), body: Part::Streamed(None) };
    raw.send(&reply.encode(Tag::default(), id)).await;
    let mut body = call.await.expect("no panic").expect("an answer").body;
    for sequence in 0..=WINDOW_BYTES / MIN_CHUNK_COST_BYTES {
        raw.send(&Chunk { sequence, data: &[] }.encode(prefix(Kind::Chunk, id))).await;
    }
    // What was sent before this is done with when it is answered.
    raw.call("mirror", Part::Empty).await;
    raw.receive().await;
    let error = body.frame().await.expect("it does not end well").expect_err("it breaks off");
    assert_eq!(error.kind, CallErrorKind::TooLarge);
}
