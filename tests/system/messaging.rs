//! Messages between actors: on one box with the queue that is built in, and over JetStream on two hosts.

use std::collections::HashSet;
use std::time::Duration;

use futures::StreamExt as _;

use crate::support::app::App;
use crate::support::lattice::{Lattice, path};
use crate::support::wait;

const IMPORTS: &[&str] = &["wasmcloud:messaging/*"];

#[test]
fn an_application_asks_and_answers_by_messages_on_one_box() {
    let lattice = Lattice::one_box(&[]);
    let actors = ["asker", "listener"].map(|actor| (actor, IMPORTS));
    let manifest = App::example_of(&lattice, "greetings", &actors).write();
    lattice.run(&["app", "deploy", path(&manifest), "--wait"]);
    assert_eq!(lattice.until_ok("/ask/greet.ada?Ada"), "Hello, Ada!");
    assert_eq!(lattice.get("/tell/orders.7.created?x").0, 200, "it is safe, whoever handles it");
    let (status, reason) = lattice.get("/tell/elsewhere?x");
    assert!(status == 502 && reason.contains("publish"), "{status} {reason}");
    let call = r#"wasmcloud:messaging/handler.handle-message({subject: "greet.x", body: [255], reply-to: none})"#;
    let said = lattice.run(&["call", "greetings-listener", call]);
    assert!(said.contains("not text"), "{said}");
}

#[test]
fn messages_cross_two_hosts_by_jetstream_and_outlive_its_server() {
    let mut lattice = Lattice::two_hosts();
    start(&lattice);
    assert_eq!(lattice.until_ok("/ask/greet.ada?Ada"), "Hello, Ada!");
    assert_eq!(tell_all(&lattice, "before", 50), handled(&lattice, 50), "each is handled");

    // Told while the handler is away, handled when it is back; the server dies in between.
    lattice.run(&["stop", "actor", "listener"]);
    let told = tell_all(&lattice, "later", 20);
    lattice.nats().stop();
    lattice.nats().start_again();
    lattice.wait_for_hosts(2);
    start_listener(&lattice);
    assert!(handled(&lattice, 70).is_superset(&told));
}

fn start(lattice: &Lattice) {
    let broker = format!("cluster_uris={}", lattice.nats_url());
    lattice.run(&["config", "put", "broker", "backend=jetstream", &broker]);
    lattice.run(&["start", "provider", "messaging", "builtin:messaging", "--host", "a", "--config", "broker"]);
    lattice.run(&["config", "put", "streams", "stream_subjects=orders.*,seen.>"]);
    lattice.run(&["config", "put", "listens", "subscriptions=orders.*", "order_by=subject", "backoff=100ms"]);
    lattice.run(&["config", "put", "answers", "backend=nats", "subscriptions=greet.*"]);
    for actor in ["asker", "listener"] {
        let consumer = "wasmcloud:messaging/consumer";
        lattice.run(&["link", "put", actor, "messaging", consumer, "--target-config", "streams"]);
    }
    for (name, config) in [("default", "listens"), ("asked", "answers")] {
        let handler = "wasmcloud:messaging/handler";
        lattice.run(&["link", "put", "messaging", "listener", handler, "--name", name, "--source-config", config]);
    }
    start_listener(lattice);
    let asker = lattice.signed("asker", IMPORTS);
    lattice.run(&["start", "actor", "asker", path(&asker), "--host", "a"]);
    lattice.serve_http(Some("a"), &[("/", "asker")]);
}

fn start_listener(lattice: &Lattice) {
    let listener = lattice.signed("listener", IMPORTS);
    lattice.run(&["start", "actor", "listener", path(&listener), "--host", "b"]);
}

/// Publishes so many messages; what they say.
fn tell_all(lattice: &Lattice, word: &str, count: usize) -> HashSet<String> {
    let texts: HashSet<String> = (0..count).map(|n| format!("{word}-{n}")).collect();
    for text in &texts {
        lattice.until_ok(&format!("/tell/orders.{}?{text}", text.len()));
    }
    texts
}

/// What the listener has said to have seen, once that is so much.
fn handled(lattice: &Lattice, count: usize) -> HashSet<String> {
    wait::until(&format!("{count} messages are handled"), || {
        let seen = lattice.runtime.block_on(seen(&lattice.nats_url())).map_err(|error| error.to_string())?;
        if seen.len() >= count { Ok(seen) } else { Err(format!("{seen:?}")) }
    })
}

async fn seen(url: &str) -> Result<HashSet<String>, async_nats::Error> {
    let stream = async_nats::jetstream::new(async_nats::connect(url).await?).get_stream("MESSAGES").await?;
    let config =
        async_nats::jetstream::consumer::pull::Config { filter_subject: "seen.>".to_owned(), ..Default::default() };
    let consumer = stream.create_consumer(config).await?;
    let mut messages = consumer.fetch().max_messages(1_000).expires(Duration::from_secs(5)).messages().await?;
    let mut seen = HashSet::new();
    while let Some(message) = messages.next().await {
        seen.insert(String::from_utf8_lossy(&message?.payload).into_owned());
    }
    Ok(seen)
}
