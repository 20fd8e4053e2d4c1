//! A lattice in this process: hosts, a client of the control interface, and two providers made for tests.

use std::collections::BTreeMap;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt as _;
use trellis_host::config::{Config, Resume};
use trellis_host::host::{Host, Parts};
use trellis_host::runtime::{Runtime, Settings};
use trellis_lattice::contract::Interface;
use trellis_lattice::control::Client;
use trellis_lattice::id::{HostId, LatticeName};
use trellis_lattice::identity::claims::PeerClaims;
use trellis_lattice::identity::component::{self, Statement};
use trellis_lattice::identity::key::{Key, KeyKind};
use trellis_lattice::identity::trust::Trust;
use trellis_lattice::identity::{peer, token};
use trellis_lattice::message::command::{ScaleComponent, StartProvider};
use trellis_lattice::message::link::Link;
use trellis_lattice::store::SharedStore;
use trellis_lattice::store::memory::MemoryStore;
use trellis_lattice::subject;
use trellis_lattice::transport::memory::MemoryBus;
use trellis_lattice::transport::{SharedTransport, Subscription};
use trellis_provider_sdk::{
    ActiveLink, Answer, Args, Backing, Body, Call, CallError, Caller, Context, Description, Environment, Factory,
    Invocation, LinkError, Provider,
};

/// The longest that anything here may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A lattice without hosts.
pub(crate) struct Cluster {
    bus: MemoryBus,
    pub(crate) store: SharedStore,
    runtime: Arc<Runtime>,
    pub(crate) authority: Key,
    pub(crate) trust: Arc<Trust>,
    pub(crate) dir: tempfile::TempDir,
    pub(crate) probes: Probes,
}

/// How the providers made for tests call, by id.
#[derive(Clone, Default)]
pub(crate) struct Probes(Arc<Mutex<BTreeMap<String, Arc<dyn Caller>>>>);

impl Cluster {
    pub(crate) fn new() -> Self {
        let authority = Key::generate(KeyKind::Account);
        let issuer = authority.public().parse().expect("an account");
        let issuers = BTreeMap::from([(authority.public().parse().expect("an account"), vec!["test:*".to_owned()])]);
        Self {
            bus: MemoryBus::new(),
            store: Arc::new(MemoryStore::new()),
            runtime: Runtime::new(Settings { cache_dir: None, max_instances: 64 }).expect("a runtime"),
            trust: Arc::new(Trust { authority: issuer, issuers }),
            authority,
            dir: tempfile::tempdir().expect("a directory"),
            probes: Probes::default(),
        }
    }

    pub(crate) fn lattice() -> LatticeName {
        "test".parse().expect("valid")
    }

    pub(crate) fn transport(&self, name: &str) -> SharedTransport {
        Arc::new(self.bus.endpoint(name))
    }

    pub(crate) fn client(&self) -> Client {
        Client::new(self.transport("client"), Self::lattice())
    }

    pub(crate) fn config(&self, name: &str) -> Config {
        let mut config = Config::new(Self::lattice(), self.dir.path().join(name));
        config.name = name.to_owned();
        config.labels.insert("zone".to_owned(), name.to_owned());
        config.drain = Duration::from_secs(2);
        config.resume = Resume::LastAssignment;
        config
    }

    pub(crate) fn token(&self, key: &Key, change: impl FnOnce(&mut PeerClaims)) -> String {
        let mut claims = PeerClaims {
            issuer: self.trust.authority.clone(),
            peer: key.public().parse().expect("a peer"),
            exchange: peer::exchange_public(key),
            lattice: Self::lattice(),
            labels: BTreeMap::from([("granted".to_owned(), "yes".to_owned())]),
            entity: None,
            call: Vec::new(),
            expires_at: now() + 3_600,
        };
        change(&mut claims);
        token::issue_peer(&claims, &self.authority, now()).expect("a token")
    }

    pub(crate) async fn host(&self, name: &str) -> Host {
        self.host_with(self.config(name), Key::generate(KeyKind::Host)).await
    }

    pub(crate) async fn host_with(&self, config: Config, key: Key) -> Host {
        let probes = self.probes.clone();
        let builtins: BTreeMap<String, Factory> = BTreeMap::from([
            ("echo".to_owned(), Arc::new(|environment| Probe::make(environment, None)) as Factory),
            ("probe".to_owned(), Arc::new(move |environment| Probe::make(environment, Some(&probes))) as Factory),
        ]);
        let parts = Parts {
            transport: self.transport(&config.name),
            store: Arc::clone(&self.store),
            runtime: Arc::clone(&self.runtime),
            builtins,
            token: self.token(&key, |_| {}),
            key,
            trust: Arc::clone(&self.trust),
        };
        Host::start(config, parts).await.expect("the host starts")
    }

    /// Writes `wat`, signed by the authority with leave to import what `imports` says.
    pub(crate) fn actor(&self, name: &str, wat: &str, imports: Option<&[&str]>) -> PathBuf {
        let bytes = wat::parse_str(wat).expect("is the text of a component");
        let imports = imports.map(|imports| imports.iter().map(|&pattern| pattern.to_owned()).collect());
        let statement = Statement { name: Some(name.to_owned()), revision: Some(3), imports, ..Statement::default() };
        let key = Key::generate(KeyKind::Actor);
        let signed = component::sign(&bytes, &statement, &self.authority, &key, now()).expect("signed");
        self.file(name, &signed)
    }

    pub(crate) fn file(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.dir.path().join(format!("{name}.wasm"));
        std::fs::write(&path, bytes).expect("written");
        path
    }

    /// What the probe `source` calls with.
    pub(crate) fn probe(&self, source: &str) -> Arc<dyn Caller> {
        Arc::clone(&self.probes.0.lock().expect("not poisoned")[source])
    }

    /// Calls over the link `default` of the probe `source`.
    pub(crate) async fn call(&self, source: &str, interface: &str, text: &str) -> Result<String, CallError> {
        let answer = self.probe(source).call(call(source, interface, text)).await?;
        let Args::Wire(bytes) = answer.value else { panic!("values were expected") };
        Ok(rmp_serde::from_slice::<String>(&bytes).expect("a string"))
    }

    /// The same, again and again until `until` says that it is enough.
    pub(crate) async fn call_until(
        &self,
        (source, interface): (&str, &str),
        until: impl Fn(&Result<String, CallError>) -> bool,
    ) -> Result<String, CallError> {
        eventually(|| async {
            let outcome = self.call(source, interface, "hello").await;
            if until(&outcome) { Ok(outcome) } else { Err(format!("{outcome:?}")) }
        })
        .await
    }

    pub(crate) async fn events(&self) -> Events {
        let subscription =
            self.transport("events").subscribe(subject::events(&Self::lattice()), None).await.expect("subscribed");
        Events(subscription)
    }
}

/// The events of the lattice from now on.
pub(crate) struct Events(Subscription);

impl Events {
    /// The data of the next event `name`; others are passed over.
    pub(crate) async fn next(&mut self, name: &str) -> serde_json::Value {
        let wanted = async {
            loop {
                let message = self.0.next().await.expect("the bus is open");
                let event: serde_json::Value = serde_json::from_slice(&message.payload).expect("JSON");
                if event["type"] == format!("com.wasmcloud.lattice.{name}") {
                    return event["data"].clone();
                }
            }
        };
        tokio::time::timeout(PATIENCE, wanted).await.unwrap_or_else(|_| panic!("no event {name} came"))
    }
}

/// Tries until it succeeds; after a long time panics with the last failure.
pub(crate) async fn eventually<T, F: Future<Output = Result<T, String>>>(mut attempt: impl FnMut() -> F) -> T {
    let mut last = String::new();
    let tries = async {
        loop {
            match attempt().await {
                Ok(value) => return value,
                Err(failure) => last = failure,
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    match tokio::time::timeout(PATIENCE, tries).await {
        Ok(value) => value,
        Err(_) => panic!("it never came so far; at last: {last}"),
    }
}

pub(crate) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs()
}

pub(crate) fn call(source: &str, interface: &str, text: &str) -> Call<Args> {
    Call {
        source: source.parse().expect("valid"),
        link: Default::default(),
        interface: interface.parse().expect("valid"),
        function: "text".into(),
        signature: None,
        context: Context::root(PATIENCE),
        args: Args::Wire(params(text)),
        body: Body::Empty,
    }
}

pub(crate) fn params(text: &str) -> Bytes {
    rmp_serde::to_vec(&(text,)).expect("encodes").into()
}

pub(crate) fn link(source: &str, interface: &str, target: &str) -> Link {
    let interface: Interface = interface.parse().expect("valid");
    Link {
        source_id: source.parse().expect("valid"),
        target: target.parse().expect("valid"),
        name: Default::default(),
        wit_namespace: interface.namespace().to_owned(),
        wit_package: interface.package().to_owned(),
        interfaces: vec![interface.name().to_owned()],
        source_config: Vec::new(),
        target_config: Vec::new(),
    }
}

pub(crate) fn scale(host: &HostId, id: &str, file: &Path, count: u32) -> ScaleComponent {
    ScaleComponent {
        component_ref: file.display().to_string(),
        component_id: id.parse().expect("valid"),
        count,
        host_id: host.clone(),
        config: Vec::new(),
        allow_update: false,
        annotations: Some([("wasmcloud.dev/managed-by".to_owned(), "wadm".to_owned())].into()),
        component_limits: None,
    }
}

pub(crate) fn provider(host: &HostId, id: &str, builtin: &str) -> StartProvider {
    StartProvider {
        provider_id: id.parse().expect("valid"),
        provider_ref: format!("builtin:{builtin}"),
        host_id: host.clone(),
        config: Vec::new(),
        allow_update: false,
        annotations: Some([("note".to_owned(), "kept".to_owned())].into()),
    }
}

/// Echoes what it is called with, in the name of the link's config; as a probe it also calls for the test.
struct Probe {
    is_probe: bool,
    greeting: Mutex<String>,
}

impl Probe {
    fn make(environment: Environment, probes: Option<&Probes>) -> Result<Arc<dyn Provider>, LinkError> {
        if let Some(probes) = probes {
            let mut probes = probes.0.lock().expect("not poisoned");
            probes.insert(environment.id.to_string(), Arc::clone(&environment.caller));
        }
        Ok(Arc::new(Self { is_probe: probes.is_some(), greeting: Mutex::default() }))
    }
}

#[async_trait]
impl Provider for Probe {
    fn description(&self) -> Description {
        let echo: Interface = "test:echo/echo".parse().expect("valid");
        let (serves, calls) = if self.is_probe { (vec![], vec![echo]) } else { (vec![echo], vec![]) };
        Description { name: "echo for tests".into(), serves, calls }
    }

    async fn check(&self, link: &ActiveLink) -> Result<(), LinkError> {
        match link.config.get("greeting").map(String::as_str) {
            Some("wrong") => Err(LinkError::Config {
                key: "greeting".to_owned(),
                problem: "is \"wrong\"".to_owned(),
                expected: "a greeting",
                example: "hello",
            }),
            _ => Ok(()),
        }
    }

    async fn link_up(&self, link: &ActiveLink) -> Result<(), LinkError> {
        let secret = link.secrets.get("greeting").and_then(|value| Some(value.as_text()?.reveal().to_owned()));
        let greeting = secret.or_else(|| link.config.get("greeting").cloned()).unwrap_or_default();
        if greeting == "refuse" {
            return Err(LinkError::Unavailable("the port is in use".to_owned()));
        }
        *self.greeting.lock().expect("not poisoned") = greeting;
        Ok(())
    }

    async fn link_down(&self, _: &ActiveLink) {}

    fn backing(&self, link: &ActiveLink) -> Backing {
        let is_server = link.config.get("greeting").is_some_and(|greeting| greeting.starts_with("server"));
        if is_server { Backing::Server } else { Backing::Machine }
    }

    async fn call(&self, invocation: Invocation<Args>) -> Result<Answer<Args>, CallError> {
        let Args::Wire(bytes) = &invocation.args else { return Err(CallError::contract("no values")) };
        let (text,): (String,) = rmp_serde::from_slice(bytes).map_err(|e| CallError::contract(e.to_string()))?;
        match text.as_str() {
            "hang" => std::future::pending().await,
            "too late" => return Err(CallError::deadline("its server did not answer in time")),
            _ => {}
        }
        let greeting = self.greeting.lock().expect("not poisoned").clone();
        let value = rmp_serde::to_vec(&format!("{greeting}{text}")).expect("encodes");
        Ok(Answer { value: Args::Wire(value.into()), body: Body::Empty })
    }

    async fn drain(&self, _: Duration) {}
}
