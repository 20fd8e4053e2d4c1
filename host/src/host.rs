//! A host: owns the parts and their tasks, starts them in order, drains them on stop.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::task::AbortOnDropHandle;
use trellis_lattice::id::HostId;
use trellis_lattice::identity::key::Key;
use trellis_lattice::identity::peer::Identity;
use trellis_lattice::identity::trust::Trust;
use trellis_lattice::message::event::EventName;
use trellis_lattice::rpc::{Join, Peer};
use trellis_lattice::secrets::Opener;
use trellis_lattice::store::SharedStore;
use trellis_lattice::subject;
use trellis_lattice::transport::SharedTransport;
use trellis_provider_sdk::Factory;

use crate::announce::Announcer;
use crate::artifact::{self, Artifacts};
use crate::assignment::{Assignment, Writer};
use crate::config::{Config, Resume, Unsigned};
use crate::control::{self, Labels, Shared};
use crate::error::{Error, ErrorKind, Result};
use crate::provider::make_private_dir;
use crate::pulse::Pulse;
use crate::records::{Believed, Kept, Records};
use crate::roster::{Context, Order, Roster, now_unix_seconds};
use crate::router::Router;
use crate::router::gate::Gate;
use crate::runtime::Runtime;
use crate::secrets::{self, Vault};
use crate::standing::Told;

/// How often a host says what it runs.
const HEARTBEAT: Duration = Duration::from_secs(30);
/// The longest that joining may wait for the store, and for the bus.
const JOIN_TIMEOUT: Duration = Duration::from_secs(10);

/// What a host is composed of. Hosts in one process share the runtime, the store and the transport.
pub struct Parts {
    /// The bus.
    pub transport: SharedTransport,
    /// Links, configs and claims of the lattice.
    pub store: SharedStore,
    /// Engines and code cache.
    pub runtime: Arc<Runtime>,
    /// Built-in providers by the name after `builtin:`, e.g. `http-server`.
    pub builtins: BTreeMap<String, Factory>,
    /// The host's key.
    pub key: Key,
    /// The token that the lattice's authority signed for that key.
    pub token: String,
    /// Whom the lattice trusts.
    pub trust: Arc<Trust>,
}

/// A running host. Dropping it ends its tasks without a drain; [`Host::stop`] is the polite way.
pub struct Host {
    id: HostId,
    shared: Arc<Shared>,
    peer: Arc<Peer>,
    stop: watch::Receiver<Option<Duration>>,
    tasks: [AbortOnDropHandle<()>; 2],
    _secrets: [AbortOnDropHandle<()>; 2],
}

impl Host {
    /// Starts a host: joins the lattice, serves control, and takes up its last assignment if the config says so.
    ///
    /// # Errors
    /// When the token does not hold, the data directory cannot be used, or the bus or the store does not answer.
    pub async fn start(config: Config, parts: Parts) -> Result<Self> {
        let config = prepare(config)?;
        let file = config.data_dir.join("assignment.json");
        let assigned = read_assignment(&file, config.resume)?;
        let told = Arc::new(Told::new(assigned.standing.clone()));
        let (identity, id) = identify(&parts)?;
        let granted = identity.claims.labels.clone();
        let kept =
            Kept { file: config.data_dir.join("records.json"), use_if_silent: config.resume == Resume::LastAssignment };
        let believed = Believed { lattice: config.lattice.clone(), authority: parts.trust.authority.clone() };
        let store = Arc::clone(&parts.store);
        let records = Records::open(store, (Arc::clone(&told), believed), kept, JOIN_TIMEOUT).await?;
        let vault = Arc::new(Vault::new(Arc::clone(records.view()), Opener::of(&parts.key)));
        let router = Arc::new(Router::new(Arc::clone(records.view())));
        let peer = join(&config, &parts, identity, &router).await?;
        let announcer = Announcer::new(Arc::clone(&parts.transport), config.lattice.clone(), id.clone());
        let labels = Labels::new(config.labels.clone(), granted, &told);
        let subjects = subject::Control::new(&config.lattice);
        let artifacts = Artifacts::new(config.registries.clone(), config.data_dir.join("artifacts"));
        let Parts { transport, runtime, builtins, trust, .. } = parts;
        let host = id.clone();
        let pulse = Pulse::start();
        let native = Arc::new(config.native.clone());
        let context = Arc::new(Context {
            config,
            host,
            records,
            vault,
            runtime,
            router,
            builtins,
            trust,
            announcer,
            artifacts,
            told,
            native,
            pulse,
        });
        let roster = Roster::start(Arc::clone(&context), Arc::clone(&peer), Writer::new(file), assigned.clone());
        let (stop, stopped) = watch::channel(None);
        let shared = Arc::new(Shared { context, roster, transport, labels, started: Instant::now(), stop });
        let tasks = serve(&shared, subjects).await?;
        let _secrets = follow_secrets(&shared.context, &peer);
        let this = Self { id, shared, peer, stop: stopped, tasks, _secrets };
        this.say_started();
        this.resume(assigned).await;
        Ok(this)
    }

    /// Its id.
    pub fn id(&self) -> &HostId {
        &self.id
    }

    /// Waits until somebody asks for the host to stop (`host.stop`) and returns how long the drain may take. The
    /// caller then calls [`Host::stop`]. Cancel safe.
    pub async fn stopped(&self) -> Duration {
        let mut stop = self.stop.clone();
        let asked = stop.wait_for(Option::is_some).await.expect("the sender lives as long as the host");
        asked.expect("waited for it")
    }

    /// Takes no new work, lets what is in flight finish for at most `drain`, says goodbye, and ends.
    pub async fn stop(self, drain: Duration) {
        let until = Instant::now() + drain;
        let [control, heartbeat] = &self.tasks;
        control.abort();
        heartbeat.abort();
        self.shared.roster.shutdown(drain).await;
        let announcer = &self.shared.context.announcer;
        announcer.emit(EventName::HostStopped, json!({"labels": *self.shared.labels.now()}));
        announcer.flush().await;
        self.peer.leave(until.saturating_duration_since(Instant::now())).await;
        tracing::info!(host_id = %self.id, "host stopped");
    }

    fn say_started(&self) {
        let config = &self.shared.context.config;
        let data = json!({
            "friendly_name": config.name,
            "labels": *self.shared.labels.now(),
            "uptime_seconds": 0,
            "version": env!("CARGO_PKG_VERSION"),
        });
        self.shared.context.announcer.emit(EventName::HostStarted, data);
        tracing::info!(host_id = %self.id, lattice = %config.lattice, "host started");
    }

    /// Orders what is assigned, providers first.
    async fn resume(&self, assigned: Assignment) {
        for provider in assigned.providers {
            self.shared.roster.give(Order::StartProvider(Box::new(provider))).await;
        }
        for actor in assigned.actors {
            self.shared.roster.give(Order::Resume(Box::new(actor.command), actor.digest)).await;
        }
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        // The router holds the peer and what runs, and what runs holds the router.
        self.shared.context.router.clear();
    }
}

/// What is to be run again, and what else is known from before.
fn read_assignment(file: &Path, resume: Resume) -> Result<Assignment> {
    match resume {
        Resume::LastAssignment => Assignment::read(file),
        Resume::Never => {
            let standing = Assignment::read(file).map(|assignment| assignment.standing).unwrap_or_default();
            Ok(Assignment { standing, ..Assignment::default() })
        }
    }
}

fn prepare(mut config: Config) -> Result<Config> {
    make_private_dir(&config.data_dir).map_err(|error| {
        let message = format!("cannot make the data directory {}: {error}", config.data_dir.display());
        Error::new(ErrorKind::Config, message).with_source(error)
    })?;
    for unsigned in &mut config.unsigned {
        if let Unsigned::File(path) = unsigned {
            *path = artifact::canonical(path);
        }
    }
    for executable in &mut config.native.executables {
        *executable = artifact::canonical(executable);
    }
    Ok(config)
}

fn identify(parts: &Parts) -> Result<(Identity, HostId)> {
    let refuse = |message: String| Error::new(ErrorKind::Config, message);
    let identity = Identity::new(&parts.key, parts.token.clone(), now_unix_seconds())
        .map_err(|error| refuse(format!("the host's token does not hold: {error}")).with_source(error))?;
    let id = identity.peer().as_host();
    let id = id.ok_or_else(|| refuse(format!("{} is not the key of a host", identity.peer())))?;
    Ok((identity, id))
}

async fn join(config: &Config, parts: &Parts, identity: Identity, router: &Arc<Router>) -> Result<Arc<Peer>> {
    let join =
        Join { lattice: config.lattice.clone(), identity, trust: Arc::clone(&parts.trust), site: config.site.clone() };
    let unavailable = |error: String| Error::new(ErrorKind::Unavailable, format!("cannot join the lattice: {error}"));
    let joined = Peer::join(Arc::clone(&parts.transport), join, Some(Gate::new(router)));
    let peer = match tokio::time::timeout(JOIN_TIMEOUT, joined).await {
        Ok(Ok(peer)) => peer,
        Ok(Err(error)) => return Err(unavailable(error.to_string()).with_source(error)),
        Err(_) => return Err(unavailable(format!("no answer within {} s", JOIN_TIMEOUT.as_secs()))),
    };
    router.set_peer(Some(Arc::clone(&peer)));
    Ok(peer)
}

/// Starts the tasks that answer control requests and say what runs.
async fn serve(shared: &Arc<Shared>, subjects: subject::Control) -> Result<[AbortOnDropHandle<()>; 2]> {
    let requests = control::subscribe(&shared.transport, &subjects, &shared.context.host).await?;
    let control = tokio::spawn(control::serve(Arc::clone(shared), subjects, requests));
    let heartbeat = tokio::spawn(heartbeat(Arc::clone(shared)));
    Ok([control, heartbeat].map(AbortOnDropHandle::new))
}

/// Starts the tasks that read the host's own files of secrets, and that share with hosts which came later.
fn follow_secrets(context: &Arc<Context>, peer: &Arc<Peer>) -> [AbortOnDropHandle<()>; 2] {
    let Config { data_dir, lattice, .. } = &context.config;
    let (dir, view) = (data_dir.join("secrets"), Arc::clone(context.records.view()));
    let files = tokio::spawn(secrets::follow_files(dir, lattice.clone(), context.host.clone(), view));
    let share = tokio::spawn(secrets::share(Arc::clone(context), Arc::clone(peer)));
    [files, share].map(AbortOnDropHandle::new)
}

async fn heartbeat(shared: Arc<Shared>) {
    let mut ticks = tokio::time::interval_at(Instant::now() + HEARTBEAT, HEARTBEAT);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let inventory = serde_json::to_value(control::inventory(&shared)).expect("an inventory has a JSON form");
        shared.context.announcer.emit(EventName::HostHeartbeat, inventory);
    }
}
