//! Peers that hang, leave or come back, and who is called then.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use trellis_lattice::error::{CallErrorKind, ErrorKind};
use trellis_lattice::identity::key::{Key, KeyKind};
use trellis_lattice::message::invocation::Invocation;
use trellis_lattice::rpc::Peer;
use trellis_lattice::subject;
use trellis_lattice::transport::memory::MemoryBus;
use trellis_lattice::transport::memory::faults::{Faults, Rates};

use crate::support::{Authority, Net, TARGET, call, calling, on_both, pair, produced, serving, until};

/// Ends a peer without a goodbye, and waits until its subscriptions are gone.
async fn kill(net: &Net, authority: &Authority, peer: Arc<Peer>) {
    let inbox = subject::inbox(&authority.lattice, peer.id());
    drop(peer);
    let probe = net.connect("probe").await;
    let is_gone = async || {
        let answer = probe.request(inbox.clone(), Bytes::new(), Duration::from_millis(20)).await;
        answer.is_err_and(|error| error.kind() == ErrorKind::NoResponders)
    };
    while !is_gone().await {}
}

async fn a_call_to_a_peer_that_was_killed_goes_to_another(net: &Net) {
    let authority = Authority::new();
    let host = || authority.join(&Key::generate(KeyKind::Host));
    let (first, _) = serving(net.connect("first").await, host()).await;
    let (second, functions) = serving(net.connect("second").await, host()).await;
    let caller = calling(net.connect("caller").await, authority.join(&Key::generate(KeyKind::User))).await;
    until("both are known", || caller.present().iter().filter(|p| !p.running.is_empty()).count() == 2).await;
    kill(net, &authority, first).await;
    for _ in 0..20 {
        caller.call(call("echo", "")).await.unwrap();
    }
    assert_eq!(functions.started.load(Ordering::SeqCst), 20);
    kill(net, &authority, second).await;
    assert_eq!(caller.call(call("echo", "")).await.unwrap_err().kind, CallErrorKind::NoTarget);
}

async fn a_stream_with_nothing_in_it_goes_along_to_another(net: &Net) {
    let authority = Authority::new();
    let host = || authority.join(&Key::generate(KeyKind::Host));
    let (first, _) = serving(net.connect("first").await, host()).await;
    let (_second, functions) = serving(net.connect("second").await, host()).await;
    let caller = calling(net.connect("caller").await, authority.join(&Key::generate(KeyKind::User))).await;
    until("both are known", || caller.present().iter().filter(|p| !p.running.is_empty()).count() == 2).await;
    kill(net, &authority, first).await;
    for _ in 0..20 {
        let answer = caller.call(Invocation { body: produced(0), ..call("count", "") }).await.unwrap();
        assert_eq!(answer.value, 0_u64.to_be_bytes().to_vec());
    }
    assert_eq!(functions.started.load(Ordering::SeqCst), 20);
}

async fn calls_that_were_sent_together_learn_together_that_nobody_is_there(net: &Net) {
    let (caller, server, _) = pair(net).await;
    let authority = Authority::new();
    kill(net, &authority, server).await;
    let calls = (0..50).map(|_| caller.call(call("echo", "")));
    for answer in futures::future::join_all(calls).await {
        assert_eq!(answer.unwrap_err().kind, CallErrorKind::NoTarget, "long before the time is over");
    }
}

async fn after_a_restart_calls_work_at_once(net: &Net) {
    let authority = Authority::new();
    let key = Key::generate(KeyKind::Host);
    let caller = calling(net.connect("caller").await, authority.join(&Key::generate(KeyKind::User))).await;
    for _ in 0..3 {
        let (server, functions) = serving(net.connect("server").await, authority.join(&key)).await;
        let boot = || caller.present().first().map(|p| (p.boot, p.running.len()));
        until("it is known", || boot().is_some_and(|(_, running)| running == 1)).await;
        caller.call(call("echo", "")).await.unwrap();
        assert_eq!(functions.started.load(Ordering::SeqCst), 1);
        let before = boot();
        kill(net, &authority, server).await;
        let (_server, functions) = serving(net.connect("server").await, authority.join(&key)).await;
        until("the new run is known", || boot() != before && boot().is_some_and(|(_, n)| n == 1)).await;
        caller.call(call("echo", "")).await.unwrap();
        assert_eq!(functions.started.load(Ordering::SeqCst), 1);
    }
}

async fn a_call_in_flight_to_a_peer_that_restarts_has_an_unknown_outcome(net: &Net) {
    let authority = Authority::new();
    let key = Key::generate(KeyKind::Host);
    let (server, functions) = serving(net.connect("server").await, authority.join(&key)).await;
    let caller = calling(net.connect("caller").await, authority.join(&Key::generate(KeyKind::User))).await;
    let hanging = {
        let caller = Arc::clone(&caller);
        tokio::spawn(async move { caller.call(call("hang", "")).await })
    };
    until("the call is served", || functions.running.load(Ordering::SeqCst) == 1).await;
    kill(net, &authority, server).await;
    let _again = serving(net.connect("server").await, authority.join(&key)).await;
    assert_eq!(hanging.await.unwrap().unwrap_err().kind, CallErrorKind::UnknownOutcome);
}

async fn an_idempotent_call_is_repeated_where_the_first_was_lost(net: &Net) {
    let authority = Authority::new();
    let (server, functions) = serving(net.connect("s").await, authority.join(&Key::generate(KeyKind::Host))).await;
    let caller = calling(net.connect("caller").await, authority.join(&Key::generate(KeyKind::User))).await;
    let calling = {
        let caller = Arc::clone(&caller);
        let mut invocation = call("hang", "");
        invocation.head.context.idempotency_key = Some("once".into());
        invocation.head.context.deadline = tokio::time::Instant::now() + Duration::from_secs(8);
        tokio::spawn(async move { caller.call(invocation).await })
    };
    until("the call is served", || functions.running.load(Ordering::SeqCst) == 1).await;
    let (_other, other) = serving(net.connect("o").await, authority.join(&Key::generate(KeyKind::Host))).await;
    until("both are known", || caller.present().iter().filter(|p| !p.running.is_empty()).count() == 2).await;
    server.leave(Duration::ZERO).await;
    until("it is served elsewhere", || other.running.load(Ordering::SeqCst) == 1).await;
    calling.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_is_silent_is_left_and_comes_back() {
    let faults = Faults::new(1, Rates::default());
    let net = Net::Memory(MemoryBus::with_faults(faults.clone()));
    let (caller, _server, functions) = pair(&net).await;
    caller.call(call("echo", "")).await.unwrap();
    let hanging = {
        let caller = Arc::clone(&caller);
        tokio::spawn(async move { caller.call(call("hang", "")).await })
    };
    until("the call is served", || functions.running.load(Ordering::SeqCst) == 1).await;
    faults.partition("caller", "server");
    assert_eq!(hanging.await.unwrap().unwrap_err().kind, CallErrorKind::UnknownOutcome);
    assert!(caller.present().is_empty());
    until("the server has left the caller too", || functions.running.load(Ordering::SeqCst) == 0).await;
    faults.heal_all();
    until("they see each other again", || !caller.present().is_empty()).await;
    caller.call(call("echo", "")).await.unwrap();
}

on_both!(
    calls_that_were_sent_together_learn_together_that_nobody_is_there,
    a_call_to_a_peer_that_was_killed_goes_to_another,
    a_stream_with_nothing_in_it_goes_along_to_another,
    after_a_restart_calls_work_at_once,
    a_call_in_flight_to_a_peer_that_restarts_has_an_unknown_outcome,
    an_idempotent_call_is_repeated_where_the_first_was_lost,
);

#[tokio::test(start_paused = true)]
async fn who_has_just_joined_waits_for_presence_that_is_on_its_way() {
    let net = Net::Memory(MemoryBus::new());
    let authority = Authority::new();
    let caller = calling(net.connect("caller").await, authority.join(&Key::generate(KeyKind::User))).await;
    let target = TARGET.parse().unwrap();
    let server = async {
        // Longer than joining waits, shorter than it takes to be sure that nobody runs the target.
        tokio::time::sleep(Duration::from_millis(600)).await;
        serving(net.connect("server").await, authority.join(&Key::generate(KeyKind::Host))).await
    };
    let ((), _server) = tokio::join!(caller.until_known(&target), server);
    assert_eq!(caller.present().iter().flat_map(|p| &p.running).filter(|running| running.id == target).count(), 1);
    let missing = "nobody-runs-it".parse().unwrap();
    caller.until_known(&missing).await;
}
