//! Calls between hosts: over links only, and held against them at both ends.

use std::sync::Arc;
use std::time::Duration;

use trellis_lattice::error::CallErrorKind;
use trellis_lattice::identity::key::{Key, KeyKind};
use trellis_lattice::identity::peer::Identity;
use trellis_lattice::message::command::DeleteLink;
use trellis_lattice::message::presence::{Running, State};

use crate::cluster::{Cluster, eventually, link, now, provider, scale};
use crate::guests;
use crate::rogue::{self, invocation, join, seen};

#[tokio::test]
async fn an_actor_on_another_host_is_called_over_a_link_and_not_after_it_is_gone() {
    let cluster = Cluster::new();
    let (a, b) = (cluster.host("a").await, cluster.host("b").await);
    let client = cluster.client();
    client.start_provider(&provider(a.id(), "probe", "probe")).await.expect("the provider starts");
    let echo = cluster.actor("echo", &guests::echo(), None);
    client.scale(&scale(b.id(), "echo", &echo, 4)).await.expect("the actor starts");

    let call = ("probe", "test:echo/echo");
    let error = cluster.call(call.0, call.1, "early").await.expect_err("nothing is linked");
    assert_eq!(error.kind, CallErrorKind::NoTarget);

    let probe_to_echo = link("probe", "test:echo/echo", "echo");
    client.put_link(&probe_to_echo).await.expect("the link is put");
    assert_eq!(cluster.call_until(call, Result::is_ok).await.as_deref(), Ok("hello"));

    let which = DeleteLink {
        source_id: probe_to_echo.source_id.clone(),
        name: Default::default(),
        wit_namespace: "test".to_owned(),
        wit_package: "echo".to_owned(),
    };
    client.delete_link(&which).await.expect("the link is deleted");
    let gone = cluster.call_until(call, Result::is_err).await.expect_err("refused");
    assert_eq!(gone.kind, CallErrorKind::NoTarget);
    a.stop(Duration::from_secs(1)).await;
    b.stop(Duration::from_secs(1)).await;
}

#[tokio::test]
async fn an_actor_calls_a_provider_on_another_host() {
    let cluster = Cluster::new();
    let (a, b) = (cluster.host("a").await, cluster.host("b").await);
    let client = cluster.client();
    client.start_provider(&provider(a.id(), "probe", "probe")).await.expect("starts");
    client.start_provider(&provider(a.id(), "echo", "echo")).await.expect("starts");
    client
        .put_config(&"greet".parse().expect("valid"), &[("greeting".to_owned(), "hey ".to_owned())].into())
        .await
        .expect("put");
    let mut front_to_echo = link("front", "test:echo/echo", "echo");
    front_to_echo.target_config = vec!["greet".parse().expect("valid")];
    client.put_link(&front_to_echo).await.expect("put");
    client.put_link(&link("probe", "test:front/front", "front")).await.expect("put");
    let front = cluster.actor("front", &guests::front(), Some(&["test:echo/*"]));
    client.scale(&scale(b.id(), "front", &front, 4)).await.expect("starts");
    let expected = |outcome: &Result<String, _>| outcome.as_deref().is_ok_and(|text| text == "hey hello");
    cluster.call_until(("probe", "test:front/front"), expected).await.expect("answers");

    // Another greeting reaches the provider without anyone restarting anything.
    client
        .put_config(&"greet".parse().expect("valid"), &[("greeting".to_owned(), "oh ".to_owned())].into())
        .await
        .expect("put");
    let expected = |outcome: &Result<String, _>| outcome.as_deref().is_ok_and(|text| text == "oh hello");
    cluster.call_until(("probe", "test:front/front"), expected).await.expect("answers");
}

#[tokio::test]
async fn values_up_to_16_mib_cross_and_larger_ones_are_refused() {
    let cluster = Cluster::new();
    let (a, b) = (cluster.host("a").await, cluster.host("b").await);
    let client = cluster.client();
    client.start_provider(&provider(a.id(), "probe", "probe")).await.expect("starts");
    client.start_provider(&provider(b.id(), "echo", "echo")).await.expect("starts");
    client.put_link(&link("probe", "test:echo/echo", "echo")).await.expect("put");
    let call = ("probe", "test:echo/echo");
    cluster.call_until(call, Result::is_ok).await.expect("answers");
    for bytes in [511 << 10, 513 << 10, 3 << 20, (16 << 20) - 64] {
        let text = "0123456789abcdef".repeat(bytes / 16);
        let answer = cluster.call(call.0, call.1, &text).await.expect("fits");
        assert!(answer == text, "{bytes} bytes came back changed");
    }
    let text = "x".repeat((16 << 20) + 1);
    let error = cluster.call(call.0, call.1, &text).await.expect_err("too large");
    assert_eq!(error.kind, CallErrorKind::TooLarge, "{error}");
    assert_eq!(cluster.call(call.0, call.1, "small").await.as_deref(), Ok("small"), "the next one is fine");
}

#[tokio::test]
async fn a_host_that_forges_a_source_is_refused_by_the_receiver() {
    let cluster = Cluster::new();
    let a = cluster.host("a").await;
    let client = cluster.client();
    client.start_provider(&provider(a.id(), "echo", "echo")).await.expect("starts");
    client.put_link(&link("front", "test:echo/echo", "echo")).await.expect("put");

    let rogue = rogue::host(&cluster).await;
    let kind = |source: &'static str| {
        let rogue = Arc::clone(&rogue);
        async move { rogue.call(invocation(source, "echo")).await.map_err(|error| error.kind).map(drop) }
    };
    seen(&rogue).await;
    assert_eq!(kind("front").await, Err(CallErrorKind::Denied), "it does not run front");
    // Whoever says that it runs the source is believed; then the link decides.
    rogue.announce(State::Ready, vec![Running { id: "front".parse().expect("valid"), exports: Vec::new() }]);
    eventually(|| async { kind("front").await.map_err(|kind| format!("{kind:?}")) }).await;
    rogue.announce(State::Ready, vec![Running { id: "other".parse().expect("valid"), exports: Vec::new() }]);
    assert_eq!(kind("other").await, Err(CallErrorKind::Denied), "other is not linked");
    rogue.leave(Duration::ZERO).await;
}

#[tokio::test]
async fn a_caller_calls_what_its_token_grants_and_nothing_else() {
    let cluster = Cluster::new();
    let a = cluster.host("a").await;
    let client = cluster.client();
    client.start_provider(&provider(a.id(), "echo", "echo")).await.expect("starts");
    client.start_provider(&provider(a.id(), "echo2", "echo")).await.expect("starts");

    let key = Key::generate(KeyKind::User);
    let token = cluster.token(&key, |claims| {
        claims.entity = Some("cli".parse().expect("valid"));
        claims.call = vec!["echo/test:echo/*".to_owned()];
    });
    let caller = join(&cluster, Identity::new(&key, token, now()).expect("valid")).await;
    seen(&caller).await;
    let answer = caller.call(invocation("cli", "echo")).await.expect("granted");
    assert_eq!(rmp_serde::from_slice::<String>(&answer.value).expect("a string"), "hello");
    for (source, target) in [("cli", "echo2"), ("front", "echo")] {
        let error = caller.call(invocation(source, target)).await.expect_err("not granted");
        assert_eq!(error.kind, CallErrorKind::Denied, "{source} → {target}: {error}");
    }
}
