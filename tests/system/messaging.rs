//! Messages between actors: on one box with the queue that is built in, and over JetStream on two hosts.

use std::collections::HashSet;
use std::time::Duration;

use futures::StreamExt as _;

use crate::support::app::App;
use crate::support::lattice::{Lattice, path};
use crate::support::nats::Nats;
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

/// The four lines of the provider's README, as they stand there.
fn four_lines() -> String {
    let readme = include_str!("../../capability-providers/messaging/README.md");
    let lines = readme.lines().skip_while(|line| *line != "    - name: audit").take(4);
    lines.map(|line| format!("{line}\n")).collect()
}

#[test]
fn a_transform_of_four_lines_sends_on_what_others_send() {
    let (lattice, nats) = (Lattice::one_box(&[]), Nats::start());
    let lines = four_lines();
    assert!(lines.lines().count() == 4 && lines.contains("transform: orders.*.created -> audit.$1"), "{lines}");
    let broker = format!("cluster_uris: \"{}\", transform:", nats.url());
    let manifest = App::of(&lattice, "audited", [lines]).with("transform:", &broker).write();
    lattice.run(&["app", "deploy", path(&manifest), "--wait"]);
    let (subject, body) = lattice.runtime.block_on(until_heard(&nats, "audit.>", "orders.7.created"));
    assert_eq!((subject.as_str(), body.as_str()), ("audit.7", "orders.7.created"));
}

#[test]
fn an_actor_handles_what_a_transform_has_sent_on() {
    let (lattice, nats) = (Lattice::one_box(&[]), Nats::start());
    let transform = "transform: orders.*.created -> greet.$1\n";
    let broker = format!("              cluster_uris: {}\n", nats.url());
    let actors = ["asker", "listener"].map(|actor| (actor, IMPORTS));
    let manifest = App::example_of(&lattice, "greetings", &actors).with(transform, &format!("{transform}{broker}"));
    lattice.run(&["app", "deploy", path(&manifest.write()), "--wait"]);
    let heard = lattice.runtime.block_on(until_heard(&nats, "seen.greet.>", "orders.7.created"));
    assert_eq!(heard, ("seen.greet.7".to_owned(), "orders.7.created".to_owned()));
}

/// Publishes to `subject` its own name, until something comes by `pattern`; subject and text of that.
async fn until_heard(nats: &Nats, pattern: &str, subject: &str) -> (String, String) {
    let client = async_nats::connect(nats.url()).await.expect("connects");
    let mut heard = client.subscribe(pattern.to_owned()).await.expect("subscribed");
    let publish = async {
        // Core NATS keeps nothing for who comes later.
        let mut again = tokio::time::interval(Duration::from_millis(200));
        loop {
            again.tick().await;
            client.publish(subject.to_owned(), subject.to_owned().into()).await.expect("published");
        }
    };
    tokio::select! {
        () = publish => unreachable!("it goes on"),
        message = tokio::time::timeout(wait::SOON, heard.next()) => {
            let message = message.expect("in time").expect("the server is there");
            (message.subject.to_string(), String::from_utf8_lossy(&message.payload).into_owned())
        }
    }
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
