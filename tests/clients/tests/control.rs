//! The control interface of lattice v1, driven by the client that wasmCloud 1.x publishes: of hosts on a nats-server, and,
//! over its gateway, of `trellis up`.

mod records;
mod support;
mod wadm;

use std::collections::{BTreeMap, HashMap};

use serde_json::{Value, json};
use support::{Lattice, eventually};
use wasmcloud_control_interface::{CtlResponse, Link};

type Outcome<T> = Result<CtlResponse<T>, Box<dyn std::error::Error + Send + Sync>>;

/// What was answered with success.
fn ok<T: std::fmt::Debug>(outcome: Outcome<T>) -> CtlResponse<T> {
    let response = outcome.expect("an answer");
    assert!(response.succeeded(), "{}", response.message());
    response
}

/// Why it was refused.
fn refused<T: std::fmt::Debug>(outcome: Outcome<T>) -> String {
    let response = outcome.expect("an answer");
    assert!(!response.succeeded(), "{response:?}");
    response.message().to_owned()
}

fn annotations() -> BTreeMap<String, String> {
    let keys =
        ["wasmcloud.dev/managed-by", "wasmcloud.dev/appspec", "wasmcloud.dev/scaler", "wasmcloud.dev/spread_name"];
    keys.into_iter().map(|key| (key.to_owned(), format!("of {key}"))).collect()
}

fn link(source: &str, target: &str, configs: &[&str]) -> Link {
    Link::builder()
        .source_id(source)
        .target(target)
        .name("default")
        .wit_namespace("wasi")
        .wit_package("keyvalue")
        .interfaces(vec!["store".to_owned()])
        .target_config(configs.iter().map(|&name| name.to_owned()).collect())
        .build()
        .expect("a link")
}

#[tokio::test]
async fn hosts_say_who_they_are() {
    for lattice in Lattice::both(&["a", "b"]).await {
        let hosts = ok_all(lattice.client.get_hosts().await.expect("answers"));
        for host in &hosts {
            let zone = host.labels().get("zone").map(String::as_str);
            assert_eq!((zone, host.lattice()), (Some(host.friendly_name()), "default"));
            let version = host.version().expect("a version");
            assert_eq!(version.split('.').filter(|part| part.parse::<u32>().is_ok()).count(), 3, "{version} is semver");
            let inventory = ok(lattice.client.get_host_inventory(host.id()).await);
            let inventory = inventory.data().expect("an inventory");
            assert_eq!((inventory.host_id(), inventory.labels()), (host.id(), host.labels()));
            assert!(inventory.components().is_empty() && inventory.providers().is_empty());
        }
        assert_eq!(hosts.len(), 2);
    }
}

fn ok_all<T: Clone + std::fmt::Debug>(responses: Vec<CtlResponse<T>>) -> Vec<T> {
    responses.into_iter().map(|response| ok(Ok(response)).data().expect("an answer").clone()).collect()
}

#[tokio::test]
async fn a_component_is_started_scaled_updated_and_stopped() {
    for lattice in Lattice::both(&["a"]).await {
        let host = lattice.host("a").await;
        let (one, two) = (lattice.actor("one"), lattice.actor("two"));
        let mut events = lattice.events().await;
        let scale = async |reference: &str, count: u32, allow_update: bool| {
            let notes = Some(annotations());
            lattice.client.scale_component(&host, reference, "echo", count, notes, Vec::new(), allow_update).await
        };

        ok(scale(&one, 5, false).await);
        let first = events.next("component_scaled").await;
        assert_eq!((&first["source"], &first["specversion"]), (&json!(host), &json!("1.0")));
        assert_eq!(
            (&first["type"], &first["datacontenttype"]),
            (&json!("com.wasmcloud.lattice.component_scaled"), &json!("application/json"))
        );
        assert!(first["id"].is_string() && first["time"].is_string());
        let data = &first["data"];
        assert_eq!(
            (&data["component_id"], &data["image_ref"], &data["max_instances"]),
            (&json!("echo"), &json!(one), &json!(5))
        );
        assert_eq!((&data["annotations"], &data["host_id"]), (&json!(annotations()), &json!(host)));
        assert!(data["public_key"].as_str().is_some_and(|key| key.starts_with('M')), "{data}");
        assert!(data["claims"]["issuer"].as_str().is_some_and(|key| key.starts_with('A')), "{data}");
        assert_eq!(events.data("component_scaled").await, *data, "the first start is told twice");

        let inventory = ok(lattice.client.get_host_inventory(&host).await);
        let component = &inventory.data().expect("an inventory").components()[0];
        assert_eq!((component.id(), component.image_ref(), component.max_instances()), ("echo", &*one, 5));
        assert_eq!((component.annotations(), component.name()), (Some(&annotations()), Some("one")));

        let kept = ok(scale(&two, 6, false).await);
        assert!(kept.message().contains(&one), "{}", kept.message());
        let data = events.data("component_scaled").await;
        assert_eq!((&data["image_ref"], &data["max_instances"]), (&json!(one), &json!(6)));

        ok(scale(&two, 6, true).await);
        assert_eq!(events.data("component_scaled").await["image_ref"], json!(two));
        ok(lattice.client.update_component(&host, "echo", &one, Some(annotations())).await);
        let data = events.data("component_scaled").await;
        assert_eq!((&data["image_ref"], &data["max_instances"]), (&json!(one), &json!(6)));
        assert!(refused(lattice.client.update_component(&host, "nobody", &one, None).await).contains("nobody"));

        ok(scale(&one, 0, false).await);
        assert_eq!(events.data("component_scaled").await["max_instances"], 0);
        ok(scale("file:///no/such.wasm", 1, false).await);
        let data = events.data("component_scale_failed").await;
        assert!(data["error"].as_str().is_some_and(|error| error.contains("/no/such.wasm")), "{data}");
        assert_eq!((&data["component_id"], &data["annotations"]), (&json!("echo"), &json!(annotations())));
    }
}

#[tokio::test]
async fn limits_are_applied_and_told_back() {
    for lattice in Lattice::both(&["a"]).await {
        let host = lattice.host("a").await;
        let reference = lattice.actor("one");
        let mut events = lattice.events().await;
        let limits = |memory: &str| json!({"max_memory_limit": memory, "max_execution_time": "250"});
        // The published client cannot say limits; the control interface can.
        let start = async |id: &str, memory: &str| {
            let command = json!({
                "component_ref": reference, "component_id": id, "host_id": host, "count": 1, "config": [],
                "allow_update": false, "component_limits": limits(memory),
            });
            let subject = format!("wasmbus.ctl.v1.default.component.scale.{host}");
            let answer = lattice.nats.request(subject, command.to_string().into()).await.expect("an answer");
            let answer: Value = serde_json::from_slice(&answer.payload).expect("JSON");
            assert_eq!(answer, json!({"success": true, "message": ""}));
        };
        start("roomy", "1048576").await;
        events.data("component_scaled").await;
        let inventory = ok(lattice.client.get_host_inventory(&host).await);
        assert_eq!(
            inventory.data().expect("an inventory").components()[0].limits().map(|it| json!(it)),
            Some(limits("1048576"))
        );
        start("tight", "1000").await;
        let error = events.data("component_scale_failed").await["error"].to_string();
        assert!(error.contains("memory"), "{error}");
    }
}

#[tokio::test]
async fn only_hosts_that_fit_bid() {
    let lattice = Lattice::start(&["a", "b"]).await;
    let host = lattice.host("a").await;
    let reference = lattice.actor("one");
    let constraints = |zone: &str| BTreeMap::from([("zone".to_owned(), zone.to_owned())]);
    let bidders = async |zone: &str| {
        let bids = lattice.client.perform_component_auction(&reference, "echo", constraints(zone)).await;
        ok_all(bids.expect("answers")).iter().map(|bid| bid.host_id().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(bidders("a").await, [host.clone()]);
    assert_eq!(bidders("nowhere").await, [""; 0]);
    let everywhere = lattice.client.perform_component_auction(&reference, "echo", BTreeMap::new()).await;
    assert_eq!(everywhere.expect("answers").len(), 2);
    let mut events = lattice.events().await;
    ok(lattice.client.scale_component(&host, &reference, "echo", 1, None, Vec::new(), false).await);
    events.data("component_scaled").await;
    assert_eq!(bidders("a").await, [""; 0], "it runs there already");
}

#[tokio::test]
async fn only_hosts_that_fit_bid_for_a_provider() {
    let lattice = Lattice::start(&["a", "b"]).await;
    let (a, b) = (lattice.host("a").await, lattice.host("b").await);
    let bidders = async |reference: &str, labels: &[(&str, &str)]| {
        let labels: BTreeMap<_, _> =
            labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        let bids = lattice.client.perform_provider_auction(reference, "kv", labels).await;
        let mut hosts: Vec<_> = ok_all(bids.expect("answers")).iter().map(|bid| bid.host_id().to_owned()).collect();
        hosts.sort();
        hosts
    };
    let mut both = [a.clone(), b.clone()];
    both.sort();
    assert_eq!(bidders("builtin:keyvalue", &[]).await, both);
    assert_eq!(bidders("builtin:keyvalue", &[("zone", "b")]).await, [b.clone()]);
    assert_eq!(bidders("builtin:keyvalue", &[("zone", "nowhere")]).await, [""; 0]);
    assert_eq!(bidders("builtin:keyvalue", &[("zone", "b"), ("disk", "ssd")]).await, [""; 0], "all labels are wanted");
    assert_eq!(bidders("builtin:nonsense", &[]).await, [""; 0], "nobody can run it");
    let mut events = lattice.events().await;
    ok(lattice.client.start_provider(&a, "builtin:keyvalue", "kv", None, Vec::new()).await);
    events.data("provider_started").await;
    assert_eq!(bidders("builtin:keyvalue", &[]).await, [b], "it runs on a already");
}

#[tokio::test]
async fn providers_start_and_stop() {
    for lattice in Lattice::both(&["a"]).await {
        let host = lattice.host("a").await;
        let mut events = lattice.events().await;
        let start = async |reference: &str, id: &str| {
            lattice.client.start_provider(&host, reference, id, Some(annotations()), Vec::new()).await
        };
        ok(start("builtin:keyvalue", "kv").await);
        let data = events.data("provider_started").await;
        assert_eq!((&data["provider_id"], &data["image_ref"]), (&json!("kv"), &json!("builtin:keyvalue")));
        assert_eq!((&data["annotations"], &data["host_id"]), (&json!(annotations()), &json!(host)));
        assert!(refused(start("builtin:keyvalue", "kv").await).contains("kv"), "it runs already");
        let data = events.data("health_check_passed").await;
        assert_eq!((&data["provider_id"], &data["host_id"]), (&json!("kv"), &json!(host)));
        let inventory = ok(lattice.client.get_host_inventory(&host).await);
        let provider = &inventory.data().expect("an inventory").providers()[0];
        assert_eq!((provider.id(), provider.image_ref()), ("kv", Some("builtin:keyvalue")));
        assert_eq!(provider.annotations(), Some(&annotations()));

        ok(start("builtin:nonsense", "none").await);
        let data = events.data("provider_start_failed").await;
        assert_eq!((&data["provider_ref"], &data["provider_id"]), (&json!("builtin:nonsense"), &json!("none")));
        assert!(data["error"].as_str().is_some_and(|error| error.contains("builtin:keyvalue")), "{data}");

        ok(lattice.client.stop_provider(&host, "kv").await);
        let data = events.data("provider_stopped").await;
        assert_eq!((&data["provider_id"], &data["annotations"]), (&json!("kv"), &json!(annotations())));
        assert!(data["reason"].is_string(), "{data}");
        assert!(refused(lattice.client.stop_provider(&host, "kv").await).contains("kv"));
    }
}

#[tokio::test]
async fn a_provider_that_is_ill_is_told() {
    let lattice = Lattice::start(&["a"]).await;
    let (client, host) = (&lattice.client, lattice.host("a").await);
    let (broker, url) = support::nats_server(&lattice.folder("broker")).await;
    let mut events = lattice.events().await;
    ok(client.start_provider(&host, "builtin:messaging", "msg", None, Vec::new()).await);
    ok(client.put_config("broker", HashMap::from([("cluster_uris".to_owned(), url)])).await);
    let consumer = Link::builder().source_id("app").target("msg").name("default").wit_namespace("wasmcloud");
    let consumer = consumer.wit_package("messaging").interfaces(vec!["consumer".to_owned()]);
    ok(client.put_link(consumer.target_config(vec!["broker".to_owned()]).build().expect("a link")).await);
    let told = json!({"host_id": host, "provider_id": "msg"});
    assert_eq!(events.data("health_check_passed").await, told);
    eventually("the link", async || {
        let inventory = lattice.inventory(&host).await;
        (inventory["providers"][0]["links"][0]["state"] == "up").then_some(())
    })
    .await;
    drop(broker);
    // Once for the change, and from then on that it is as it was.
    assert_eq!(events.data("health_check_failed").await, told);
    let next = events.any(&["health_check_passed", "health_check_failed", "health_check_status"]).await;
    assert_eq!((&next["type"], &next["data"]), (&json!("com.wasmcloud.lattice.health_check_status"), &told));
}

#[tokio::test]
async fn labels_and_claims() {
    for lattice in Lattice::both(&["a"]).await {
        let host = lattice.host("a").await;
        let client = &lattice.client;
        let mut events = lattice.events().await;
        ok(client.put_label(&host, "disk", "ssd").await);
        let data = events.data("labels_changed").await;
        assert_eq!((&data["host_id"], &data["labels"]["disk"]), (&json!(host), &json!("ssd")));
        assert!(refused(client.put_label(&host, "hostcore.os", "x").await).contains("hostcore.os"));
        ok(client.delete_label(&host, "disk").await);
        assert_eq!(events.data("labels_changed").await["labels"].get("disk"), None);
        ok(client.delete_label(&host, "disk").await);

        let reference = lattice.actor("one");
        ok(client.scale_component(&host, &reference, "echo", 1, None, Vec::new(), false).await);
        let key = events.data("component_scaled").await["public_key"].clone();
        let claims = ok(client.get_claims().await);
        let claims = &claims.data().expect("claims")[0];
        assert_eq!((claims["name"].as_str(), json!(claims["sub"])), ("one", key));
        for member in ["iss", "issuer", "rev", "revision", "subject", "version", "call_alias", "tags"] {
            assert!(claims.contains_key(member), "{member} of {claims:?}");
        }
    }
}

#[tokio::test]
async fn names_that_could_be_subjects_are_refused_by_the_host() {
    let lattice = Lattice::start(&["a"]).await;
    let host = lattice.host("a").await;
    // The published client would not send all of them.
    let refusal = async |tail: &str, request: &Value| {
        let subject = format!("wasmbus.ctl.v1.default.{tail}");
        let answer = lattice.nats.request(subject, request.to_string().into()).await.expect("an answer");
        let answer: Value = serde_json::from_slice(&answer.payload).expect("JSON");
        assert_eq!(answer["success"], false, "{tail} {answer}");
        answer["message"].as_str().expect("a reason").to_owned()
    };
    let provider = json!({"provider_ref": "builtin:keyvalue", "provider_id": "kv", "host_id": host, "config": []});
    let component = json!({
        "component_ref": "file:///x.wasm", "component_id": "x", "host_id": host, "count": 1, "config": [],
        "allow_update": false,
    });
    let link = serde_json::to_value(link("app", "kv", &[])).expect("JSON");
    let (start, scale) = (format!("provider.start.{host}"), format!("component.scale.{host}"));
    let (start, scale) = (start.as_str(), scale.as_str());
    let long = "x".repeat(10_240);
    for name in ["a.b", "*", ">", "a b", "", &long] {
        for (tail, request, member) in [
            (start, &provider, "provider_id"),
            (start, &provider, "config"),
            (scale, &component, "component_id"),
            (scale, &component, "config"),
            ("link.put", &link, "source_id"),
            ("link.put", &link, "target"),
            ("link.put", &link, "name"),
            ("link.put", &link, "target_config"),
            ("link.del", &link, "source_id"),
        ] {
            let mut request = request.clone();
            request[member] = if member.ends_with("config") { json!([name]) } else { json!(name) };
            let message = refusal(tail, &request).await;
            assert!(message.contains("letters, digits") && message.len() < 500, "{tail} {member}: {message}");
        }
    }
    assert!(refusal("config.put.a.b", &json!({"key": "value"})).await.contains("config name"));
    let inventory = lattice.inventory(&host).await;
    assert_eq!((&inventory["providers"], &inventory["components"]), (&json!([]), &json!([])));
    assert_eq!(ok(lattice.client.get_links().await).data(), Some(&Vec::new()));
}

#[tokio::test]
async fn what_is_unknown_and_the_end() {
    let lattice = Lattice::start(&["a"]).await;
    let host = lattice.host("a").await;
    for tail in [format!("host.dance.{host}"), "link.dance".to_owned(), "config.dance.x".to_owned()] {
        let answer =
            lattice.nats.request(format!("wasmbus.ctl.v1.default.{tail}"), "".into()).await.expect("an answer");
        let answer: Value = serde_json::from_slice(&answer.payload).expect("JSON");
        assert_eq!(answer, json!({"success": false, "message": "unsupported subject"}), "{tail}");
    }
    let mut events = lattice.events().await;
    let mut typed = lattice.client.events_receiver(vec!["host_stopped".to_owned()]).await.expect("subscribed");
    ok(lattice.client.stop_host(&host, Some(500)).await);
    let stopped = events.next("host_stopped").await;
    assert_eq!((&stopped["source"], &stopped["data"]["labels"]["zone"]), (&json!(host), &json!("a")));
    let event = tokio::time::timeout(support::PATIENCE, typed.recv()).await.expect("in time");
    assert!(event.is_some(), "the client reads our events");
    eventually("an empty lattice", async || lattice.client.get_hosts().await.ok().filter(Vec::is_empty)).await;
}

#[tokio::test]
async fn a_host_says_that_it_has_started_and_that_it_is_there() {
    let mut lattice = Lattice::start(&["a"]).await;
    let mut events = lattice.events().await;
    lattice.start_host("b");
    let data = events.data("host_started").await;
    assert_eq!((&data["friendly_name"], &data["uptime_seconds"]), (&json!("b"), &json!(0)));
    assert!(data["version"].is_string() && data["labels"]["zone"] == "b", "{data}");
    let beat = tokio::time::timeout(std::time::Duration::from_secs(60), events.next("host_heartbeat"));
    let data = beat.await.expect("one every 30 s")["data"].take();
    for member in
        ["host_id", "friendly_name", "labels", "version", "uptime_human", "uptime_seconds", "components", "providers"]
    {
        assert!(data.get(member).is_some(), "{member} of {data}");
    }
}
