//! Actors that are told of changes, by each backend.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use trellis_interfaces::keyvalue::{OnDelete, OnSet};
use trellis_provider_sdk::testing::{as_source, caller, link, nobody};
use trellis_provider_sdk::wire::{decode, encode};
use trellis_provider_sdk::{ActiveLink, Answer, Args, Body, Call, CallError, Caller};

use crate::support::{Kind, Server, Store, eventually};

/// What an actor was told: by key the last value, none for a key that is gone; and how often it was told.
#[derive(Debug, Default)]
struct Told {
    last: BTreeMap<String, Option<String>>,
    count: usize,
    /// So many more calls fail.
    failing: usize,
}

fn listener() -> (Arc<Mutex<Told>>, Arc<dyn Caller>) {
    let told: Arc<Mutex<Told>> = Arc::default();
    (told.clone(), listening(told))
}

fn listening(told: Arc<Mutex<Told>>) -> Arc<dyn Caller> {
    caller(move |call| {
        let result = take(&told, &call);
        Box::pin(async move { result })
    })
}

fn take(told: &Mutex<Told>, call: &Call<Args>) -> Result<Answer<Args>, CallError> {
    assert_eq!(call.interface.to_string(), "wasi:keyvalue/watcher");
    let mut told = told.lock().unwrap();
    told.count += 1;
    if told.failing > 0 {
        told.failing -= 1;
        return Err(CallError::trap("the actor trapped"));
    }
    let (bucket, key, value) = match &*call.function {
        "on-set" => {
            let OnSet { bucket, key, value } = decode(&call.args)?;
            (bucket, key, Some(String::from_utf8(value.to_vec()).unwrap()))
        }
        "on-delete" => {
            let OnDelete { bucket, key } = decode(&call.args)?;
            (bucket, key, None)
        }
        other => panic!("{other}"),
    };
    assert_eq!(bucket, "b");
    told.last.insert(key, value);
    Ok(Answer { value: encode(&())?, body: Body::Empty })
}

fn watch(store: &Store, pairs: &[(&str, &str)]) -> ActiveLink {
    store.with_config(pairs, |pairs| as_source(link("keyvalue", "listener", &["wasi:keyvalue/watcher"]), pairs))
}

async fn start(kind: Kind) -> (Arc<Mutex<Told>>, Store) {
    let (told, caller) = listener();
    let server = match kind {
        Kind::Embedded => None,
        Kind::Redis => Some(Server::redis(&["--notify-keyspace-events", "K$gxe"]).await),
        Kind::Nats => Some(Server::nats(&[]).await),
    };
    (told, Store::with(kind, server, caller))
}

async fn until_told(told: &Mutex<Told>, expected: &[(&str, Option<&str>)]) {
    let expected: BTreeMap<String, Option<String>> =
        expected.iter().map(|(key, value)| ((*key).to_owned(), value.map(str::to_owned))).collect();
    eventually(async || match told.lock().unwrap().last.clone() {
        last if last == expected => Ok(()),
        last => Err(last),
    })
    .await;
}

async fn an_actor_is_told_what_is_set_and_deleted(kind: Kind) {
    let (told, store) = start(kind).await;
    let actor = store.actor("a", &[]).await;
    let elsewhere = store.actor("elsewhere", &[("prefix", "p")]).await;
    actor.set("before", b"v").await.unwrap();
    store.provider.link_up(&watch(&store, &[("bucket", "b")])).await.unwrap();
    // A watch begins a moment after its link is up: until it has seen something, it may have missed it.
    eventually(async || {
        actor.set("first", b"v").await.unwrap();
        if told.lock().unwrap().last.contains_key("first") { Ok(()) } else { Err("nothing is told") }
    })
    .await;
    actor.set("k.1 *", b"one").await.unwrap();
    actor.set("gone", b"v").await.unwrap();
    actor.increment("n", 41).await.unwrap();
    actor.increment("n", 1).await.unwrap();
    actor.swap("cas", None, b"swapped").await.unwrap();
    actor.swap("cas", None, b"not swapped").await.unwrap();
    elsewhere.set("elsewhere", b"v").await.unwrap();
    actor.with_bucket("other").set("other", b"v").await.unwrap();
    actor.delete("gone").await.unwrap();
    let expected =
        [("first", Some("v")), ("k.1 *", Some("one")), ("gone", None), ("n", Some("42")), ("cas", Some("swapped"))];
    until_told(&told, &expected).await;
    store.provider.link_down(&watch(&store, &[("bucket", "b")])).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_actor_is_told_of_the_embedded_store() {
    an_actor_is_told_what_is_set_and_deleted(Kind::Embedded).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_actor_is_told_of_redis() {
    an_actor_is_told_what_is_set_and_deleted(Kind::Redis).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_actor_is_told_of_nats() {
    an_actor_is_told_what_is_set_and_deleted(Kind::Nats).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_goes_on_after_its_server_was_away() {
    for kind in [Kind::Redis, Kind::Nats] {
        let (told, mut store) = start(kind).await;
        let actor = store.actor("a", &[]).await;
        store.provider.link_up(&watch(&store, &[("bucket", "b")])).await.unwrap();
        for key in ["before", "after"] {
            eventually(async || {
                let _ =
                    actor.try_call::<()>(SET, &("b", key, trellis_interfaces::keyvalue::Value::new()), BUDGET).await;
                if told.lock().unwrap().last.contains_key(key) { Ok(()) } else { Err(kind) }
            })
            .await;
            store.server.as_mut().unwrap().restart().await;
        }
    }
}

const SET: (&str, &str) = ("wasi:keyvalue/store@0.2.0-draft", "set");
const BUDGET: Duration = Duration::from_secs(1);

#[tokio::test(flavor = "multi_thread")]
async fn nats_tells_again_what_an_actor_did_not_take() {
    let (told, store) = start(Kind::Nats).await;
    let actor = store.actor("a", &[]).await;
    told.lock().unwrap().failing = 2;
    store.provider.link_up(&watch(&store, &[("bucket", "b")])).await.unwrap();
    eventually(async || {
        actor.set("k", b"v").await.unwrap();
        if told.lock().unwrap().count > 0 { Ok(()) } else { Err("nothing is told") }
    })
    .await;
    until_told(&told, &[("k", Some("v"))]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_hosts_on_nats_one_tells_the_actor() {
    let (told, store) = start(Kind::Nats).await;
    let other = Store::with(Kind::Nats, None, listening(told.clone()));
    let actor = store.actor("a", &[]).await;
    for host in [&store, &other] {
        host.provider.link_up(&watch(&store, &[("bucket", "b")])).await.unwrap();
    }
    // A watch begins a moment after its link is up.
    let mut last = 0;
    eventually(async || {
        last += 1;
        actor.set("first", last.to_string().as_bytes()).await.unwrap();
        if told.lock().unwrap().last.is_empty() { Err("nothing is told") } else { Ok(()) }
    })
    .await;
    until_told(&told, &[("first", Some(&last.to_string()))]).await;
    let before = told.lock().unwrap().count;
    for n in 0..100 {
        actor.set(&format!("k{n}"), b"v").await.unwrap();
    }
    eventually(async || match told.lock().unwrap().last.len() {
        101 => Ok(()),
        count => Err(count),
    })
    .await;
    assert_eq!(told.lock().unwrap().count - before, 100, "each by one of them");
}

#[tokio::test(flavor = "multi_thread")]
async fn redis_that_announces_nothing_is_refused_with_the_way_out() {
    let store = Store::with(Kind::Redis, Some(Server::redis(&[]).await), nobody());
    let error = store.provider.link_up(&watch(&store, &[("bucket", "b")])).await.expect_err("no events").to_string();
    assert!(error.contains("notify-keyspace-events K$gxe"), "{error}");
}
