//! An ordinary NATS client on `trellis up`: it takes part in the lattice without being told that there is no nats-server, and
//! finds it again after a restart.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use async_nats::client::RequestErrorKind;
use async_nats::jetstream::context::CreateStreamErrorKind;
use async_nats::{Client, ConnectOptions, HeaderMap, Subscriber, jetstream};
use futures::StreamExt as _;
use serde_json::Value;
use tokio::runtime::Runtime;
use tokio::time::timeout;

use crate::support::lattice::{Lattice, path};
use crate::support::process::Server;
use crate::support::wait;

/// Address and token, as a box announces them to programs of the same user.
fn address(data: &Path) -> (String, String) {
    let text = std::fs::read_to_string(data.join("lattice/running.json")).expect("the lattice runs");
    let running: Value = serde_json::from_str(&text).expect("JSON");
    let text = |key: &str| running[key].as_str().expect("text").to_owned();
    (text("url"), text("token"))
}

async fn connect(data: &Path) -> Client {
    let (url, token) = address(data);
    let options = ConnectOptions::with_token(token).reconnect_delay_callback(|_attempts| Duration::from_millis(20));
    options.connect(url).await.expect("the gateway takes the token")
}

/// Waits until what `client` subscribed to is known: it flushes what it writes, and the box may not have read that yet.
async fn subscribed(client: &Client) {
    let error = client.request("nobody.listens", "".into()).await.expect_err("nobody listens");
    assert_eq!(error.kind(), RequestErrorKind::NoResponders);
}

async fn next(messages: &mut Subscriber) -> async_nats::Message {
    timeout(wait::SOON, messages.next()).await.expect("a message comes").expect("the connection is open")
}

#[test]
fn a_nats_client_takes_part_in_the_lattice() {
    let lattice = Lattice::one_box(&[]);
    lattice.runtime.block_on(async {
        let client = connect(lattice.data()).await;
        let mut events = client.subscribe("wasmbus.evt.*.>").await.expect("subscribed");
        let pong = client.request("wasmbus.ctl.v1.default.host.ping", "".into()).await.expect("a host answers");
        let pong: Value = serde_json::from_slice(&pong.payload).expect("JSON");
        assert_eq!((&pong["success"], &pong["response"]["friendly_name"]), (&true.into(), &"local".into()), "{pong}");

        let component = lattice.signed("hello", &[]);
        lattice.run(&["start", "actor", "hello", path(&component)]);
        loop {
            let event = next(&mut events).await;
            if event.subject.as_str() == "wasmbus.evt.default.component_scaled" {
                let event: Value = serde_json::from_slice(&event.payload).expect("JSON");
                break assert_eq!(event["data"]["component_id"], "hello", "{event}");
            }
        }
    });
}

#[test]
fn nats_clients_reach_each_other_over_the_bus() {
    let lattice = Lattice::one_box(&[]);
    lattice.runtime.block_on(async {
        let (one, two) = (connect(lattice.data()).await, connect(lattice.data()).await);
        let mut members = Vec::new();
        for _ in 0..2 {
            members.push(two.queue_subscribe("work.*", "workers".to_owned()).await.expect("subscribed"));
        }
        let mut all = two.subscribe("work.>").await.expect("subscribed");
        subscribed(&two).await;

        let mut headers = HeaderMap::new();
        headers.insert("Order", "7");
        for n in 0..20 {
            let payload = n.to_string();
            one.publish_with_headers(format!("work.{n}"), headers.clone(), payload.into()).await.expect("taken");
        }
        let mut work = futures::stream::select_all(members);
        let mut subjects = BTreeSet::new();
        for _ in 0..20 {
            let message = timeout(wait::SOON, work.next()).await.expect("a message comes").expect("open");
            assert_eq!(message.headers.expect("they came along").get("Order").map(|it| it.as_str()), Some("7"));
            assert!(subjects.insert(message.subject.to_string()), "{} came twice", message.subject);
            next(&mut all).await;
        }

        let mut asked = two.subscribe("ask.me").await.expect("subscribed");
        subscribed(&two).await;
        let answering = async {
            let question = next(&mut asked).await;
            two.publish(question.reply.expect("an inbox"), "an answer".into()).await.expect("taken");
            // It is sent when the client is driven.
            two.flush().await.expect("flushed");
        };
        let (answer, ()) = futures::future::join(one.request("ask.me", "?".into()), answering).await;
        assert_eq!(answer.expect("answered").payload, "an answer");
        let nobody = one.request("ask.nobody", "?".into()).await.expect_err("nobody listens");
        assert_eq!(nobody.kind(), RequestErrorKind::NoResponders);
    });
}

#[test]
fn jetstream_is_refused_and_the_error_says_what_has_it() {
    let lattice = Lattice::one_box(&[]);
    lattice.runtime.block_on(async {
        let error = jetstream::new(connect(lattice.data()).await).create_stream("orders").await.expect_err("none here");
        let CreateStreamErrorKind::JetStream(answer) = error.kind() else { panic!("{error:?}") };
        let text = answer.to_string();
        assert!(text.contains("JetStream not enabled") && text.contains("nats-server with -js"), "{text}");
    });
}

fn start(data: &Path) -> Server {
    let server = Server::start(data, &["up"]);
    server.wait_for("is up");
    server
}

#[test]
fn a_client_comes_back_after_a_restart_of_the_box() {
    let data = tempfile::tempdir().expect("a temporary directory");
    let data = data.path();
    let runtime = Runtime::new().expect("tokio starts");
    let first = start(data);
    let (client, mut events) = runtime.block_on(async {
        let client = connect(data).await;
        let events = client.subscribe("wasmbus.evt.default.host_started").await.expect("subscribed");
        subscribed(&client).await;
        (client, events)
    });
    let known = address(data);
    // In order, and then without a word.
    let (status, output) = first.terminate();
    assert!(status.success(), "{output}");
    let second = start(data);
    assert_eq!(address(data), known);
    drop(second);
    let _third = start(data);
    assert_eq!(address(data), known);
    let ping = || runtime.block_on(client.request("wasmbus.ctl.v1.default.host.ping", "".into()));
    let pong = wait::until("the client to be back", || ping().map_err(|error| error.to_string()));
    assert!(String::from_utf8_lossy(&pong.payload).contains("local"));
    runtime.block_on(async {
        client.publish("wasmbus.evt.default.host_started", "of the same subscription".into()).await.expect("taken");
        while next(&mut events).await.payload != "of the same subscription" {}
    });
}

#[test]
fn a_port_that_is_taken_meanwhile_is_given_up_and_that_is_said() {
    let data = tempfile::tempdir().expect("a temporary directory");
    let data = data.path();
    let _ = start(data).terminate();
    let port = std::fs::read_to_string(data.join("lattice/gateway.port")).expect("it was kept");
    let port = port.trim();
    let taken = std::net::TcpListener::bind(format!("127.0.0.1:{port}")).expect("it is free");
    let server = start(data);
    server.wait_for(&format!("port {port}, where the bus was last time, is not free"));
    let other = address(data).0;
    assert!(!other.ends_with(&format!(":{port}")), "{other}");
    drop(taken);
    let _ = server.terminate();

    // Now that one is the last.
    let server = start(data);
    assert_eq!(address(data).0, other);
    let _ = server.terminate();

    // What is told counts, and nothing else will do.
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let told = taken.local_addr().expect("bound").to_string();
    let (status, output) = Server::start(data, &["up", "--gateway", &told]).wait();
    assert!(!status.success() && output.contains(&told), "{output}");
}
