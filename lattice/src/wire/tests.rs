//! Frames: golden bytes, and what must be refused.

use std::time::Duration;

use proptest::prelude::{any, proptest};
use tokio::time::Instant;
use uuid::Uuid;

use super::flow::{decode_bare, decode_credit, encode_bare, encode_credit};
use super::reply::{decode_error, encode_error};
use super::{
    CallFrame, Chunk, End, Kind, MAX_FRAME_BYTES, MAX_MESSAGE_BYTES, Names, PREFIX_BYTES, Part, Prefix, ReplyFrame,
    SignedPresence, Stamp, Stranger, Tag, Value,
};
use crate::contract::{Interface, Signature};
use crate::error::{CallError, CallErrorKind};
use crate::id::{BootId, EntityId, LatticeName, LinkName, PeerId};
use crate::message::invocation::{Context, Encoding, Head, Trace};
use crate::message::presence::{Presence, Running, State};

const TAG: Tag = Tag([0xa1, 0xa2, 0xa3, 0xa4, 0xa5, 0xa6, 0xa7, 0xa8]);

fn id() -> Uuid {
    Uuid::from_u128(0x0192_0000_0000_7000_8000_0000_0000_0001)
}

fn prefix(kind: Kind) -> Prefix {
    Prefix { kind, tag: TAG, id: id() }
}

fn head() -> Head {
    Head {
        id: id(),
        source: EntityId::parse("caller").unwrap(),
        target: EntityId::parse("greeter").unwrap(),
        link: LinkName::default(),
        interface: Interface::parse("demo:greet/greeter@1.0.0").unwrap(),
        function: "greet".into(),
        signature: Some(Signature([1, 2, 3, 4, 5, 6, 7, 8])),
        encoding: Encoding::Pack,
        attempt: 1,
        grant_epoch: 300,
        context: Context {
            deadline: Instant::now(),
            depth: 2,
            idempotency_key: Some("key".into()),
            trace: Some(Trace { parent: "00-ab-cd-01".into(), state: None }),
        },
    }
}

const STAMP: Stamp = Stamp { sequence: 7, issued_at_ms: 1_700_000_000_000, budget_ms: 10_000 };

fn call_frame() -> Vec<u8> {
    CallFrame::encode(TAG, STAMP, &head(), (Value::Inline(b"\x91\xa3Ada"), Part::Inline(b"body"))).unwrap()
}

fn presence() -> Presence {
    Presence {
        peer: PeerId::parse(&key().public_key()).unwrap(),
        token: "a.b.c".to_owned(),
        boot: BootId([9; 16]),
        started_at_ms: 1_700_000_000_000,
        sequence: 3,
        said_at_ms: 1_700_000_003_000,
        site: Some("edge".to_owned()),
        state: State::Ready,
        running: vec![Running {
            id: EntityId::parse("greeter").unwrap(),
            exports: vec![(Interface::parse("demo:greet/greeter@1.0.0").unwrap(), Some(Signature([1; 8])))],
        }],
    }
}

/// The nkey whose seed is 32 bytes of 7.
fn key() -> nkeys::KeyPair {
    nkeys::KeyPair::new_from_raw(nkeys::KeyPairType::Server, [7; 32]).unwrap()
}

fn sign(bytes: &[u8]) -> Vec<u8> {
    key().sign(bytes).unwrap()
}

fn lattice() -> LatticeName {
    LatticeName::parse("default").unwrap()
}

fn hex(bytes: &[u8]) -> String {
    data_encoding::HEXLOWER.encode(bytes)
}

/// The bytes that PROTOCOL.md shows. Changing them is a new version of the protocol.
#[test]
fn frames_have_the_bytes_of_the_protocol() {
    let error = CallError::overloaded("full", Duration::from_millis(250));
    let trailers = vec![("x", &b"y"[..])];
    let bare = |kind| hex(&encode_bare(prefix(kind)));
    let prefixed = |kind: &str, rest: &str| format!("01{kind}a1a2a3a4a5a6a7a801920000000070008000000000000001{rest}");
    let document = include_str!("../../../PROTOCOL.md");
    for (name, actual) in [
        ("call", hex(&call_frame())),
        ("reply", hex(&ReplyFrame { value: Value::Inline(b"\xc3"), body: Part::Streamed(Some(9)) }.encode(TAG, id()))),
        ("error", hex(&encode_error(prefix(Kind::Error), &error))),
        ("chunk", hex(&Chunk { sequence: 0, data: b"data" }.encode(prefix(Kind::Chunk)))),
        ("end", hex(&End { sequence: 1, trailers }.encode(prefix(Kind::End)).unwrap())),
        ("credit", hex(&encode_credit(prefix(Kind::Credit), 1_310_720))),
        ("presence", hex(&SignedPresence::encode(&presence(), &lattice(), sign))),
    ] {
        let golden = document.lines().find_map(|line| line.strip_prefix(&format!("golden {name} ")));
        assert_eq!(golden, Some(&*actual), "{name}");
    }
    assert_eq!(bare(Kind::Stop), prefixed("08", "c0"));
    assert_eq!(bare(Kind::Cancel), prefixed("09", "c0"));
}

#[test]
fn a_call_is_read_as_it_was_written() {
    let bytes = call_frame();
    let (read, rest) = Prefix::read(&bytes).unwrap();
    assert_eq!(read, prefix(Kind::Call));
    let now = Instant::now();
    let call = CallFrame::decode(read.id, rest, now, &mut Names::default()).unwrap();
    assert_eq!((call.stamp, call.args, call.body), (STAMP, Value::Inline(b"\x91\xa3Ada"), Part::Inline(b"body")));
    let expected = Head { context: Context { deadline: now + Duration::from_secs(10), ..head().context }, ..head() };
    assert_eq!(format!("{:?}", call.head), format!("{expected:?}"));
}

#[test]
fn a_presence_is_read_as_it_was_signed_and_by_nobody_else() {
    let frame = SignedPresence::encode(&presence(), &lattice(), sign);
    let signed = SignedPresence::decode(&frame).unwrap();
    assert_eq!(signed.presence, presence());
    assert!(signed.is_signed(&lattice()));
    assert!(!signed.is_signed(&LatticeName::parse("other").unwrap()));
    for position in 0..frame.len() {
        let mut changed = frame.clone();
        changed[position] ^= 1;
        let accepted = SignedPresence::decode(&changed).is_ok_and(|signed| signed.is_signed(&lattice()));
        assert!(!accepted, "byte {position}");
    }
    let stranger = Stranger::encode(prefix(Kind::Call), &presence(), &lattice(), sign);
    assert!(Stranger::decode(&stranger).unwrap().is_signed(&lattice()));
    let mut about_another_call = stranger.clone();
    about_another_call[PREFIX_BYTES - 1] ^= 1;
    assert!(!Stranger::decode(&about_another_call).unwrap().is_signed(&lattice()));
}

#[test]
fn long_messages_of_errors_are_cut_between_characters() {
    let error = CallError::new(CallErrorKind::Provider, "ä".repeat(MAX_MESSAGE_BYTES));
    let bytes = encode_error(prefix(Kind::Error), &error);
    let read = decode_error(&bytes[PREFIX_BYTES..]).unwrap();
    assert_eq!(read.message, "ä".repeat(MAX_MESSAGE_BYTES / 2));
}

#[test]
fn texts_over_their_limits_are_refused_before_they_are_sent() {
    let mut head = head();
    head.function = "f".repeat(257).into();
    assert!(CallFrame::encode(TAG, STAMP, &head, (Value::Inline(b""), Part::Empty)).is_err());
}

#[test]
fn a_frame_over_the_limit_is_refused() {
    assert!(Prefix::read(&vec![1; MAX_FRAME_BYTES + 1]).is_err());
    assert!(Prefix::read(&vec![1; MAX_FRAME_BYTES]).is_ok());
}

/// Decodes `bytes` as everything that a frame can be.
fn decode_all(bytes: &[u8]) -> bool {
    let Ok((prefix, rest)) = Prefix::read(bytes) else { return false };
    match prefix.kind {
        Kind::Call => CallFrame::decode(prefix.id, rest, Instant::now(), &mut Names::default()).is_ok(),
        Kind::Reply => ReplyFrame::decode(rest).is_ok(),
        Kind::Error | Kind::Abort => decode_error(rest).is_ok(),
        Kind::Chunk => Chunk::decode(rest).is_ok(),
        Kind::End => End::decode(rest).is_ok(),
        Kind::Credit => decode_credit(rest).is_ok(),
        Kind::Stop | Kind::Cancel => decode_bare(rest).is_ok(),
        Kind::Presence => SignedPresence::decode(bytes).is_ok_and(|signed| signed.is_signed(&lattice())),
        Kind::Stranger => Stranger::decode(bytes).is_ok_and(|signed| signed.is_signed(&lattice())),
    }
}

proptest! {
    #[test]
    fn random_bytes_are_refused(kind in 1_u8..12, mut bytes in proptest::collection::vec(any::<u8>(), 40..400)) {
        bytes[0] = 1;
        bytes[1] = kind;
        // A chunk of random bytes may be one; anything with a checked structure is not.
        let accepted = decode_all(&bytes);
        assert!(!accepted || bytes.len() < 80, "{bytes:?}");
    }

    #[test]
    fn changed_calls_never_panic_and_stay_canonical(position in 0_usize..150, value in any::<u8>(), cut in 0_usize..300) {
        let mut bytes = call_frame();
        let position = position % bytes.len();
        bytes[position] = value;
        bytes.truncate(cut.max(1));
        if let Ok((prefix, rest)) = Prefix::read(&bytes)
            && prefix.kind == Kind::Call
            && let Ok(call) = CallFrame::decode(prefix.id, rest, Instant::now(), &mut Names::default())
        {
            let again = CallFrame::encode(prefix.tag, call.stamp, &call.head, (call.args, call.body)).unwrap();
            assert_eq!(again, bytes, "one value has one encoding");
        }
    }

    #[test]
    fn replies_and_flow_are_read_as_written(
        value in proptest::collection::vec(any::<u8>(), 0..2000),
        number in any::<u64>(),
        length in any::<Option<u64>>(),
    ) {
        for value in [Value::Inline(&value), Value::Streamed(number)] {
            for body in [Part::Empty, Part::Inline(b"b"), Part::Streamed(length)] {
                let reply = ReplyFrame { value, body };
                assert_eq!(ReplyFrame::decode(&reply.encode(TAG, id())[PREFIX_BYTES..]).unwrap(), reply);
            }
        }
        let chunk = Chunk { sequence: number, data: &value };
        assert_eq!(Chunk::decode(&chunk.encode(prefix(Kind::Chunk))[PREFIX_BYTES..]).unwrap(), chunk);
        let end = End { sequence: number, trailers: vec![("name", &value), ("other", b"")] };
        assert_eq!(End::decode(&end.encode(prefix(Kind::End)).unwrap()[PREFIX_BYTES..]).unwrap(), end);
        assert_eq!(decode_credit(&encode_credit(prefix(Kind::Credit), number)[PREFIX_BYTES..]).unwrap(), number);
    }
}
