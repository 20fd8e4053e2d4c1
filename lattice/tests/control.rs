//! The control client against hosts that answer as scripted.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use serde_json::{Value, json};
use trellis_lattice::control::{Client, Patience};
use trellis_lattice::error::ErrorKind;
use trellis_lattice::id::{HostId, LatticeName};
use trellis_lattice::identity::key::{Key, KeyKind};
use trellis_lattice::message::command::{ComponentAuction, ScaleComponent, StartProvider};
use trellis_lattice::message::event::{CloudEvent, EventName};
use trellis_lattice::subject::{self, Control};
use trellis_lattice::transport::memory::MemoryBus;
use trellis_lattice::transport::{Message, SharedTransport};

fn lattice() -> LatticeName {
    LatticeName::parse("default").expect("valid")
}

fn host() -> HostId {
    HostId::parse(&Key::generate(KeyKind::Host).public()).expect("valid")
}

fn client(bus: &MemoryBus) -> Client {
    let patience = Patience {
        request: Duration::from_secs(5),
        gather: Duration::from_secs(5),
        quiet: Duration::from_millis(50),
        outcome: Duration::from_secs(5),
    };
    Client::new(Arc::new(bus.endpoint("client")), lattice()).with_patience(patience)
}

/// A host that answers what comes on its subjects with `reply`, then publishes `events`.
async fn scripted(bus: &MemoryBus, id: &HostId, reply: Value, events: Vec<(EventName, HostId, Value)>) {
    let transport: SharedTransport = Arc::new(bus.endpoint("host"));
    let control = Control::new(&lattice());
    let mut requests = futures::stream::SelectAll::new();
    for subject in control.all_on_host(id).into_iter().chain(control.broadcast()) {
        requests.push(transport.subscribe(subject, None).await.expect("subscribed"));
    }
    tokio::spawn(async move {
        while let Some(request) = requests.next().await {
            let reply_to = request.reply.expect("a request has one");
            transport.publish(Message::new(reply_to, reply.to_string())).await.expect("published");
            for (name, source, data) in &events {
                let event = CloudEvent::new(*name, source.clone(), String::new(), String::new(), data.clone());
                let payload = serde_json::to_vec(&event).expect("JSON");
                transport.publish(Message::new(subject::event(&lattice(), *name), payload)).await.expect("published");
            }
        }
    });
}

fn scale(host: &HostId, count: u32) -> ScaleComponent {
    ScaleComponent {
        component_ref: "file:///x.wasm".to_owned(),
        component_id: "hello".parse().expect("valid"),
        count,
        host_id: host.clone(),
        config: Vec::new(),
        allow_update: false,
        annotations: None,
        component_limits: None,
    }
}

fn accepted() -> Value {
    json!({"success": true, "message": "taken"})
}

#[tokio::test]
async fn a_ping_gathers_the_answers_of_all_hosts() {
    let bus = MemoryBus::new();
    let (one, two) = (host(), host());
    for (id, name) in [(&one, "b"), (&two, "a")] {
        let summary = json!({"id": id.as_str(), "friendly_name": name, "labels": {}, "lattice": "default",
                             "uptime_seconds": 1});
        scripted(&bus, id, json!({"success": true, "message": "", "response": summary}), Vec::new()).await;
    }
    let hosts = client(&bus).hosts().await.expect("gathered");
    assert_eq!(hosts.iter().map(|host| host.id.clone()).collect::<Vec<_>>(), [two, one]);
}

#[tokio::test]
async fn one_host_that_answers_nonsense_hides_no_other() {
    let bus = MemoryBus::new();
    let id = host();
    scripted(&bus, &host(), json!({"success": true, "response": 7}), Vec::new()).await;
    let bid = json!({"component_ref": "r", "component_id": "hello", "host_id": id.as_str(), "constraints": {}});
    scripted(&bus, &id, json!({"success": true, "message": "", "response": bid}), Vec::new()).await;
    let auction = ComponentAuction {
        component_ref: "r".to_owned(),
        component_id: "hello".parse().expect("valid"),
        constraints: [].into(),
    };
    let bids = client(&bus).auction_component(&auction).await.expect("gathered");
    assert_eq!(bids.into_iter().map(|bid| bid.host_id).collect::<Vec<_>>(), [id]);
}

#[tokio::test]
async fn an_empty_lattice_has_no_hosts_and_says_so_at_once() {
    let bus = MemoryBus::new();
    assert!(client(&bus).hosts().await.expect("gathered").is_empty());
    let error = client(&bus).links().await.expect_err("nobody is there");
    assert_eq!(error.kind(), ErrorKind::NoResponders);
    assert!(error.to_string().contains("no host of lattice default"), "{error}");
    let id = host();
    let error = client(&bus).inventory(&id).await.expect_err("nobody is there");
    assert!(error.to_string().contains(id.as_str()) && error.to_string().contains("host.get"), "{error}");
}

#[tokio::test]
async fn scaling_waits_for_the_event_of_that_host_actor_and_number() {
    let bus = MemoryBus::new();
    let id = host();
    let scaled = |source: &HostId, actor: &str, count: u32| {
        (EventName::ComponentScaled, source.clone(), json!({"component_id": actor, "max_instances": count}))
    };
    let failed = (EventName::ComponentScaleFailed, id.clone(), json!({"component_id": "other", "error": "no"}));
    let events = vec![scaled(&host(), "hello", 3), scaled(&id, "hello", 1), failed, scaled(&id, "hello", 3)];
    scripted(&bus, &id, accepted(), events).await;
    assert_eq!(client(&bus).scale(&scale(&id, 3)).await.expect("scaled"), "taken");
}

#[tokio::test]
async fn a_failure_is_told_with_its_host_actor_and_reason() {
    let bus = MemoryBus::new();
    let id = host();
    let data = json!({"component_id": "hello", "max_instances": 3, "error": "imports wasi:keyvalue/store"});
    scripted(&bus, &id, accepted(), vec![(EventName::ComponentScaleFailed, id.clone(), data)]).await;
    let error = client(&bus).scale(&scale(&id, 3)).await.expect_err("failed");
    assert_eq!(error.kind(), ErrorKind::Refused);
    for part in ["hello", id.as_str(), "imports wasi:keyvalue/store"] {
        assert!(error.to_string().contains(part), "{error}");
    }
}

#[tokio::test]
async fn an_outcome_that_never_comes_is_a_timeout_that_names_the_host() {
    let bus = MemoryBus::new();
    let id = host();
    scripted(&bus, &id, accepted(), Vec::new()).await;
    let start = StartProvider {
        provider_id: "http".parse().expect("valid"),
        provider_ref: "builtin:http-server".to_owned(),
        host_id: id.clone(),
        config: Vec::new(),
        allow_update: false,
        annotations: None,
    };
    let patience = Patience { outcome: Duration::from_millis(10), ..Patience::default() };
    let error = client(&bus).with_patience(patience).start_provider(&start).await.expect_err("nothing comes");
    assert_eq!(error.kind(), ErrorKind::Timeout);
    assert!(error.to_string().contains("provider http could not be started on host"), "{error}");
}

#[tokio::test]
async fn a_refusal_names_the_operation_and_the_reason() {
    let bus = MemoryBus::new();
    let id = host();
    scripted(&bus, &id, json!({"success": false, "message": "provider http is not running"}), Vec::new()).await;
    let provider = "http".parse().expect("valid");
    let error = client(&bus).stop_provider(&id, &provider).await.expect_err("refused");
    assert_eq!(error.kind(), ErrorKind::Refused);
    assert!(error.to_string().contains("refused provider.stop: provider http is not running"), "{error}");
}
