//! The parts of an embedded lattice, started side by side.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use anyhow::Context as _;
use futures::future::try_join_all;
use trellis_host::config::{Config, Native, Resume, Unlinked, Unsigned};
use trellis_host::host::{Host, Parts};
use trellis_host::runtime::Runtime;
use trellis_lattice::control::Client;
use trellis_lattice::gateway::Gateway;
use trellis_lattice::id::{IssuerId, LatticeName};
use trellis_lattice::identity::key::{Key, KeyKind};
use trellis_lattice::identity::trust::Trust;
use trellis_lattice::secret::Secret;
use trellis_lattice::store::SharedStore;
use trellis_lattice::store::embedded::EmbeddedStore;
use trellis_lattice::transport::memory::MemoryBus;
use trellis_wadm::lease::Rivals;

use super::app::App;
use super::{HostSpec, Up};
use crate::command::host::parse_unsigned;
use crate::context::{Context, default_lattice};
use crate::data_dir::Running;
use crate::deployer::Lattice;
use crate::key_store::{AUTHORITY, ISSUER};
use crate::output::say;
use crate::serve;

/// A running lattice.
pub(super) struct Embedded {
    pub(super) lattice: LatticeName,
    pub(super) hosts: Vec<Host>,
    pub(super) gateway: Gateway,
    pub(super) client: Client,
    /// Where wadm is to work.
    pub(super) wadm: Lattice,
}

/// What all hosts share.
struct Shared {
    lattice: LatticeName,
    bus: MemoryBus,
    store: SharedStore,
    runtime: Arc<Runtime>,
    authority: Key,
    trust: Arc<Trust>,
    unsigned: Vec<Unsigned>,
    unlinked: Unlinked,
    native: Native,
}

/// Starts all of it; `app`, if it is unsigned, may run by its digest.
pub(super) async fn start(context: &Context, arguments: &Up, app: Option<&App>) -> anyhow::Result<Embedded> {
    let lattice = context.named_lattice().cloned().unwrap_or_else(default_lattice);
    let bus = MemoryBus::new();
    let token = Secret::new(context.data.gateway_token()?);
    let (runtime, store, gateway) = tokio::join!(
        serve::runtime(&context.data),
        EmbeddedStore::open(context.data.store()),
        gateway(context, arguments, &bus, &token),
    );
    let (runtime, store, gateway) = (runtime?, store.context("open the store of the lattice")?, gateway?);
    if let Some(app) = app {
        app.compile_ahead(&runtime);
    }
    context.keys.get_or_make(KeyKind::Account, ISSUER)?;
    let authority = context.keys.get_or_make(KeyKind::Account, AUTHORITY)?;
    let trust = Arc::new(context.keys.trust(IssuerId::parse(&authority.public())?)?);
    let allowed = arguments.allow_unsigned.iter().map(|text| parse_unsigned(text));
    let unsigned = app.and_then(App::unsigned).into_iter().chain(allowed).collect();
    let unlinked = if app.is_some() { Unlinked::AtCall } else { Unlinked::Refuse };
    let lattice_name = lattice.clone();
    let native = arguments.native.clone().settings()?;
    let store = Arc::new(store);
    let shared = Shared { lattice: lattice_name, bus, store, runtime, authority, trust, unsigned, unlinked, native };
    let hosts = try_join_all(arguments.hosts.iter().map(|spec| host(context, arguments, spec, &shared))).await?;
    let url = format!("nats://{}", gateway.addr());
    let running = Running { lattice: lattice.clone(), url, token: token.reveal().to_owned(), pid: std::process::id() };
    context.data.announce(&running)?;
    let client = Client::new(Arc::new(shared.bus.endpoint("up")), lattice.clone());
    let wadm = Lattice {
        name: lattice.clone(),
        transport: Arc::new(shared.bus.endpoint("wadm")),
        store: shared.store,
        trust: shared.trust,
        rivals: Rivals::Impossible,
        believes: BTreeSet::new(),
    };
    Ok(Embedded { lattice, hosts, gateway, client, wadm })
}

/// Listens where it is told to, or else where it did last time, so that clients find a lattice again that was restarted.
async fn gateway(context: &Context, arguments: &Up, bus: &MemoryBus, token: &Secret) -> anyhow::Result<Gateway> {
    let bind = |addr: SocketAddr| Gateway::bind(bus.clone(), addr, token.clone());
    let loopback = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let gateway = match (arguments.gateway, context.data.gateway_port()) {
        (Some(addr), _) => bind(addr).await?,
        (None, None) => bind(loopback(0)).await?,
        (None, Some(port)) => match bind(loopback(port)).await {
            Ok(gateway) => gateway,
            Err(error) => {
                tracing::debug!(%error, "port of the last time not taken");
                let gateway = bind(loopback(0)).await?;
                say(format_args!(
                    "port {port}, where the bus was last time, is not free: NATS clients find it at {} now",
                    gateway.addr()
                ));
                gateway
            }
        },
    };
    context.data.keep_gateway_port(gateway.addr().port())?;
    Ok(gateway)
}

async fn host(context: &Context, arguments: &Up, spec: &HostSpec, shared: &Shared) -> anyhow::Result<Host> {
    let key = context.keys.get_or_make(KeyKind::Host, &spec.name)?;
    let mut config = Config::new(shared.lattice.clone(), context.data.host(&spec.name));
    config.name.clone_from(&spec.name);
    config.labels.clone_from(&spec.labels);
    config.registries = context.registry_access();
    config.unsigned.clone_from(&shared.unsigned);
    // Tool chains of other languages import outgoing HTTP whether it is used or not; a bare component must still start.
    config.unlinked = shared.unlinked;
    config.resume = if arguments.resume { Resume::LastAssignment } else { Resume::Never };
    config.native.clone_from(&shared.native);
    config.drain = std::time::Duration::from_millis(arguments.drain_ms);
    let parts = Parts {
        transport: Arc::new(shared.bus.endpoint(&spec.name)),
        store: Arc::clone(&shared.store),
        runtime: Arc::clone(&shared.runtime),
        builtins: serve::builtins(),
        token: serve::own_token(&shared.authority, &shared.lattice, &key, spec.labels.clone())?,
        key,
        trust: Arc::clone(&shared.trust),
    };
    Host::start(config, parts).await.with_context(|| format!("start host {}", spec.name))
}
