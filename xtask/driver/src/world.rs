//! A lattice to measure: one host, its control, and a caller that may call everything.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Context as _;
use bytes::Bytes;
use tempfile::TempDir;
use trellis_host::config::{Config, Native, Unlinked, Unsigned};
use trellis_host::host::{Host, Parts};
use trellis_host::runtime::{Runtime, Settings};
use trellis_lattice::body::Body;
use trellis_lattice::contract::Interface;
use trellis_lattice::control::Client;
use trellis_lattice::id::{EntityId, IssuerId, LatticeName, LinkName, PeerId};
use trellis_lattice::identity::claims::PeerClaims;
use trellis_lattice::identity::key::{Key, KeyKind};
use trellis_lattice::identity::peer::{Identity, exchange_public};
use trellis_lattice::identity::token::issue_peer;
use trellis_lattice::identity::trust::Trust;
use trellis_lattice::message::command::{ScaleComponent, StartProvider};
use trellis_lattice::message::invocation::{self, Context, Encoding, Head, Invocation};
use trellis_lattice::message::link::Link;
use trellis_lattice::rpc::{Join, Peer};
use trellis_lattice::store::SharedStore;
use trellis_lattice::transport::SharedTransport;
use trellis_provider_sdk::Factory;

/// Instances that the host may have at once.
const MAX_INSTANCES: u32 = 2_000;

/// How long a call may take.
pub(crate) const BUDGET: Duration = Duration::from_secs(30);

/// Lists of numbers by name.
pub(crate) type Figures = BTreeMap<&'static str, Vec<f64>>;

/// How one participant reaches the others.
pub(crate) struct Bus {
    /// For the host.
    pub(crate) host: SharedTransport,
    /// For the caller and the control client.
    pub(crate) caller: SharedTransport,
    /// Links and configs.
    pub(crate) store: SharedStore,
}

/// The lattice.
pub(crate) struct World {
    /// Calls.
    pub(crate) peer: Arc<Peer>,
    control: Client,
    host: Host,
    caller_id: EntityId,
    _data: TempDir,
}

impl World {
    /// Starts a host that runs `components` unsigned, and joins as a caller.
    pub(crate) async fn start(bus: Bus, components: &[&Path]) -> anyhow::Result<Self> {
        Self::start_with(bus, components, BTreeMap::new(), Native::default()).await
    }

    /// The same with providers.
    pub(crate) async fn start_with(
        bus: Bus,
        components: &[&Path],
        builtins: BTreeMap<String, Factory>,
        native: Native,
    ) -> anyhow::Result<Self> {
        let data = tempfile::tempdir()?;
        let lattice = LatticeName::parse("bench")?;
        let authority = Key::generate(KeyKind::Account);
        let issuer = IssuerId::parse(&authority.public())?;
        let trust = Arc::new(Trust { authority: issuer.clone(), issuers: BTreeMap::new() });
        let caller_id = EntityId::parse("bench-caller")?;
        let token = |key: &Key, entity: Option<EntityId>| -> anyhow::Result<String> {
            let claims = PeerClaims {
                issuer: issuer.clone(),
                peer: PeerId::parse(&key.public())?,
                exchange: exchange_public(key),
                lattice: lattice.clone(),
                labels: BTreeMap::new(),
                call: if entity.is_some() { vec!["*/*".to_owned()] } else { Vec::new() },
                entity,
                expires_at: now()? + 3_600,
            };
            Ok(issue_peer(&claims, &authority, now()?)?)
        };
        let (host_key, caller_key) = (Key::generate(KeyKind::Host), Key::generate(KeyKind::User));
        let (host_token, caller_token) = (token(&host_key, None)?, token(&caller_key, Some(caller_id.clone()))?);
        let parts = Parts {
            transport: bus.host,
            store: bus.store,
            runtime: runtime(data.path())?,
            builtins,
            key: host_key,
            token: host_token,
            trust: trust.clone(),
        };
        let config = Config { native, ..config(&lattice, data.path(), components) };
        let host = Host::start(config, parts).await?;
        let identity = Identity::new(&caller_key, caller_token, now()?)?;
        let join = Join { lattice: lattice.clone(), identity, trust, site: None };
        let peer = Peer::join(bus.caller.clone(), join, None).await?;
        Ok(Self { peer, control: Client::new(bus.caller, lattice), host, caller_id, _data: data })
    }

    /// Runs a component under an id.
    pub(crate) async fn run(&self, id: &str, component: &Path) -> anyhow::Result<()> {
        self.scale(id, component, 64).await
    }

    /// Stops what runs under an id.
    pub(crate) async fn stop(&self, id: &str, component: &Path) -> anyhow::Result<()> {
        self.scale(id, component, 0).await
    }

    async fn scale(&self, id: &str, component: &Path, count: u32) -> anyhow::Result<()> {
        let scale = ScaleComponent {
            component_ref: format!("file://{}", component.display()),
            component_id: EntityId::parse(id)?,
            count,
            host_id: self.host.id().clone(),
            config: Vec::new(),
            allow_update: false,
            annotations: None,
            component_limits: None,
        };
        self.control.scale(&scale).await.with_context(|| format!("scaling {} to {count}", component.display()))?;
        Ok(())
    }

    /// Runs a provider under an id.
    pub(crate) async fn provide(&self, id: &str, reference: &str) -> anyhow::Result<()> {
        let start = StartProvider {
            provider_id: EntityId::parse(id)?,
            provider_ref: reference.to_owned(),
            host_id: self.host.id().clone(),
            config: Vec::new(),
            allow_update: false,
            annotations: None,
        };
        self.control.start_provider(&start).await.with_context(|| format!("starting {reference}"))?;
        Ok(())
    }

    /// Lets `source` call `interface` of `target`.
    pub(crate) async fn link(&self, source: &str, target: &str, interface: &str) -> anyhow::Result<()> {
        let interface = Interface::parse(interface)?;
        let link = Link {
            source_id: EntityId::parse(source)?,
            target: EntityId::parse(target)?,
            name: LinkName::default(),
            wit_namespace: interface.namespace().to_owned(),
            wit_package: interface.package().to_owned(),
            interfaces: vec![interface.name().to_owned()],
            source_config: Vec::new(),
            target_config: Vec::new(),
        };
        self.control.put_link(&link).await?;
        Ok(())
    }

    /// Waits until the caller sees that `id` runs.
    pub(crate) async fn until_present(&self, id: &str) -> anyhow::Result<()> {
        let id = EntityId::parse(id)?;
        let seen = async {
            while !self.peer.present().iter().any(|presence| presence.running.iter().any(|runs| runs.id == id)) {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), seen).await.with_context(|| format!("{id} is not announced"))
    }

    /// Calls a function with arguments as a wire tuple.
    pub(crate) async fn call(&self, to: &Target, args: Bytes) -> anyhow::Result<Bytes> {
        let head = Head {
            id: invocation::new_id(),
            source: self.caller_id.clone(),
            target: to.id.clone(),
            link: LinkName::default(),
            interface: to.interface.clone(),
            function: to.function.clone(),
            signature: None,
            encoding: Encoding::Pack,
            attempt: 1,
            grant_epoch: 0,
            context: Context::root(BUDGET),
        };
        let answer = self.peer.call(Invocation { head, args, body: Body::Empty }).await?;
        Ok(answer.value)
    }
}

/// What is called.
pub(crate) struct Target {
    id: EntityId,
    interface: Interface,
    function: Arc<str>,
}

impl Target {
    /// `interface.function` of `id`.
    pub(crate) fn parse(id: &str, function: &str) -> anyhow::Result<Self> {
        let (interface, function) = function.rsplit_once('.').context("a function is `interface.function`")?;
        Ok(Self { id: EntityId::parse(id)?, interface: Interface::parse(interface)?, function: function.into() })
    }
}

/// Engines with the code cache in `directory`.
pub(crate) fn runtime(directory: &Path) -> anyhow::Result<Arc<Runtime>> {
    let settings = Settings { cache_dir: Some(directory.join("code")), max_instances: MAX_INSTANCES };
    Ok(Runtime::new(settings)?)
}

fn config(lattice: &LatticeName, directory: &Path, components: &[&Path]) -> Config {
    let mut config = Config::new(lattice.clone(), directory.join("host"));
    config.unsigned = components.iter().map(|path| Unsigned::File((*path).to_owned())).collect();
    config.unlinked = Unlinked::AtCall;
    config
}

fn now() -> anyhow::Result<u64> {
    Ok(SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs())
}

/// A component in binary form, in a directory of its own: hosts take no text.
pub(crate) struct Binary {
    path: std::path::PathBuf,
    _directory: TempDir,
}

impl Binary {
    /// Reads text or binary.
    pub(crate) fn of(path: &Path) -> anyhow::Result<Self> {
        let directory = tempfile::tempdir()?;
        let name = path.file_stem().context("a component is a file")?;
        let binary = directory.path().join(name).with_extension("wasm");
        std::fs::write(&binary, wat::parse_file(path)?).with_context(|| format!("writing {}", binary.display()))?;
        Ok(Self { path: binary, _directory: directory })
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}
