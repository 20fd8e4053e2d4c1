//! What only the embedded store has: its file, and when that is written.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use trellis_interfaces::keyvalue::{Get, STORE};
use trellis_provider_keyvalue::factory;
use trellis_provider_sdk::testing::{as_source, environment, invocation, nobody};
use trellis_provider_sdk::{ActiveLink, CallErrorKind, LinkError, Provider};

use crate::support::{Actor, bytes};

fn start(directory: &Path) -> Arc<dyn Provider> {
    factory()(environment("keyvalue", directory, nobody())).unwrap()
}

fn linked(actor: &str, pairs: &[(&str, &str)]) -> ActiveLink {
    Actor::active(actor, pairs)
}

#[tokio::test(flavor = "multi_thread")]
async fn data_are_there_after_a_restart() {
    for fsync in ["always", "interval:10s", "never"] {
        let data = tempfile::tempdir().unwrap();
        let provider = start(data.path());
        let actor = Actor::linked(&provider, "a", &[("fsync", fsync)]).await.unwrap();
        actor.set("k", b"v").await.unwrap();
        provider.drain(Duration::from_secs(10)).await;
        let refused = provider.call(invocation(&actor.link, STORE, "get", &Get { bucket: "b", key: "k" }));
        assert_eq!(refused.await.expect_err("closed").kind, CallErrorKind::NoTarget);
        let actor = Actor::linked(&start(data.path()), "a", &[]).await.unwrap();
        assert_eq!(actor.get("k").await, Ok(bytes("v")), "{fsync}");
    }
}

/// A copy of the file at this moment is what a crash would leave.
async fn after_a_crash(directory: &Path) -> (tempfile::TempDir, Actor) {
    let copy = tempfile::tempdir().unwrap();
    std::fs::copy(directory.join("keyvalue.redb"), copy.path().join("keyvalue.redb")).unwrap();
    let actor = Actor::linked(&start(copy.path()), "a", &[]).await.unwrap();
    (copy, actor)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_loses_nothing_that_was_synced() {
    let data = tempfile::tempdir().unwrap();
    let provider = start(data.path());
    let careful = Actor::linked(&provider, "careful", &[]).await.unwrap();
    careful.set("k", b"v").await.unwrap();
    let (_copy, survivor) = after_a_crash(data.path()).await;
    assert_eq!(survivor.get("k").await, Ok(bytes("v")));

    let timed = Actor::linked(&provider, "timed", &[("fsync", "interval:20ms")]).await.unwrap();
    timed.set("later", b"v").await.unwrap();
    let synced = async {
        while after_a_crash(data.path()).await.1.get("later").await != Ok(bytes("v")) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), synced).await.expect("synced by its interval");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_another_holds_fails_the_link_and_is_named() {
    let data = tempfile::tempdir().unwrap();
    let first = start(data.path());
    first.link_up(&linked("a", &[])).await.unwrap();
    let second = start(data.path());
    let error = second.link_up(&linked("a", &[])).await.expect_err("locked").to_string();
    assert!(error.contains("keyvalue.redb") && error.contains("locked by another process"), "{error}");
    first.drain(Duration::from_secs(10)).await;
    second.link_up(&linked("a", &[])).await.expect("the file is free now");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_goes_from_provider_to_provider_with_the_last_link_that_has_it() {
    let data = tempfile::tempdir().unwrap();
    let (old, new) = (start(data.path()), start(data.path()));
    let actor = Actor::linked(&old, "a", &[]).await.unwrap();
    old.link_up(&linked("b", &[])).await.unwrap();
    actor.set("k", b"v").await.unwrap();
    let is_held = |outcome| matches!(outcome, Err(LinkError::Held(_)));
    assert!(is_held(new.link_up(&linked("a", &[])).await));
    old.link_down(&linked("a", &[])).await;
    assert!(is_held(new.link_up(&linked("a", &[])).await), "another link has it still");
    old.link_down(&linked("b", &[])).await;
    let actor = Actor::linked(&new, "a", &[]).await.expect("the file is free now");
    assert_eq!(actor.get("k").await, Ok(bytes("v")));
    assert!(is_held(old.link_up(&linked("a", &[])).await));
    new.link_down(&linked("a", &[])).await;
    let actor = Actor::linked(&old, "a", &[]).await.expect("and back");
    assert_eq!(actor.get("k").await, Ok(bytes("v")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_none_of_ours_is_named_and_left_alone() {
    let data = tempfile::tempdir().unwrap();
    let path = data.path().join("keyvalue.redb");
    std::fs::write(&path, "something else, rather long".repeat(100)).unwrap();
    let error = start(data.path()).link_up(&linked("a", &[])).await.expect_err("no database").to_string();
    assert!(error.contains("keyvalue.redb"), "{error}");
    assert!(std::fs::read(&path).unwrap().starts_with(b"something else"));
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_are_listed_in_the_order_in_which_they_were_first_written() {
    let data = tempfile::tempdir().unwrap();
    let actor = Actor::linked(&start(data.path()), "a", &[("fsync", "never")]).await.unwrap();
    for key in ["z", "a", "m", "a", "z"] {
        actor.set(key, b"v").await.unwrap();
    }
    assert_eq!(actor.list_all().await, ["z", "a", "m"]);
    assert_eq!(actor.list(Some(u64::MAX)).await.keys, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_store_has_not_is_refused_when_the_link_is_put() {
    let data = tempfile::tempdir().unwrap();
    let provider = start(data.path());
    for (key, value) in [("fsync", "maybe"), ("ttl", "1h"), ("backend", "etcd")] {
        let error = provider.link_up(&linked("a", &[(key, value)])).await.expect_err("config");
        assert!(matches!(&error, LinkError::Config { key: named, .. } if named == key), "{error}");
    }
    assert!(provider.link_up(&as_source(Actor::link_of("a"), &[])).await.is_err());
}
