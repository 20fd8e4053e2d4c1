//! What a lattice keeps: links, configs, and credentials of registries.

use std::collections::HashMap;

use futures::future::join_all;
use serde_json::json;
use wasmcloud_control_interface::RegistryCredential;

use crate::support::{self, Lattice};
use crate::{link, ok, refused};

#[tokio::test]
async fn rival_writers_of_links_on_two_hosts_lose_nothing() {
    const LINKS: usize = 40;
    let lattice = Lattice::start(&["a", "b"]).await;
    let client = &lattice.client;
    // All at once: each is answered by one of the two hosts, as nats-server has it, which write to one stream.
    let links: Vec<_> = (0..LINKS).map(|n| link(&format!("app{n}"), "kv", &[])).collect();
    join_all(links.iter().map(|link| client.put_link(link.clone()))).await.into_iter().for_each(|outcome| {
        ok(outcome);
    });
    let stored = async || {
        let mut sources: Vec<_> = ok(client.get_links().await).data().expect("links").clone();
        sources.sort_by(|one, other| (one.source_id(), one.target()).cmp(&(other.source_id(), other.target())));
        sources.iter().map(|link| (link.source_id().to_owned(), link.target().to_owned())).collect::<Vec<_>>()
    };
    let expected = |sources: &[usize]| {
        let mut all: Vec<_> = sources.iter().map(|n| (format!("app{n}"), "kv".to_owned())).collect();
        all.sort();
        all
    };
    assert_eq!(stored().await, expected(&(0..LINKS).collect::<Vec<_>>()));
    // Some are deleted while others are put again.
    let change = async |n: usize| {
        let outcome = match n % 2 {
            0 => client.delete_link(&format!("app{n}"), "default", "wasi", "keyvalue").await,
            _ => client.put_link(links[n].clone()).await,
        };
        ok(outcome);
    };
    join_all((0..LINKS).map(change)).await;
    assert_eq!(stored().await, expected(&(0..LINKS).filter(|n| n % 2 == 1).collect::<Vec<_>>()));

    // Of those that exclude each other at most one is there, and only whoever put that one was told so.
    for round in 0..5 {
        let source = format!("torn{round}");
        let rivals: Vec<_> = (0..6).map(|n| link(&source, &format!("kv{n}"), &[])).collect();
        let outcomes = join_all(rivals.iter().map(|link| client.put_link(link.clone()))).await;
        let succeeded = outcomes.into_iter().map(|outcome| outcome.expect("an answer").succeeded());
        let winners: Vec<_> =
            rivals.iter().zip(succeeded).filter(|(_, won)| *won).map(|(link, _)| link.target()).collect();
        let stored = stored().await;
        let of_source: Vec<_> =
            stored.iter().filter(|(of, _)| *of == source).map(|(_, target)| target.as_str()).collect();
        assert!(of_source == winners && winners.len() <= 1, "{of_source:?} is there, {winners:?} were told so");
    }
}

#[tokio::test]
async fn links_and_configs_are_kept_for_the_lattice() {
    for lattice in Lattice::both(&["a", "b"]).await {
        let client = &lattice.client;
        let mut events = lattice.events().await;
        let content = HashMap::from([("url".to_owned(), "x".to_owned())]);
        let absent = ok(client.get_config("settings").await);
        assert_eq!((absent.data(), absent.message()), (None, "Configuration not found"));
        ok(client.put_config("settings", content.clone()).await);
        assert_eq!(events.data("config_set").await, json!({"config_name": "settings"}));
        assert_eq!(ok(client.get_config("settings").await).data(), Some(&content));

        let wanted = link("app", "kv", &["settings"]);
        ok(client.put_link(wanted.clone()).await);
        assert_eq!(events.data("linkdef_set").await, serde_json::to_value(&wanted).expect("JSON"));
        assert_eq!(ok(client.get_links().await).data(), Some(&vec![wanted]));
        assert!(refused(client.put_link(link("app", "other", &[])).await).contains("kv"), "it leads elsewhere already");
        let data = events.data("linkdef_set_failed").await;
        assert!(data["target"] == "other" && data["error"].is_string(), "{data}");
        assert!(refused(client.put_link(link("app2", "kv", &["absent"])).await).contains("absent"));

        ok(client.delete_link("app", "default", "wasi", "keyvalue").await);
        let data = events.data("linkdef_deleted").await;
        assert_eq!(data["target"], "kv");
        ok(client.delete_link("app", "default", "wasi", "keyvalue").await);
        let again = json!({"source_id": "app", "name": "default", "wit_namespace": "wasi", "wit_package": "keyvalue"});
        assert_eq!(events.data("linkdef_deleted").await, again, "it is told although there was none");
        ok(client.delete_config("settings").await);
        assert_eq!(events.data("config_deleted").await, json!({"config_name": "settings"}));
        ok(client.delete_config("settings").await);
        assert_eq!(ok(client.get_config("settings").await).data(), None);
    }
}

#[tokio::test]
async fn credentials_that_the_lattice_is_told_let_hosts_pull() {
    let lattice = Lattice::start(&["a"]).await;
    let host = lattice.host("a").await;
    let (_registry, name) = support::docker_registry(&lattice.folder("registry")).await;
    let (reference, component) = (format!("{name}/acme/echo:1"), lattice.actor("one"));
    // Whoever pushes has logged in; the host has not.
    let login = lattice.folder("docker");
    let auths = json!({"auths": {&name: {"username": "user", "password": "secret"}}});
    std::fs::write(login.join("config.json"), auths.to_string()).expect("written");
    let login = login.display().to_string();
    lattice.run(&["push", &reference, component.trim_start_matches("file://"), "--docker-config", &login]);

    let mut events = lattice.events().await;
    let start =
        async || ok(lattice.client.scale_component(&host, &reference, "echo", 1, None, Vec::new(), false).await);
    start().await;
    let error = events.data("component_scale_failed").await["error"].to_string();
    assert!(error.contains("docker login") && error.contains("registry.put"), "{error}");
    let credential = |password| {
        let credential = RegistryCredential::from_username_password("user", password, "oci");
        HashMap::from([(name.clone(), credential)])
    };
    for (password, outcome) in [("wrong", "component_scale_failed"), ("secret", "component_scaled")] {
        ok(lattice.client.put_registries(credential(password)).await);
        // It is told to all hosts, and was heard once the host answers what came after.
        lattice.inventory(&host).await;
        start().await;
        let event = events.any(&["component_scale_failed", "component_scaled"]).await;
        assert_eq!(event["type"], format!("com.wasmcloud.lattice.{outcome}"), "{event}");
    }
}
