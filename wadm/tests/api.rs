//! The API over the bus in memory, with a whole wadm behind it: what is answered, and what is published.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt as _;
use futures::future::join_all;
use trellis_lattice::error::Result;
use trellis_lattice::id::LatticeName;
use trellis_lattice::identity::key::{Key, KeyKind};
use trellis_lattice::identity::trust::Trust;
use trellis_lattice::store::memory::MemoryStore;
use trellis_lattice::store::{Expect, Key as RecordKey, Record, Revision, SharedStore, Store, Watch};
use trellis_lattice::subject::{ModelOperation, Models, Subject};
use trellis_lattice::transport::SharedTransport;
use trellis_lattice::transport::memory::MemoryBus;
use trellis_wadm::api::{
    CallInfo, Client, DeleteResult, DeployResult, EndInfo, GetResult, PlanReply, PutResult, Request, Server, Services,
    Status, StatusResult, StatusType,
};
use trellis_wadm::catalog::{Catalog, Place};
use trellis_wadm::lease::{Rivals, Timing};
use trellis_wadm::observe::Believes;
use trellis_wadm::plan::plan;
use trellis_wadm::reconcile::Wishes;
use trellis_wadm::{Parts, Settings, Wadm};

const PATIENCE: Duration = Duration::from_secs(20);

const SHOP: &str = "apiVersion: core.oam.dev/v1beta1
kind: Application
metadata:
  name: shop
  annotations: { version: v1, description: a shop }
spec:
  components:
    - name: web
      type: component
      properties: { image: file://web.wasm }
      traits:
        - type: link
          properties: { target: { name: kv }, namespace: wasi, package: keyvalue, interfaces: [store] }
    - name: kv
      type: capability
      properties: { image: builtin:keyvalue }
";

/// A wadm of a lattice without hosts.
struct Running {
    bus: MemoryBus,
    client: Client,
    _server: Server,
    _wadm: Wadm,
}

fn lattice() -> LatticeName {
    LatticeName::parse("default").expect("valid")
}

fn clock() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970").as_secs()
}

async fn run() -> Running {
    run_on(Arc::new(MemoryStore::new())).await
}

/// The same, with what is wadm's own on `own`.
async fn run_on(own: SharedStore) -> Running {
    let bus = MemoryBus::new();
    let transport: SharedTransport = Arc::new(bus.endpoint("wadm"));
    let store = Arc::new(MemoryStore::new());
    let key = Key::generate(KeyKind::Account);
    let place = Place { lattice: lattice(), own, mirror: Some(store.clone()), key: key.clone(), believes: [].into() };
    let catalog = Catalog::open(place).await.expect("opens");
    let authority = key.public().parse().expect("an issuer");
    let trust = Arc::new(Trust { authority, issuers: BTreeMap::new() });
    let settings = Settings {
        holder: "one".to_owned(),
        believes: Believes { lattice: lattice(), trust, clock },
        rivals: Rivals::Impossible,
        timing: Timing::unrivalled(),
        lowest_token: 1,
        settle: Duration::ZERO,
        seed: 1,
    };
    let parts = Parts {
        transport: transport.clone(),
        store,
        wishes: Wishes::new(catalog.intents()),
        roll_back: Arc::new(catalog.clone()),
        planner: Arc::new(plan),
    };
    let wadm = Wadm::start(parts, settings).await.expect("starts");
    let (board, preview) = (wadm.board(), wadm.preview());
    let services = Services { transport: transport.clone(), lattice: lattice(), catalog, board, preview };
    let server = Server::start(services).await.expect("starts");
    let client = Client::new(transport, &lattice(), PATIENCE);
    Running { bus, client, _server: server, _wadm: wadm }
}

/// A disk that takes no more writes once it hangs.
#[derive(Debug, Default)]
struct Disk {
    store: MemoryStore,
    hangs: AtomicBool,
}

impl Disk {
    async fn wait(&self) {
        if self.hangs.load(Ordering::Relaxed) {
            std::future::pending::<()>().await;
        }
    }
}

#[async_trait]
impl Store for Disk {
    async fn get(&self, key: &RecordKey) -> Result<Option<Record>> {
        self.store.get(key).await
    }

    async fn put(&self, key: &RecordKey, value: Bytes, expect: Expect) -> Result<Revision> {
        self.wait().await;
        self.store.put(key, value, expect).await
    }

    async fn delete(&self, key: &RecordKey, expect: Expect) -> Result<()> {
        self.wait().await;
        self.store.delete(key, expect).await
    }

    async fn list(&self, prefix: &str) -> Result<Vec<Record>> {
        self.store.list(prefix).await
    }

    async fn watch(&self, prefix: &str) -> Result<Watch> {
        self.store.watch(prefix).await
    }
}

#[tokio::test]
async fn changes_that_wait_for_a_disk_hold_up_no_status() {
    let disk = Arc::new(Disk::default());
    let Running { client, .. } = &run_on(disk.clone()).await;
    client.put(SHOP.into()).await.expect("answered");
    disk.hangs.store(true, Ordering::Relaxed);
    let request = version("v1");
    let changes = (0..40).map(|_| client.deploy("shop", &request));
    tokio::select! {
        biased;
        _ = join_all(changes) => panic!("the disk hangs"),
        status = client.status("shop") => assert_eq!(status.expect("answered").result, StatusResult::Ok),
    }
    assert_eq!(client.list().await.expect("answered").models.len(), 1);
}

fn version(version: &str) -> Request {
    Request { version: Some(version.to_owned()), who: Some("ann".to_owned()), why: Some("to see".to_owned()) }
}

/// The statuses that are published, until `is_wanted`.
async fn followed(client: &Client, is_wanted: impl Fn(&Status) -> bool) {
    let mut statuses = client.follow("shop").await.expect("subscribed");
    let mut last = client.status("shop").await.expect("answered").status.unwrap_or_default();
    let wait = async {
        while !is_wanted(&last) {
            let message = statuses.next().await.expect("the bus is there");
            last = serde_json::from_slice(&message.payload).expect("a status");
        }
    };
    let waited = tokio::time::timeout(PATIENCE, wait).await.is_ok();
    assert!(waited, "the last status was {last:?}");
}

#[tokio::test]
async fn an_application_goes_through_all_operations() {
    let Running { client, .. } = &run().await;
    let put = client.put(SHOP.into()).await.expect("answered");
    assert_eq!((put.result, put.total_versions, &*put.current_version), (PutResult::Created, 1, "v1"));
    let second = client.put(SHOP.replace("v1,", "v2,").into()).await.expect("answered");
    assert_eq!((second.result, second.total_versions), (PutResult::NewVersion, 2));
    let again = client.put(SHOP.replace("web.wasm", "other.wasm").into()).await.expect("answered");
    assert_eq!(again.result, PutResult::Error);
    assert!(again.message.contains("other content"), "{}", again.message);

    assert_eq!(
        client.status("shop").await.expect("answered").status.unwrap_or_default().info.message,
        "never deployed"
    );
    let deployed = client.deploy("shop", &version("v1")).await.expect("answered");
    assert_eq!((deployed.result, deployed.version.as_deref()), (DeployResult::Acknowledged, Some("v1")));
    // No host is there to run it.
    followed(client, |status| status.generation == 1 && status.info.status_type == StatusType::Waiting).await;
    let status = client.status("shop").await.expect("answered");
    let status = (status.result, status.status.expect("a status"));
    assert_eq!((status.0, &*status.1.version, status.1.scalers.is_empty()), (StatusResult::Ok, "v1", false));

    let latest = client.deploy("shop", &version("latest")).await.expect("answered");
    assert_eq!((latest.version.as_deref(), latest.generation), (Some("v2"), Some(2)));
    let back = client.roll_back("shop", &Request::default()).await.expect("answered");
    assert_eq!((back.version.as_deref(), back.generation), (Some("v1"), Some(3)));
    let versions = client.versions("shop").await.expect("answered").versions;
    let versions: Vec<_> = versions.iter().map(|version| (&*version.version, version.deployed)).collect();
    assert_eq!(versions, [("v1", true), ("v2", false)]);
    let models = client.list().await.expect("answered").models;
    assert_eq!((models.len(), &*models[0].version, models[0].deployed_version.as_deref()), (1, "v2", Some("v1")));
    assert_eq!(models[0].description.as_deref(), Some("a shop"));

    let history = client.history("shop").await.expect("answered").history;
    let told: Vec<_> = history.iter().map(|event| (&*event.what, &*event.who, &*event.why)).collect();
    assert_eq!(told[2..], [("deploy", "ann", "to see"), ("deploy", "ann", "to see"), ("rollback", "unknown", "")]);
    assert!(history[0].time.ends_with('Z'), "{}", history[0].time);

    let gone = client.undeploy("shop", &Request::default()).await.expect("answered");
    assert_eq!((gone.result, gone.version), (DeployResult::Acknowledged, None));
    followed(client, |status| status.info.status_type == StatusType::Undeployed).await;
    assert_eq!(client.delete("shop", &version("v9")).await.expect("answered").result, DeleteResult::Noop);
    let deleted = client.delete("shop", &Request::default()).await.expect("answered");
    assert_eq!((deleted.result, deleted.undeploy), (DeleteResult::Deleted, false));
    assert_eq!(client.get("shop", &Request::default()).await.expect("answered").result, GetResult::NotFound);
    assert_eq!(client.list().await.expect("answered").models, []);
}

#[tokio::test]
async fn a_manifest_with_problems_is_refused_with_all_of_them() {
    let Running { client, .. } = &run().await;
    let bad = SHOP.replace("target: { name: kv }", "target: { name: vk }").replace("kind: App", "knd: App");
    let reply = client.put(bad.clone().into()).await.expect("answered");
    assert_eq!((reply.result, reply.problems.len()), (PutResult::Error, 2));
    assert!(reply.message.contains("2:1: unknown key `knd`") && reply.message.contains("13:41: "), "{}", reply.message);
    let planned = client.plan(bad.into()).await.expect("answered");
    assert_eq!((planned.result, planned.manifest_problems.len()), (GetResult::Error, 2));
}

#[tokio::test]
async fn a_plan_says_what_would_be_different_and_does_nothing() {
    let Running { client, .. } = &run().await;
    let reply = planned(client, SHOP).await;
    assert_eq!(reply.difference.added, ["kv", "web"]);
    let gained = &reply.difference.gained;
    assert_eq!((gained.len(), &*gained[0].contract, &*gained[0].target), (1, "wasi:keyvalue/store", "kv"));
    assert!(!reply.explanations.is_empty(), "{reply:?}");
    assert_eq!(client.list().await.expect("answered").models, [], "nothing was put");
    client.put(SHOP.into()).await.expect("answered");
    let again = client.plan_version("shop", &version("v1")).await.expect("answered");
    assert_eq!(again.difference, reply.difference);
}

/// What deploying `manifest` would do, as soon as wadm has looked at the lattice.
async fn planned(client: &Client, manifest: &str) -> PlanReply {
    let planned = async {
        loop {
            let reply = client.plan(manifest.to_owned().into()).await.expect("answered");
            if reply.result == GetResult::Success {
                return reply;
            }
            assert!(reply.message.contains("no look at the lattice"), "{}", reply.message);
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, planned).await.expect("planned in time")
}

#[tokio::test]
async fn a_plan_names_the_actors_that_call_each_other_where_one_is_new() {
    let Running { client, .. } = &run().await;
    let components = r#"
    - name: cart
      type: component
      properties: { image: file:///cart.wasm }
      traits:
        - type: link
          properties: { target: till, namespace: demo, package: pay, interfaces: [till, receipts] }
        - type: link
          properties: { target: kv, namespace: wasi, package: keyvalue, interfaces: [store] }
    - { name: till, type: component, properties: { image: "file:///till.wasm" } }
    - { name: kv, type: capability, properties: { image: "builtin:keyvalue" } }
"#;
    let head = "apiVersion: core.oam.dev/v1beta1\nkind: Application\nmetadata: { name: shop }\nspec:\n  components:";
    let calls = planned(client, &format!("{head}{components}")).await.calls;
    let end = |id: &str, image: &str| EndInfo { id: id.to_owned(), image: image.to_owned(), runs: Vec::new() };
    let expected = CallInfo {
        source: end("shop-cart", "file:///cart.wasm"),
        target: end("shop-till", "file:///till.wasm"),
        link: "default".to_owned(),
        contracts: vec!["demo:pay/till".to_owned(), "demo:pay/receipts".to_owned()],
    };
    assert_eq!(calls, [expected], "what a provider serves is built in");
}

#[tokio::test]
async fn what_is_no_request_is_answered_with_an_error() {
    let Running { bus, client, .. } = &run().await;
    client.put(SHOP.into()).await.expect("answered");
    let transport: SharedTransport = Arc::new(bus.endpoint("client"));
    let models = Models::new(&lattice());
    let long = "x".repeat(100_000);
    for (subject, body) in [
        (Subject::from_wire("wadm.api.default.model.frobnicate").expect("valid"), ""),
        (Subject::from_wire("wadm.api.default.model.get.a.b").expect("valid"), ""),
        (models.on_all(ModelOperation::Deploy), ""),
        (models.on_app(ModelOperation::Put, "shop").expect("valid"), SHOP),
        (models.on_app(ModelOperation::Deploy, "shop").expect("valid"), "not JSON"),
        (models.on_app(ModelOperation::Deploy, "shop").expect("valid"), r#"{"version": 1}"#),
        (models.on_app(ModelOperation::Deploy, "shop").expect("valid"), &long),
        (models.on_all(ModelOperation::Put), ""),
    ] {
        let answer = transport.request(subject.clone(), body.to_owned().into(), PATIENCE).await.expect("answered");
        let answer: serde_json::Value = serde_json::from_slice(&answer.payload).expect("JSON");
        assert_eq!(answer["result"], "error", "{subject}");
        assert!(answer["message"].as_str().is_some_and(|message| !message.is_empty()), "{subject}: {answer}");
    }
}
