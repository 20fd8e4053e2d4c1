//! Calls between peers: answers, typed errors, deadlines and cancellation.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use trellis_lattice::error::CallErrorKind;
use trellis_lattice::id::EntityId;
use trellis_lattice::identity::key::{Key, KeyKind};
use trellis_lattice::message::invocation::{Context, MAX_DEPTH};
use trellis_lattice::message::presence::State;

use crate::support::{Authority, Net, call, calling, drain, on_both, pair, serving, until};

async fn a_call_is_answered(net: &Net) {
    let (caller, _server, _) = pair(net).await;
    let mut invocation = call("echo", "value");
    invocation.body = Bytes::from_static(b"body").into();
    let answer = caller.call(invocation).await.unwrap();
    assert_eq!(answer.value, "value");
    assert_eq!(drain(answer.body).await.unwrap().0, 4);
}

async fn a_thousand_calls_at_a_time_are_answered(net: &Net) {
    let (caller, _server, _) = pair(net).await;
    let calls = (0..1000_u32).map(|i| {
        let caller = Arc::clone(&caller);
        tokio::spawn(async move {
            let value = Bytes::from(i.to_be_bytes().to_vec());
            assert_eq!(caller.call(call("echo", value.clone())).await.unwrap().value, value);
        })
    });
    for call in calls.collect::<Vec<_>>() {
        call.await.unwrap();
    }
}

async fn peers_that_call_each_other_do_not_mix_calls_and_answers(net: &Net) {
    let authority = Authority::new();
    let host = || authority.join(&Key::generate(KeyKind::Host));
    let peers =
        [serving(net.connect("one").await, host()).await.0, serving(net.connect("other").await, host()).await.0];
    for peer in &peers {
        until("each knows the other", || peer.present().iter().any(|p| !p.running.is_empty())).await;
    }
    let both = peers.iter().flat_map(|peer| (0..500_u32).map(move |i| (peer, i)));
    let calls = both.map(|(peer, i)| async move {
        let value = Bytes::from(i.to_be_bytes().to_vec());
        assert_eq!(peer.call(call("echo", value.clone())).await.unwrap().value, value);
    });
    futures::future::join_all(calls).await;
    for peer in &peers {
        let refused = peer.refused();
        assert_eq!((refused.malformed, refused.unsealed, refused.strange, refused.replayed), (0, 0, 0, 0));
    }
}

async fn errors_arrive_as_they_are(net: &Net) {
    let (caller, server, _) = pair(net).await;
    let error = caller.call(call("fail", "")).await.unwrap_err();
    assert_eq!((error.kind, &*error.message), (CallErrorKind::Provider, "it does not work"));
    assert_eq!(caller.call(call("panic", "")).await.unwrap_err().kind, CallErrorKind::Trap);
    assert!(caller.call(call("echo", "")).await.is_ok(), "a panic in one call disturbs no other");
    until("no call is left", || server.in_service() == 0).await;
}

async fn nobody_runs_what_nobody_runs(net: &Net) {
    let (caller, _server, _) = pair(net).await;
    let mut invocation = call("echo", "");
    invocation.head.target = EntityId::parse("nobody").unwrap();
    let error = caller.call(invocation).await.unwrap_err();
    assert_eq!(error.kind, CallErrorKind::NoTarget);
    assert!(error.message.contains("nobody"), "{error}");
}

async fn time_that_is_over_ends_the_call_at_both_ends(net: &Net) {
    let (caller, server, functions) = pair(net).await;
    let mut invocation = call("hang", "");
    invocation.head.context = Context::root(Duration::from_millis(100));
    assert_eq!(caller.call(invocation).await.unwrap_err().kind, CallErrorKind::Deadline);
    until("the task is gone", || functions.running.load(Ordering::SeqCst) == 0 && server.in_service() == 0).await;
    assert_eq!(functions.started.load(Ordering::SeqCst), 1);
}

async fn a_caller_that_leaves_frees_the_servers_task(net: &Net) {
    let (caller, server, functions) = pair(net).await;
    let leaving = {
        let caller = Arc::clone(&caller);
        tokio::spawn(async move { caller.call(call("hang", "")).await })
    };
    until("the call is served", || functions.running.load(Ordering::SeqCst) == 1).await;
    leaving.abort();
    until("the task is gone", || functions.running.load(Ordering::SeqCst) == 0 && server.in_service() == 0).await;
}

async fn calls_that_are_nested_too_deep_are_refused(net: &Net) {
    let (caller, _server, functions) = pair(net).await;
    let mut invocation = call("echo", "");
    invocation.head.context.depth = MAX_DEPTH + 1;
    assert_eq!(caller.call(invocation).await.unwrap_err().kind, CallErrorKind::Denied);
    assert_eq!(functions.started.load(Ordering::SeqCst), 0);
}

async fn who_drains_finishes_what_it_has_and_takes_no_more(net: &Net) {
    let (caller, server, functions) = pair(net).await;
    let hanging = {
        let caller = Arc::clone(&caller);
        tokio::spawn(async move { caller.call(call("hang", "")).await })
    };
    until("the call is served", || functions.running.load(Ordering::SeqCst) == 1).await;
    server.announce(State::Draining, Vec::new());
    until("the caller knows", || caller.present().iter().any(|p| p.state == State::Draining)).await;
    assert_eq!(caller.call(call("echo", "")).await.unwrap_err().kind, CallErrorKind::NoTarget);
    server.leave(Duration::from_millis(50)).await;
    assert_eq!(hanging.await.unwrap().unwrap_err().kind, CallErrorKind::UnknownOutcome);
    until("it is gone", || caller.present().is_empty()).await;
}

async fn a_peer_of_another_authority_is_nobody(net: &Net) {
    let (caller, server, _) = pair(net).await;
    let stranger = Authority::new();
    let join = stranger.join(&Key::generate(KeyKind::Host));
    let (other, _) = serving(net.connect("other").await, join).await;
    until("it was refused", || server.refused().untrusted > 0 && caller.refused().untrusted > 0).await;
    assert_eq!(caller.present().len(), 1);
    let error = other.call(call("echo", "")).await.unwrap_err();
    assert_eq!(error.kind, CallErrorKind::NoTarget, "{error}");
    let late = calling(net.connect("late").await, stranger.join(&Key::generate(KeyKind::User))).await;
    until("it sees its own kind", || late.present().len() == 1).await;
}

on_both!(
    a_call_is_answered,
    a_thousand_calls_at_a_time_are_answered,
    peers_that_call_each_other_do_not_mix_calls_and_answers,
    errors_arrive_as_they_are,
    nobody_runs_what_nobody_runs,
    time_that_is_over_ends_the_call_at_both_ends,
    a_caller_that_leaves_frees_the_servers_task,
    calls_that_are_nested_too_deep_are_refused,
    who_drains_finishes_what_it_has_and_takes_no_more,
    a_peer_of_another_authority_is_nobody,
);
