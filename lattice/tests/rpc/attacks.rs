//! Frames made by hand: what a peer of the lattice, or anybody on the bus, may try.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use futures::StreamExt as _;
use trellis_lattice::error::{CallError, CallErrorKind};
use trellis_lattice::identity::key::{Key, KeyKind};
use trellis_lattice::message::presence::State;
use trellis_lattice::subject::{inbox, presence, reply_slot, reply_slots};
use trellis_lattice::transport::memory::MemoryBus;
use trellis_lattice::transport::{Message, Transport as _};
use trellis_lattice::wire::bundle::encode_bundle;
use trellis_lattice::wire::reply::decode_error;
use trellis_lattice::wire::{
    Chunk, End, Kind, MAX_FRAME_BYTES, PREFIX_BYTES, Part, Prefix, ReplyFrame, SignedPresence, Value,
};
use uuid::Uuid;

use crate::scene::{Member, Scene, unix_ms};
use crate::support::{Authority, call, calling, serving, until};

#[tokio::test(flavor = "multi_thread")]
async fn a_genuine_call_of_ours_is_answered() {
    let mut scene = Scene::set().await;
    scene.member.introduce(&scene.server).await;
    let session = scene.member.session(&scene.served_by);
    let frame = session.seal(scene.member.frame(&session, unix_ms()));
    scene.member.send(&scene.served_by, frame).await;
    let answer = scene.member.answer().await;
    let opened = session.open(&answer.payload).unwrap();
    let reply = ReplyFrame::decode(&opened[PREFIX_BYTES..]).unwrap();
    assert_eq!(reply, ReplyFrame { value: Value::Inline(b"value"), body: Part::Empty });
}

#[tokio::test(flavor = "multi_thread")]
async fn changed_frames_are_refused() {
    let mut scene = Scene::set().await;
    scene.member.introduce(&scene.server).await;
    let session = scene.member.session(&scene.served_by);
    let sealed = session.seal(scene.member.frame(&session, unix_ms())).to_vec();
    for position in [1, 11, PREFIX_BYTES, PREFIX_BYTES + 40, sealed.len() - 40, sealed.len() - 1] {
        let mut flipped = sealed.clone();
        // Bit 1 turns the kind "call" into another known one.
        flipped[position] ^= 2;
        scene.refused(flipped, |refused| refused.unsealed).await;
    }
    scene.refused(sealed[..sealed.len() - 1].to_vec(), |refused| refused.unsealed).await;
    scene.refused(sealed[..20].to_vec(), |refused| refused.malformed).await;
    scene.refused([&sealed[..], &[0]].concat(), |refused| refused.unsealed).await;
    scene.refused(vec![1; MAX_FRAME_BYTES + 1], |refused| refused.malformed).await;
    scene.refused(Vec::new(), |refused| refused.malformed).await;
    let mut other_version = sealed.clone();
    other_version[0] = 2;
    scene.refused(other_version, |refused| refused.malformed).await;
    let mut other_session = sealed.clone();
    other_session[5] ^= 1;
    scene.refused(other_session, |refused| refused.strange).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_sealed_but_no_frame_is_refused() {
    let mut scene = Scene::set().await;
    scene.member.introduce(&scene.server).await;
    let session = scene.member.session(&scene.served_by);
    let frame = scene.member.frame(&session, unix_ms());
    let longer = [&frame[..], &[0xc0]].concat();
    scene.refused(session.seal(longer).to_vec(), |refused| refused.malformed).await;
    let shorter = frame[..frame.len() - 1].to_vec();
    scene.refused(session.seal(shorter).to_vec(), |refused| refused.malformed).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frame_counts_once() {
    let mut scene = Scene::set().await;
    scene.member.introduce(&scene.server).await;
    let session = scene.member.session(&scene.served_by);
    let sealed = session.seal(scene.member.frame(&session, unix_ms())).to_vec();
    scene.member.send(&scene.served_by, sealed.clone()).await;
    scene.member.answer().await;
    for _ in 0..5 {
        scene.refused(sealed.clone(), |refused| refused.replayed).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frame_that_comes_back_to_its_sender_is_refused() {
    let scene = Scene::set().await;
    let lattice = &scene.member.authority.lattice;
    let mut seen = scene.bus.endpoint("spy").subscribe(inbox(lattice, &scene.served_by.peer), None).await.unwrap();
    scene.caller.call(call("echo", "")).await.unwrap();
    let message = loop {
        let message = seen.next().await.unwrap();
        if Prefix::read(&message.payload).unwrap().0.kind == Kind::Call {
            break message;
        }
    };
    let caller = scene.server.present().iter().find(|p| p.running.is_empty()).map(Arc::clone).unwrap();
    let before = scene.caller.refused().strange;
    scene.member.send(&caller, message.payload).await;
    until("the caller refuses it", || scene.caller.refused().strange == before + 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_arrives_expired_is_dropped() {
    let mut scene = Scene::set().await;
    scene.member.introduce(&scene.server).await;
    let session = scene.member.session(&scene.served_by);
    let late = session.seal(scene.member.frame(&session, unix_ms() - 6_000)).to_vec();
    scene.refused(late, |refused| refused.expired).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_is_minutes_off_is_named() {
    for (offset_ms, side) in [(-300_000, "behind"), (300_000, "ahead of")] {
        let mut scene = Scene::set().await;
        scene.member.clock_ms = scene.member.clock_ms.saturating_add_signed(offset_ms);
        scene.member.introduce(&scene.server).await;
        let session = scene.member.session(&scene.served_by);
        let issued_at_ms = unix_ms().saturating_add_signed(offset_ms);
        scene.member.send(&scene.served_by, session.seal(scene.member.frame(&session, issued_at_ms))).await;
        let answer = scene.member.answer().await;
        let error = decode_error(&session.open(&answer.payload).unwrap()[PREFIX_BYTES..]).unwrap();
        assert_eq!(error.kind, CallErrorKind::Denied);
        assert!(error.message.contains("clock") && error.message.contains(side), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn clocks_may_differ_by_half_a_minute() {
    for offset_ms in [-30_000, 30_000] {
        let mut scene = Scene::set().await;
        scene.member.clock_ms = scene.member.clock_ms.saturating_add_signed(offset_ms);
        scene.member.introduce(&scene.server).await;
        let session = scene.member.session(&scene.served_by);
        let frame = scene.member.frame(&session, unix_ms().saturating_add_signed(offset_ms));
        scene.member.send(&scene.served_by, session.seal(frame)).await;
        let answer = scene.member.answer().await;
        assert_eq!(Prefix::read(&answer.payload).unwrap().0.kind, Kind::Reply);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_frame_of_a_bundle_is_checked_by_itself() {
    let mut scene = Scene::set().await;
    scene.member.introduce(&scene.server).await;
    let session = scene.member.session(&scene.served_by);
    let frame = || scene.member.frame_of(&session, unix_ms(), (&call("echo", "").head, Part::Empty));
    let genuine = session.seal(frame());
    let mut forged = session.seal(frame()).to_vec();
    *forged.last_mut().unwrap() ^= 1;
    let nested = encode_bundle([(0, &genuine)].into_iter());
    let frames = [genuine.clone(), forged.into(), genuine, nested.into(), session.seal(frame())];
    let bundle = encode_bundle(frames.iter().enumerate().map(|(slot, frame)| (u16::try_from(slot).unwrap(), frame)));
    scene.member.send(&scene.served_by, bundle.clone()).await;
    let mut answered = vec![scene.member.answer().await, scene.member.answer().await];
    answered.retain(|answer| session.open(&answer.payload).is_some());
    assert_eq!(answered.len(), 2, "those that are genuine, once each");
    until("the others are refused", || scene.server.refused().malformed == 1).await;
    let refused = scene.server.refused();
    assert_eq!((refused.unsealed, refused.replayed), (1, 1));
    assert_eq!(scene.functions.started.load(Ordering::SeqCst), 2);
    scene.refused(bundle[..bundle.len() - 1].to_vec(), |refused| refused.malformed).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_go_to_the_caller_only() {
    let mut scene = Scene::set().await;
    scene.member.introduce(&scene.server).await;
    let session = scene.member.session(&scene.served_by);
    let lattice = &scene.member.authority.lattice;
    let frame = session.seal(scene.member.frame(&session, unix_ms()));
    let elsewhere = reply_slot(lattice, &scene.served_by.peer, 0);
    let message = Message::new(inbox(lattice, &scene.served_by.peer), frame).with_reply(elsewhere);
    scene.member.bus.publish(message).await.unwrap();
    until("it is refused", || scene.server.refused().malformed == 1).await;
    assert_eq!(scene.functions.started.load(Ordering::SeqCst), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_declared_gone_by_others() {
    let mut scene = Scene::set().await;
    scene.member.introduce(&scene.server).await;
    let mut forged = (*scene.served_by).clone();
    forged.state = State::Gone;
    forged.sequence += 1_000;
    let lattice = &scene.member.authority.lattice;
    let frame = SignedPresence::encode(&forged, lattice, |bytes| scene.member.key.sign(bytes));
    let before = scene.caller.refused().untrusted;
    scene.member.bus.publish(Message::new(presence(lattice), frame)).await.unwrap();
    until("it is refused", || scene.caller.refused().untrusted == before + 1).await;
    scene.caller.call(call("echo", "")).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn frames_of_an_earlier_run_are_worth_nothing() {
    let bus = MemoryBus::new();
    let authority = Arc::new(Authority::new());
    let key = Key::generate(KeyKind::Host);
    let (server, _) = serving(Arc::new(bus.endpoint("server")), authority.join(&key)).await;
    let mut member = Member::new(&bus, Arc::clone(&authority)).await;
    member.introduce(&server).await;
    let watcher = calling(Arc::new(bus.endpoint("w")), authority.join(&Key::generate(KeyKind::User))).await;
    let of_host = || watcher.present().into_iter().find(|p| p.peer.as_str() == key.public());
    until("the server is known", || of_host().is_some()).await;
    let before = of_host().unwrap();
    let session = member.session(&before);
    let sealed = session.seal(member.frame(&session, unix_ms())).to_vec();
    drop(server);
    let (server, functions) = serving(Arc::new(bus.endpoint("server")), authority.join(&key)).await;
    member.send(&before, sealed).await;
    let answer = member.answer().await;
    assert_eq!(Prefix::read(&answer.payload).unwrap().0.kind, Kind::Stranger);
    assert_eq!((server.refused().strange, functions.started.load(Ordering::SeqCst)), (1, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn forged_answers_are_refused_and_the_genuine_one_arrives() {
    let scene = Scene::set().await;
    let lattice = &scene.member.authority.lattice;
    let mut seen = scene.bus.endpoint("spy").subscribe(inbox(lattice, &scene.served_by.peer), None).await.unwrap();
    let mut answers = scene.bus.endpoint("spy").subscribe(reply_slots(lattice, scene.caller.id()), None).await.unwrap();
    scene.caller.call(call("echo", "")).await.unwrap();
    let (genuine, _) = Prefix::read(&answers.next().await.unwrap().payload).unwrap();
    let mut invocation = call("count", "");
    let (go, wait) = tokio::sync::oneshot::channel::<()>();
    let frames = futures::stream::once(async move {
        wait.await.unwrap();
        Ok(http_body::Frame::data(bytes::Bytes::from_static(b"data")))
    });
    invocation.body = trellis_lattice::body::Body::stream(http_body_util::StreamBody::new(frames));
    let (caller, id) = (Arc::clone(&scene.caller), invocation.head.id);
    let calling = tokio::spawn(async move { caller.call(invocation).await });
    let (prefix, slot) = loop {
        let message = seen.next().await.unwrap();
        let prefix = Prefix::read(&message.payload).unwrap().0;
        if prefix.kind == Kind::Call && prefix.id == id {
            break (prefix, message.reply.unwrap());
        }
    };
    let forged = |tag, id| {
        let mut frame = ReplyFrame { value: Value::Inline(b"forged"), body: Part::Empty }.encode(tag, id);
        frame.extend_from_slice(&[0; 32]);
        frame
    };
    let frames =
        [forged(genuine.tag, prefix.id), forged(prefix.tag, prefix.id), forged(genuine.tag, Uuid::nil()), Vec::new()];
    for frame in frames {
        scene.member.bus.publish(Message::new(slot.clone(), frame)).await.unwrap();
    }
    until("they are refused", || scene.caller.refused().malformed == 1).await;
    let refused = scene.caller.refused();
    assert_eq!((refused.unsealed, refused.strange), (1, 1), "a frame of another call is no offence");
    go.send(()).unwrap();
    assert_eq!(calling.await.unwrap().unwrap().value[..], 4_u64.to_be_bytes());
}

/// Sends a call whose body is these chunks to "late", lets that read when all have arrived, and gives its answer.
async fn count_late(chunks: &[(u64, &[u8])], end: u64) -> Result<u64, CallError> {
    let mut scene = Scene::set().await;
    scene.member.introduce(&scene.server).await;
    let session = scene.member.session(&scene.served_by);
    let head = call("late", "").head;
    let frame = scene.member.frame_of(&session, unix_ms(), (&head, Part::Streamed(None)));
    scene.member.send(&scene.served_by, session.seal(frame)).await;
    let prefix = |kind| Prefix { kind, tag: session.outgoing_tag(), id: head.id };
    for &(sequence, data) in chunks {
        let chunk = Chunk { sequence, data }.encode(prefix(Kind::Chunk));
        scene.member.send(&scene.served_by, session.seal(chunk)).await;
    }
    let end = End { sequence: end, trailers: Vec::new() }.encode(prefix(Kind::End)).unwrap();
    scene.member.send(&scene.served_by, session.seal(end)).await;
    let strange = scene.server.refused().malformed;
    scene.member.send(&scene.served_by, Vec::new()).await;
    until("all has arrived", || scene.server.refused().malformed > strange).await;
    scene.functions.gate.notify_one();
    loop {
        let answer = scene.member.answer().await;
        let opened = session.open(&answer.payload).unwrap();
        let content = &opened[PREFIX_BYTES..];
        match Prefix::read(&answer.payload).unwrap().0.kind {
            Kind::Reply => match ReplyFrame::decode(content).unwrap().value {
                Value::Inline(bytes) => return Ok(u64::from_be_bytes(bytes.try_into().unwrap())),
                value => panic!("{value:?}"),
            },
            Kind::Error => return Err(decode_error(content).unwrap()),
            _ => {}
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_arrives_whole_or_not_at_all() {
    let small: Vec<(u64, &[u8])> = (0..1024).map(|i| (i, &b"x"[..])).collect();
    assert_eq!(count_late(&small, 1024).await, Ok(1024), "a window of the smallest chunks fits");
    let empty: Vec<(u64, &[u8])> = (0..3000).map(|i| (i, &b""[..])).chain([(3000, &b"data"[..])]).collect();
    assert_eq!(count_late(&empty, 3001).await, Ok(4), "signs of life take no room");
    let repeated: Vec<(u64, &[u8])> = vec![(0, b"one"), (0, b"one"), (1, b"two"), (0, b"one")];
    assert_eq!(count_late(&repeated, 2).await, Ok(6), "what comes twice counts once");
    let gap = count_late(&[(0, b"one"), (2, b"three")], 3).await.unwrap_err();
    assert_eq!(gap.kind, CallErrorKind::UnknownOutcome);
    let greedy: Vec<(u64, &[u8])> = (0..1025).map(|i| (i, &b"x"[..])).collect();
    assert_eq!(count_late(&greedy, 1025).await.unwrap_err().kind, CallErrorKind::TooLarge, "more than was granted");
}
