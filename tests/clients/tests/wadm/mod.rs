//! wadm's API, driven by the client that wasmCloud 1.x publishes, against a real wadm, host and nats-server, and against
//! `trellis up`, which is all of these.

use futures::StreamExt as _;
use wadm_client::Client;
use wadm_client::error::ClientError;

use crate::support::{Lattice, PATIENCE, eventually};

/// An application with one actor, from `image`.
fn manifest(version: &str, image: &str) -> Vec<u8> {
    format!(
        "apiVersion: core.oam.dev/v1beta1
kind: Application
metadata:
  name: shop
  annotations:
    version: {version}
    description: a shop
spec:
  components:
    - name: web
      type: component
      properties:
        image: {image}
      traits:
        - type: spreadscaler
          properties:
            instances: 1
"
    )
    .into_bytes()
}

async fn start() -> (Lattice, Client, String) {
    let mut lattice = Lattice::start(&["a"]).await;
    lattice.start_wadm();
    ready(lattice).await
}

async fn start_box() -> (Lattice, Client, String) {
    ready(Lattice::start_box(&["a"]).await).await
}

async fn ready(lattice: Lattice) -> (Lattice, Client, String) {
    let client = Client::from_nats_client("default", None, lattice.nats.clone());
    eventually("wadm", async || client.list_manifests().await.ok()).await;
    let image = lattice.actor("shop");
    (lattice, client, image)
}

/// Waits until the status has this type, as it is on the wire.
async fn status(client: &Client, wanted: &str) {
    eventually(wanted, async || {
        let status = client.get_manifest_status("shop").await.ok()?;
        let status = serde_json::to_value(&status).expect("it has a JSON form");
        (status["status"]["type"] == wanted).then_some(())
    })
    .await;
}

#[tokio::test]
async fn an_application_goes_through_all_operations_of_the_client() {
    for (_lattice, client, image) in [start().await, start_box().await] {
        let put = client.put_manifest(manifest("v1", &image)).await.expect("put");
        assert_eq!(put, ("shop".to_owned(), "v1".to_owned()));
        client.put_manifest(manifest("v2", &image)).await.expect("put");
        let refused = client.put_manifest(manifest("v2", "file:///another.wasm")).await;
        assert!(matches!(refused, Err(ClientError::ApiError(message)) if message.contains("other content")));

        let mut statuses = client.subscribe_to_status("shop").await.expect("subscribed");
        let deployed = client.deploy_manifest("shop", Some("v1")).await.expect("deployed");
        assert_eq!(deployed, ("shop".to_owned(), Some("v1".to_owned())));
        status(&client, "deployed").await;
        let published = tokio::time::timeout(PATIENCE, statuses.next()).await.expect("published").expect("a status");
        let published: serde_json::Value = serde_json::from_slice(&published.payload).expect("JSON");
        assert!(published["status"]["type"].is_string(), "{published}");

        let manifest = client.get_manifest("shop", None).await.expect("there");
        assert_eq!((manifest.version(), manifest.description()), ("v2", Some("a shop")));
        let versions = client.list_versions("shop").await.expect("there");
        let versions: Vec<_> = versions.iter().map(|version| (version.version.as_str(), version.deployed)).collect();
        assert_eq!(versions, [("v1", true), ("v2", false)]);
        let models = client.list_manifests().await.expect("answered");
        assert_eq!((models.len(), models[0].deployed_version.as_deref()), (1, Some("v1")));

        assert_eq!(client.undeploy_manifest("shop").await.expect("undeployed"), "shop");
        status(&client, "undeployed").await;
        assert!(client.delete_manifest("shop", Some("v1")).await.expect("deleted"));
        assert!(client.delete_manifest("shop", None).await.expect("deleted"));
        assert!(!client.delete_manifest("shop", None).await.expect("nothing to delete"));
        assert!(matches!(client.get_manifest("shop", None).await, Err(ClientError::NotFound(_))));
        assert!(matches!(client.deploy_manifest("shop", None).await, Err(ClientError::NotFound(_))));
    }
}

#[tokio::test]
async fn putting_and_deploying_in_one_go_runs_what_was_put() {
    let (_lattice, client, image) = start().await;
    client.put_manifest(manifest("v1", &image)).await.expect("put");
    let deployed = client.put_and_deploy_manifest(manifest("v2", &image)).await.expect("deployed");
    assert_eq!(deployed, ("shop".to_owned(), "v2".to_owned()));
    status(&client, "deployed").await;
}

/// An actor with a link to a provider that has a config.
fn with_provider(version: &str, image: &str, interface: &str) -> Vec<u8> {
    let link = format!("{{ target: kv, namespace: wasi, package: keyvalue, interfaces: [{interface}] }}");
    let provider = "    - name: kv
      type: capability
      properties:
        image: builtin:keyvalue
        config: [{ name: store, properties: { backend: embedded } }]
";
    let manifest = String::from_utf8(manifest(version, image)).expect("text");
    format!("{manifest}        - type: link\n          properties: {link}\n{provider}").into_bytes()
}

#[tokio::test]
async fn an_application_with_a_provider_and_a_link_stands_as_its_last_version() {
    let (lattice, client, image) = start().await;
    client.put_manifest(with_provider("v1", &image, "store")).await.expect("put");
    client.put_manifest(with_provider("v2", &image, "atomics")).await.expect("put");
    let deployed = client.deploy_manifest("shop", Some("latest")).await.expect("deployed");
    assert_eq!(deployed, ("shop".to_owned(), Some("v2".to_owned())));
    status(&client, "deployed").await;
    let links = lattice.client.get_links().await.expect("an answer");
    let link = &links.data().expect("links")[0];
    assert_eq!(
        (link.source_id(), link.target(), &link.interfaces()[..]),
        ("shop-web", "shop-kv", &["atomics".to_owned()][..])
    );
    let host = lattice.host("a").await;
    let inventory = lattice.inventory(&host).await;
    assert_eq!(
        (&inventory["components"][0]["id"], &inventory["providers"][0]["id"]),
        (&"shop-web".into(), &"shop-kv".into())
    );
    let manifest = client.get_manifest("shop", Some("latest")).await.expect("there");
    assert_eq!((manifest.version(), manifest.spec.components.len()), ("v2", 2));

    client.undeploy_manifest("shop").await.expect("undeployed");
    status(&client, "undeployed").await;
    eventually("an empty host", async || {
        let inventory = lattice.inventory(&host).await;
        let is_empty = |what: &str| inventory[what].as_array().is_some_and(Vec::is_empty);
        (is_empty("components") && is_empty("providers")).then_some(())
    })
    .await;
    assert_eq!(lattice.client.get_links().await.expect("an answer").data(), Some(&Vec::new()));
}

#[tokio::test]
async fn all_problems_of_a_manifest_are_told_at_once() {
    let (_lattice, client, image) = start().await;
    let manifest = String::from_utf8(with_provider("latest", &image, "store")).expect("text");
    let manifest = manifest.replace("target: kv", "target: kw").replace("name: kv", "name: web");
    let Err(ClientError::ApiError(message)) = client.put_manifest(manifest.into_bytes()).await else {
        panic!("it was taken")
    };
    for problem in ["no version can be called `latest`", "component `web` is there twice", "no component `kw`"] {
        assert!(message.contains(problem), "{problem} in {message}");
    }
    assert_eq!(client.list_manifests().await.expect("answered").len(), 0);
}

#[tokio::test]
async fn what_is_wrong_with_an_application_is_in_its_status() {
    let (_lattice, client, image) = start().await;
    let deploy = async |version: &str, manifest: Vec<u8>, wanted: &str, reason: &str| {
        client.put_manifest(manifest).await.expect("put");
        client.deploy_manifest("shop", Some(version)).await.expect("deployed");
        eventually(wanted, async || {
            let status = client.get_manifest_status("shop").await.ok()?;
            let status = serde_json::to_value(&status).expect("it has a JSON form");
            (status["status"]["type"] == wanted && status.to_string().contains(reason)).then_some(())
        })
        .await;
    };
    let text = |version: &str| String::from_utf8(with_provider(version, &image, "store")).expect("text");
    let spread = "instances: 1\n            spread: [{ name: one, requirements: { zone: nowhere } }]";
    let nowhere = text("v1").replace("instances: 1", spread).into_bytes();
    deploy("v1", nowhere, "waiting", "zone").await;
    // Of two applications that want one id the first one by name has it.
    let with_id = |manifest: String| {
        let with_id = manifest.replace(&format!("image: {image}"), &format!("image: {image}\n        id: the-one"));
        assert_ne!(with_id, manifest);
        with_id
    };
    let rival = String::from_utf8(manifest("v1", &image)).expect("text").replace("name: shop", "name: rival");
    client.put_and_deploy_manifest(with_id(rival).into_bytes()).await.expect("deployed");
    deploy("v2", with_id(text("v2")).into_bytes(), "failed", "is that of a component of rival").await;
    // Its broker is where nobody listens.
    let broker = "target: { name: kv, config: [{ name: gone, properties: { cluster_uris: \"nats://127.0.0.1:1\" } }] }";
    let alone = text("v3")
        .replace("builtin:keyvalue", "builtin:messaging")
        .replace("{ name: store, properties: { backend: embedded } }", "")
        .replace(
            "namespace: wasi, package: keyvalue, interfaces: [store]",
            "namespace: wasmcloud, package: messaging, interfaces: [consumer]",
        )
        .replace("target: kv", broker);
    deploy("v3", alone.into_bytes(), "unhealthy", "127.0.0.1:1").await;
    deploy("v4", with_provider("v4", &image, "store"), "deployed", "").await;
}
