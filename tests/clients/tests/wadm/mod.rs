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
