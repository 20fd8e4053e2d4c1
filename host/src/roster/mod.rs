//! The roster: what runs on this host. One task owns it; orders for one id are carried out one after the other, those
//! for different ids at once. Everybody else holds a snapshot.

mod actors;
mod owner;
mod providers;

pub(crate) use actors::now_unix_seconds;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::{mpsc, oneshot};
use tokio_util::task::AbortOnDropHandle;
use trellis_lattice::id::{EntityId, HostId};
use trellis_lattice::identity::claims::ActorClaims;
use trellis_lattice::identity::trust::Trust;
use trellis_lattice::message::command::{ScaleComponent, StartProvider};
use trellis_lattice::message::fence::Terms;
use trellis_lattice::rpc::Peer;
use trellis_provider_sdk::Factory;

use crate::actor::Actor;
use crate::announce::Announcer;
use crate::artifact::Artifacts;
use crate::assignment::{Assignment, Writer};
use crate::config::{Config, Native};
use crate::error::{Error, ErrorKind};
use crate::provider::Running;
use crate::pulse::{Pulse, Taken};
use crate::readiness::Follower;
use crate::records::Records;
use crate::router::Router;
use crate::runtime::{Compiled, Limits, Runtime};
use crate::secrets::Vault;
use crate::standing::Told;

/// Orders that wait to be taken.
const QUEUE: usize = 256;

/// What carrying out orders needs of the host.
pub(crate) struct Context {
    pub(crate) config: Config,
    pub(crate) host: HostId,
    pub(crate) records: Records,
    pub(crate) vault: Arc<Vault>,
    pub(crate) runtime: Arc<Runtime>,
    pub(crate) router: Arc<Router>,
    pub(crate) builtins: BTreeMap<String, Factory>,
    pub(crate) trust: Arc<Trust>,
    pub(crate) announcer: Announcer,
    pub(crate) artifacts: Artifacts,
    pub(crate) told: Arc<Told>,
    pub(crate) native: Arc<Native>,
    pub(crate) pulse: Pulse,
}

impl Context {
    /// Whether an order still counts, just before it takes effect.
    ///
    /// # Errors
    /// Says why not.
    fn admit(&self, taken: &Taken) -> Result<(), Error> {
        let still = self.pulse.check(taken).and_then(|()| self.told.admit(taken.terms().token));
        still.map_err(|stale| Error::new(ErrorKind::Refused, stale))
    }
}

/// What is to be run, changed or stopped.
#[derive(Debug, Clone)]
pub(crate) enum Order {
    /// Run an actor, change how it runs, or stop it (count 0).
    Scale(Box<ScaleComponent>),
    /// Run an actor again whose bytes, with this digest, were kept.
    Resume(Box<ScaleComponent>, String),
    /// Run a provider.
    StartProvider(Box<StartProvider>),
    /// Stop a provider.
    StopProvider(EntityId),
}

impl Order {
    fn id(&self) -> &EntityId {
        match self {
            Self::Scale(command) | Self::Resume(command, _) => &command.component_id,
            Self::StartProvider(command) => &command.provider_id,
            Self::StopProvider(id) => id,
        }
    }
}

/// An actor that runs here.
pub(crate) struct ActorEntry {
    /// As it was ordered last.
    pub(crate) command: ScaleComponent,
    /// Hex of the SHA-256 of its bytes.
    pub(crate) digest: String,
    /// Its claims, if it has any.
    pub(crate) claims: Option<Arc<ActorClaims>>,
    limits: Limits,
    component: Arc<Compiled>,
    actor: Arc<Actor>,
    /// Whether it is ready, if it was ordered with a rule for that.
    pub(crate) readiness: Option<Arc<Follower>>,
}

/// A provider that runs here.
pub(crate) struct ProviderEntry {
    /// As it was ordered.
    pub(crate) command: StartProvider,
    /// The provider.
    pub(crate) running: Arc<Running>,
}

/// What runs here at one moment.
#[derive(Default, Clone)]
pub(crate) struct Snapshot {
    /// The ids for which orders are carried out.
    pub(crate) underway: Arc<BTreeSet<EntityId>>,
    /// How many orders were taken up so far.
    taken_up: u64,
    /// Actors by id.
    pub(crate) actors: BTreeMap<EntityId, Arc<ActorEntry>>,
    /// Providers by id.
    pub(crate) providers: BTreeMap<EntityId, Arc<ProviderEntry>>,
}

enum Message {
    Order(Order, Taken),
    Shutdown { drain: Duration, done: oneshot::Sender<()> },
}

/// To give orders and to see what runs. Dropping it ends the owner's task, and with it what runs.
pub(crate) struct Roster {
    messages: mpsc::Sender<Message>,
    snapshot: Arc<ArcSwap<Snapshot>>,
    /// How many orders were given so far.
    given: AtomicU64,
    _task: AbortOnDropHandle<()>,
}

/// Too many orders wait.
#[derive(Debug, thiserror::Error)]
#[error("too many commands wait on this host; try again in a moment")]
pub(crate) struct Busy;

/// Room for one order.
pub(crate) struct Slot<'a> {
    permit: mpsc::Permit<'a, Message>,
    given: &'a AtomicU64,
}

impl Slot<'_> {
    /// Gives the order, on the terms with which it came.
    pub(crate) fn give(self, order: Order, terms: Terms) {
        self.given.fetch_add(1, Ordering::Relaxed);
        self.permit.send(Message::Order(order, Taken::now(terms)));
    }
}

impl Roster {
    /// An empty roster, which says through `peer` what runs and keeps it by `writer`. What is in `assigned` stays
    /// assigned until another order for the same id comes.
    pub(crate) fn start(context: Arc<Context>, peer: Arc<Peer>, writer: Writer, assigned: Assignment) -> Self {
        let (messages, queue) = mpsc::channel(QUEUE);
        let snapshot = Arc::new(ArcSwap::default());
        let owner = owner::Owner::new(context, peer, Arc::clone(&snapshot), writer, assigned);
        let task = AbortOnDropHandle::new(tokio::spawn(owner.run(queue)));
        Self { messages, snapshot, given: AtomicU64::new(0), _task: task }
    }

    /// What runs now.
    pub(crate) fn snapshot(&self) -> Arc<Snapshot> {
        self.snapshot.load_full()
    }

    /// The ids for which orders are carried out; `None` while one is on its way to the roster.
    pub(crate) fn underway(&self) -> Option<Arc<BTreeSet<EntityId>>> {
        let given = self.given.load(Ordering::Relaxed);
        let snapshot = self.snapshot.load();
        (snapshot.taken_up >= given).then(|| Arc::clone(&snapshot.underway))
    }

    /// Room for an order.
    pub(crate) fn reserve(&self) -> Result<Slot<'_>, Busy> {
        let permit = self.messages.try_reserve().map_err(|_| Busy)?;
        Ok(Slot { permit, given: &self.given })
    }

    /// Gives an order, waiting for room.
    pub(crate) async fn give(&self, order: Order) {
        self.given.fetch_add(1, Ordering::Relaxed);
        if self.messages.send(Message::Order(order, Taken::now(Terms::default()))).await.is_err() {
            tracing::warn!("order was dropped, the host is stopping");
        }
    }

    /// Stops everything, with at most `drain` in all for what is in flight: first what brings calls in, then actors,
    /// then what they use. What is assigned stays assigned.
    pub(crate) async fn shutdown(&self, drain: Duration) {
        let (done, stopped) = oneshot::channel();
        if self.messages.send(Message::Shutdown { drain, done }).await.is_ok() {
            // An error means that the task ended, and nothing runs any more.
            let _ = stopped.await;
        }
    }
}
