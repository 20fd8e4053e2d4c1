//! The key-value store by its public API, as actors call it.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use trellis_interfaces::keyvalue::{
    ATOMICS, BATCH, Delete, DeleteMany, Error, Exists, Get, GetMany, Increment, KeyResponse, ListKeys, Open, STORE,
    Set, SetMany, Value,
};
use trellis_provider_keyvalue::factory;
use trellis_provider_sdk::testing::{as_source, as_target, environment, invocation, link, nobody, value};
use trellis_provider_sdk::{ActiveLink, CallErrorKind, Link, LinkError, Provider};

const CONTRACTS: [&str; 3] = ["wasi:keyvalue/store", "wasi:keyvalue/atomics", "wasi:keyvalue/batch"];

fn start(directory: &Path) -> Arc<dyn Provider> {
    factory()(environment("keyvalue", directory, nobody())).unwrap()
}

fn link_of(actor: &str) -> Link {
    link(actor, "keyvalue", &CONTRACTS)
}

fn linked(actor: &str, pairs: &[(&str, &str)]) -> ActiveLink {
    as_target(link_of(actor), pairs)
}

/// An actor that calls over its link.
#[derive(Clone)]
struct Actor {
    provider: Arc<dyn Provider>,
    link: Link,
}

impl Actor {
    async fn linked(provider: &Arc<dyn Provider>, actor: &str, pairs: &[(&str, &str)]) -> Self {
        provider.link_up(&linked(actor, pairs)).await.unwrap();
        Self { provider: provider.clone(), link: link_of(actor) }
    }

    async fn call<T: DeserializeOwned>(&self, to: (&str, &str), args: &impl Serialize) -> Result<T, Error> {
        let answer = self.provider.call(invocation(&self.link, to.0, to.1, args)).await.unwrap();
        value(&answer).unwrap()
    }

    async fn get(&self, key: &str) -> Result<Option<Value>, Error> {
        self.call((STORE, "get"), &Get { bucket: "b".into(), key: key.into() }).await
    }

    async fn set(&self, key: &str, value: &[u8]) -> Result<(), Error> {
        let value = Value::copy_from_slice(value);
        self.call((STORE, "set"), &Set { bucket: "b".into(), key: key.into(), value }).await
    }

    async fn increment(&self, key: &str, delta: u64) -> Result<u64, Error> {
        self.call((ATOMICS, "increment"), &Increment { bucket: "b".into(), key: key.into(), delta }).await
    }

    async fn list(&self, cursor: Option<u64>) -> KeyResponse {
        self.call((STORE, "list-keys"), &ListKeys { bucket: "b".into(), cursor }).await.unwrap()
    }
}

fn bytes(text: &str) -> Option<Value> {
    Some(Value::copy_from_slice(text.as_bytes()))
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_set_is_there_until_it_is_deleted() {
    let data = tempfile::tempdir().unwrap();
    let actor = Actor::linked(&start(data.path()), "a", &[]).await;
    assert_eq!(actor.get("k").await, Ok(None));
    assert_eq!(actor.call((STORE, "open"), &Open { bucket: "b".into() }).await, Ok(()));
    for value in ["one", "", "two"] {
        actor.set("k", value.as_bytes()).await.unwrap();
        assert_eq!(actor.get("k").await, Ok(bytes(value)));
    }
    let exists = Exists { bucket: "b".into(), key: "k".into() };
    assert_eq!(actor.call((STORE, "exists"), &exists).await, Ok(true));
    let delete = Delete { bucket: "b".into(), key: "k".into() };
    for _ in 0..2 {
        assert_eq!(actor.call((STORE, "delete"), &delete).await, Ok(()));
        assert_eq!(actor.call((STORE, "exists"), &exists).await, Ok(false));
        assert_eq!(actor.get("k").await, Ok(None));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_increments_lose_nothing() {
    let data = tempfile::tempdir().unwrap();
    let provider = start(data.path());
    let careful = Actor::linked(&provider, "careful", &[]).await;
    let hasty = Actor::linked(&provider, "hasty", &[("fsync", "never")]).await;
    let tasks = (0..64).map(|n| {
        let actor = if n % 2 == 0 { careful.clone() } else { hasty.clone() };
        tokio::spawn(async move {
            let mut seen = Vec::new();
            for _ in 0..20 {
                seen.push(actor.increment("n", 1).await.unwrap());
            }
            seen
        })
    });
    let mut seen = Vec::new();
    for task in tasks.collect::<Vec<_>>() {
        seen.extend(task.await.unwrap());
    }
    seen.sort_unstable();
    assert_eq!(seen, (1..=64 * 20).collect::<Vec<u64>>(), "each number comes once");
    assert_eq!(careful.get("n").await, Ok(bytes("1280")), "as text");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_increment_that_cannot_be_changes_nothing() {
    let data = tempfile::tempdir().unwrap();
    let actor = Actor::linked(&start(data.path()), "a", &[]).await;
    for value in ["ten", "", "-1", "18446744073709551615"] {
        actor.set("k", value.as_bytes()).await.unwrap();
        assert!(matches!(actor.increment("k", 1).await, Err(Error::Other(text)) if text.contains("\"k\"")));
        assert_eq!(actor.get("k").await, Ok(bytes(value)));
    }
    actor.set("k", b"41").await.unwrap();
    assert_eq!(actor.increment("k", 1).await, Ok(42));
    assert_eq!(actor.increment("fresh", 7).await, Ok(7));
}

#[tokio::test(flavor = "multi_thread")]
async fn data_are_there_after_a_restart() {
    for fsync in ["always", "interval:10s", "never"] {
        let data = tempfile::tempdir().unwrap();
        let provider = start(data.path());
        let actor = Actor::linked(&provider, "a", &[("fsync", fsync)]).await;
        actor.set("k", b"v").await.unwrap();
        provider.drain(Duration::from_secs(10)).await;
        let refused =
            provider.call(invocation(&actor.link, STORE, "get", &Get { bucket: "b".into(), key: "k".into() }));
        assert_eq!(refused.await.expect_err("closed").kind, CallErrorKind::NoTarget);
        let actor = Actor::linked(&start(data.path()), "a", &[]).await;
        assert_eq!(actor.get("k").await, Ok(bytes("v")), "{fsync}");
    }
}

/// A copy of the file at this moment is what a crash would leave.
async fn after_a_crash(directory: &Path) -> (tempfile::TempDir, Actor) {
    let copy = tempfile::tempdir().unwrap();
    std::fs::copy(directory.join("keyvalue.redb"), copy.path().join("keyvalue.redb")).unwrap();
    let actor = Actor::linked(&start(copy.path()), "a", &[]).await;
    (copy, actor)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_loses_nothing_that_was_synced() {
    let data = tempfile::tempdir().unwrap();
    let provider = start(data.path());
    let careful = Actor::linked(&provider, "careful", &[]).await;
    careful.set("k", b"v").await.unwrap();
    let (_copy, survivor) = after_a_crash(data.path()).await;
    assert_eq!(survivor.get("k").await, Ok(bytes("v")));

    let timed = Actor::linked(&provider, "timed", &[("fsync", "interval:20ms")]).await;
    timed.set("later", b"v").await.unwrap();
    let synced = async {
        while after_a_crash(data.path()).await.1.get("later").await != Ok(bytes("v")) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), synced).await.expect("synced by its interval");
}

#[tokio::test(flavor = "multi_thread")]
async fn links_see_their_own_prefix_only() {
    let data = tempfile::tempdir().unwrap();
    let provider = start(data.path());
    let shared = Actor::linked(&provider, "shared", &[]).await;
    let also_shared = Actor::linked(&provider, "also-shared", &[]).await;
    let orders = Actor::linked(&provider, "orders", &[("prefix", "orders")]).await;
    let pinned = Actor::linked(&provider, "pinned", &[("bucket", "other")]).await;
    shared.set("k", b"shared").await.unwrap();
    assert_eq!(also_shared.get("k").await, Ok(bytes("shared")));
    assert_eq!(orders.get("k").await, Ok(None));
    assert_eq!(orders.list(None).await.keys, Vec::<String>::new());
    orders.set("k", b"orders").await.unwrap();
    assert_eq!(shared.get("k").await, Ok(bytes("shared")));
    assert_eq!(pinned.get("k").await, Err(Error::NoSuchStore));
    let stranger =
        provider.call(invocation(&link_of("stranger"), STORE, "get", &Get { bucket: "b".into(), key: "k".into() }));
    assert_eq!(stranger.await.expect_err("no link").kind, CallErrorKind::Denied);
    provider.link_down(&linked("shared", &[])).await;
    let gone = provider.call(invocation(&shared.link, STORE, "get", &Get { bucket: "b".into(), key: "k".into() }));
    assert_eq!(gone.await.expect_err("link is gone").kind, CallErrorKind::Denied);
}

#[tokio::test(flavor = "multi_thread")]
async fn listing_page_by_page_misses_no_key_although_others_go() {
    let data = tempfile::tempdir().unwrap();
    let actor = Actor::linked(&start(data.path()), "a", &[("fsync", "never")]).await;
    let name = |n: usize| format!("key-{n}");
    for chunk in (0..2_500).collect::<Vec<_>>().chunks(500) {
        let key_values = chunk.iter().map(|&n| (name(n), Value::from_static(b"v"))).collect();
        actor.call::<()>((BATCH, "set-many"), &SetMany { bucket: "b".into(), key_values }).await.unwrap();
    }
    let (mut listed, mut cursor) = (Vec::new(), None);
    loop {
        let page = actor.list(cursor).await;
        // A caller that empties a bucket deletes what it was shown before it asks for more.
        let keys = page.keys.clone();
        actor.call::<()>((BATCH, "delete-many"), &DeleteMany { bucket: "b".into(), keys }).await.unwrap();
        listed.extend(page.keys);
        cursor = page.cursor;
        if cursor.is_none() {
            break;
        }
    }
    assert_eq!(listed, (0..2_500).map(name).collect::<Vec<_>>());
    assert_eq!(actor.list(None).await, KeyResponse { keys: vec![], cursor: None });
    assert_eq!(actor.list(Some(u64::MAX)).await.keys, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_of_keys_fits_a_frame() {
    let data = tempfile::tempdir().unwrap();
    let actor = Actor::linked(&start(data.path()), "a", &[("fsync", "never")]).await;
    let key_values = (0..600).map(|n| (format!("{n:01024}"), Value::new())).collect();
    actor.call::<()>((BATCH, "set-many"), &SetMany { bucket: "b".into(), key_values }).await.unwrap();
    let page = actor.list(None).await;
    assert!(page.keys.iter().map(String::len).sum::<usize>() < 400 << 10);
    assert!(page.cursor.is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn batches_keep_the_order_of_their_keys() {
    let data = tempfile::tempdir().unwrap();
    let actor = Actor::linked(&start(data.path()), "a", &[]).await;
    actor.set("x", b"1").await.unwrap();
    actor.set("y", b"2").await.unwrap();
    let keys = ["y", "none", "x"].map(str::to_owned).to_vec();
    let found: Vec<Option<(String, Value)>> =
        actor.call((BATCH, "get-many"), &GetMany { bucket: "b".into(), keys }).await.unwrap();
    let expected = vec![Some(("y".to_owned(), "2".into())), None, Some(("x".to_owned(), "1".into()))];
    assert_eq!(found, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_too_large_is_refused_and_changes_nothing() {
    let data = tempfile::tempdir().unwrap();
    let actor = Actor::linked(&start(data.path()), "a", &[("fsync", "never")]).await;
    let large = vec![7; 8 << 20];
    actor.set("k", &large).await.unwrap();
    assert_eq!(actor.get("k").await.unwrap().map(|value| value.len()), Some(8 << 20));
    let over = actor.set("k", &vec![7; (8 << 20) + 1]).await;
    assert!(matches!(over, Err(Error::Other(text)) if text.contains("8388608")));
    assert_eq!(actor.get("k").await.unwrap().map(|value| value.len()), Some(8 << 20));
    let long = "k".repeat(1_025);
    assert!(matches!(actor.set(&long, b"v").await, Err(Error::Other(text)) if text.contains("1024")));
    actor.set("l", &large).await.unwrap();
    let keys = ["k", "l"].map(str::to_owned).to_vec();
    let both = GetMany { bucket: "b".into(), keys };
    let found = actor.call::<Vec<Option<(String, Value)>>>((BATCH, "get-many"), &both).await;
    assert!(matches!(found, Err(Error::Other(_))), "an answer has a limit as well");
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
async fn a_file_that_is_none_of_ours_is_named_and_left_alone() {
    let data = tempfile::tempdir().unwrap();
    let path = data.path().join("keyvalue.redb");
    std::fs::write(&path, "something else, rather long".repeat(100)).unwrap();
    let error = start(data.path()).link_up(&linked("a", &[])).await.expect_err("no database").to_string();
    assert!(error.contains("keyvalue.redb"), "{error}");
    assert!(std::fs::read(&path).unwrap().starts_with(b"something else"));
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_links_and_wrong_calls_are_refused_with_the_reason() {
    let data = tempfile::tempdir().unwrap();
    let provider = start(data.path());
    let actor = Actor::linked(&provider, "a", &[]).await;
    let error = provider.link_up(&linked("a", &[("fsync", "maybe")])).await.expect_err("config");
    assert!(matches!(&error, LinkError::Config { key, .. } if key == "fsync"), "{error}");
    let get = Get { bucket: "b".into(), key: "k".into() };
    let down = provider.call(invocation(&actor.link, STORE, "get", &get)).await;
    assert_eq!(down.expect_err("the link is down now").kind, CallErrorKind::Denied);
    assert!(provider.link_up(&as_source(link_of("a"), &[])).await.is_err());
    provider.link_up(&linked("a", &[])).await.unwrap();
    for (interface, function, args) in
        [(STORE, "drop", "x"), (ATOMICS, "get", "x"), (BATCH, "x", "x"), ("wasi:keyvalue/watcher", "on-set", "x")]
    {
        let wrong = provider.call(invocation(&actor.link, interface, function, &args)).await.expect_err(function);
        assert_eq!(wrong.kind, CallErrorKind::Contract, "{wrong}");
    }
    let malformed = provider.call(invocation(&actor.link, STORE, "get", &("b", 7))).await.expect_err("no key");
    assert_eq!(malformed.kind, CallErrorKind::Contract);
}
