//! The control interface as clients of lattice v1 see it: exact JSON.

use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use trellis_lattice::id::HostId;
use trellis_lattice::subject::Subject;

use crate::cluster::{Cluster, provider, scale};
use crate::guests;

/// Asks as a client would that knows subjects as text only.
async fn ask(cluster: &Cluster, tail: &str, request: &str) -> Value {
    let subject = Subject::from_wire(&format!("wasmbus.ctl.v1.test.{tail}")).expect("valid");
    let transport = cluster.transport("raw");
    let answer = transport.request(subject, Bytes::from(request.to_owned()), Duration::from_secs(10)).await;
    serde_json::from_slice(&answer.unwrap_or_else(|error| panic!("{tail}: {error}")).payload).expect("JSON")
}

#[tokio::test]
async fn a_host_says_who_it_is() {
    let cluster = Cluster::new();
    let host = cluster.host("a").await;
    let reply = ask(&cluster, "host.ping", "").await;
    assert_eq!((&reply["success"], &reply["message"]), (&json!(true), &json!("")));
    let summary = &reply["response"];
    assert_eq!(summary["id"], host.id().as_str());
    assert_eq!((&summary["friendly_name"], &summary["lattice"]), (&json!("a"), &json!("test")));
    let labels = json!({
        "zone": "a",
        "granted": "yes",
        "hostcore.arch": std::env::consts::ARCH,
        "hostcore.os": std::env::consts::OS,
        "hostcore.osfamily": std::env::consts::FAMILY,
    });
    assert_eq!(summary["labels"], labels);
    assert!(
        summary["uptime_seconds"].is_u64() && summary["uptime_human"].is_string() && summary["version"].is_string()
    );
}

#[tokio::test]
async fn an_actor_is_scaled_up_and_down_and_stopped() {
    let cluster = Cluster::new();
    let host = cluster.host("a").await;
    let id = host.id().clone();
    let mut events = cluster.events().await;
    let file = cluster.actor("echo", &guests::echo(), None);
    let order = |count: u32, reference: &str| {
        json!({
            "component_ref": reference, "component_id": "echo", "count": count, "host_id": id.as_str(),
            "annotations": {"wasmcloud.dev/scaler": "abc"},
            "component_limits": {"max_memory_limit": "1048576", "max_execution_time": "500"},
        })
        .to_string()
    };
    let scale = format!("component.scale.{id}");
    let reference = file.display().to_string();
    let digest = format!("{:x}", Sha256::digest(std::fs::read(&file).expect("is read")));
    for count in [5, 2] {
        assert_eq!(ask(&cluster, &scale, &order(count, &reference)).await, json!({"success": true, "message": ""}));
        let event = events.next("component_scaled").await;
        assert_eq!(event["max_instances"], count);
        if count == 5 {
            assert_eq!(events.next("component_scaled").await, event, "the first start is told twice");
        }
        assert_eq!(event["annotations"], json!({"wasmcloud.dev/scaler": "abc"}));
        assert_eq!((&event["component_id"], &event["host_id"]), (&json!("echo"), &json!(id.as_str())));
        assert_eq!((&event["image_ref"], &event["claims"]["name"]), (&json!(reference), &json!("echo")));
        let inventory = ask(&cluster, &format!("host.get.{id}"), "").await;
        let expected = json!([{
            "id": "echo", "image_ref": reference, "name": "echo", "revision": 3, "max_instances": count,
            "digest": digest, "annotations": {"wasmcloud.dev/scaler": "abc"},
            "limits": {"max_memory_limit": "1048576", "max_execution_time": "500"},
        }]);
        assert_eq!(inventory["response"]["components"], expected);
    }

    let other = cluster.actor("other", &guests::echo(), None).display().to_string();
    let reply = ask(&cluster, &scale, &order(3, &other)).await;
    assert_eq!(reply["success"], true);
    assert!(reply["message"].as_str().is_some_and(|message| message.contains("allow the update")), "{reply}");
    assert_eq!(events.next("component_scaled").await["image_ref"], reference, "it keeps its reference");

    let update = json!({"component_id": "echo", "new_component_ref": other, "host_id": id.as_str()}).to_string();
    assert_eq!(ask(&cluster, &format!("component.update.{id}"), &update).await["success"], true);
    assert_eq!(events.next("component_scaled").await["image_ref"], other);

    assert_eq!(ask(&cluster, &scale, &order(0, &other)).await["success"], true);
    assert_eq!(events.next("component_scaled").await["max_instances"], 0);
    let inventory = ask(&cluster, &format!("host.get.{id}"), "").await;
    assert_eq!(inventory["response"]["components"], json!([]));
    assert_eq!(ask(&cluster, &format!("component.update.{id}"), &update).await["success"], false, "it is gone");
}

#[tokio::test]
async fn a_provider_is_started_once_and_stopped_once() {
    let cluster = Cluster::new();
    let host = cluster.host("a").await;
    let id = host.id().clone();
    let mut events = cluster.events().await;
    let start = serde_json::to_string(&provider(&id, "echo", "echo")).expect("JSON");
    let stop = json!({"host_id": id.as_str(), "provider_ref": "echo"}).to_string();
    let (to_start, to_stop) = (format!("provider.start.{id}"), format!("provider.stop.{id}"));
    assert_eq!(ask(&cluster, &to_stop, &stop).await["success"], false);
    assert_eq!(ask(&cluster, &to_start, &start).await, json!({"success": true, "message": ""}));
    let event = events.next("provider_started").await;
    let expected = json!({
        "host_id": id.as_str(), "image_ref": "builtin:echo", "provider_id": "echo", "annotations": {"note": "kept"},
    });
    assert_eq!(event, expected);
    assert_eq!(ask(&cluster, &to_start, &start).await["success"], false);
    let inventory = ask(&cluster, &format!("host.get.{id}"), "").await;
    let expected = json!([{
        "id": "echo", "image_ref": "builtin:echo", "name": "echo for tests", "revision": 0,
        "annotations": {"note": "kept"}, "links": [],
    }]);
    assert_eq!(inventory["response"]["providers"], expected);
    assert_eq!(ask(&cluster, &to_stop, &stop).await["success"], true);
    assert_eq!(events.next("provider_stopped").await["provider_id"], "echo");

    for (reference, reason) in [("builtin:nothing", "builtin:echo"), ("127.0.0.1:1/acme/kv:1", "cannot pull")] {
        let start = json!({"provider_id": "p", "provider_ref": reference, "host_id": id.as_str()}).to_string();
        assert_eq!(ask(&cluster, &to_start, &start).await["success"], true);
        let event = events.next("provider_start_failed").await;
        assert!(event["error"].as_str().is_some_and(|error| error.contains(reason)), "{event}");
    }
}

#[tokio::test]
async fn what_is_wrong_with_a_request_is_said() {
    let cluster = Cluster::new();
    let host = cluster.host("a").await;
    let id = host.id();
    let elsewhere = HostId::parse(
        &trellis_lattice::identity::key::Key::generate(trellis_lattice::identity::key::KeyKind::Host).public(),
    )
    .expect("a host");
    let misdirected = serde_json::to_string(&provider(&elsewhere, "echo", "echo")).expect("JSON");
    for (tail, request, reason) in [
        (format!("component.scale.{id}"), "{", "component.scale is malformed"),
        (format!("component.scale.{id}"), "{\"component_ref\":\"x\"}", "component_id"),
        (format!("provider.start.{id}"), "[]", "provider.start is malformed"),
        (format!("provider.start.{id}"), misdirected.as_str(), "this is"),
        (format!("label.put.{id}"), "{\"key\":\"hostcore.os\",\"value\":\"x\"}", "cannot be changed"),
        (format!("label.put.{id}"), "{\"key\":\"granted\",\"value\":\"no\"}", "cannot be changed"),
        (format!("host.foo.{id}"), "", "unsupported subject"),
        ("link.foo".to_owned(), "", "unsupported subject"),
        ("config.foo.bar".to_owned(), "", "unsupported subject"),
        ("config.get.a.b".to_owned(), "", "config name"),
        ("link.put".to_owned(), "{\"source_id\":\"a.b\"}", "link.put is malformed"),
        ("config.put.c".to_owned(), "{\"a\":1}", "config.put is malformed"),
    ] {
        let reply = ask(&cluster, &tail, request).await;
        assert_eq!(reply["success"], false, "{tail}: {reply}");
        assert!(reply["message"].as_str().is_some_and(|message| message.contains(reason)), "{tail}: {reply}");
        assert!(reply.get("response").is_none(), "{tail}: {reply}");
    }
    assert_eq!(
        ask(&cluster, "config.get.absent", "").await,
        json!({"success": true, "message": "Configuration not found"})
    );
}

#[tokio::test]
async fn labels_change_and_decide_auctions() {
    let cluster = Cluster::new();
    let host = cluster.host("a").await;
    let id = host.id().clone();
    let mut events = cluster.events().await;
    let put = ask(&cluster, &format!("label.put.{id}"), "{\"key\":\"tier\",\"value\":\"edge\"}").await;
    assert_eq!(put, json!({"success": true, "message": ""}));
    let event = events.next("labels_changed").await;
    assert_eq!((&event["host_id"], &event["labels"]["tier"]), (&json!(id.as_str()), &json!("edge")));
    let auction =
        |tier: &str| json!({"component_ref": "x", "component_id": "c", "constraints": {"tier": tier}}).to_string();
    let bid = ask(&cluster, "component.auction", &auction("edge")).await;
    assert_eq!(bid["response"]["host_id"], id.as_str());
    let client = cluster.client();
    let constraints = [("tier".to_owned(), "cloud".to_owned())].into();
    let wanted = trellis_lattice::message::command::ComponentAuction {
        component_ref: "x".to_owned(),
        component_id: "c".parse().expect("valid"),
        constraints,
    };
    assert_eq!(client.auction_component(&wanted).await.expect("asked"), []);
    ask(&cluster, &format!("label.del.{id}"), "{\"key\":\"tier\"}").await;
    assert!(events.next("labels_changed").await["labels"].get("tier").is_none());
}

#[tokio::test]
async fn claims_of_what_ran_are_listed() {
    let cluster = Cluster::new();
    let host = cluster.host("a").await;
    let file = cluster.actor("echo", &guests::echo(), None);
    cluster.client().scale(&scale(host.id(), "echo", &file, 1)).await.expect("starts");
    let reply = ask(&cluster, "claims.get", "").await;
    let claims = &reply["response"][0];
    assert_eq!((&claims["name"], &claims["rev"]), (&json!("echo"), &json!("3")));
    assert_eq!((&claims["iss"], &claims["issuer"]), (&json!(cluster.authority.public()), &claims["iss"]));
    assert!(claims["sub"].as_str().is_some_and(|subject| subject.starts_with('M')));
}
