//! One action as a command: what is sent for it, and to whom.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt as _;
use futures::future::{BoxFuture, Shared};
use trellis_lattice::control::{Client, Patience, Until};
use trellis_lattice::error::{Error, ErrorKind, Result};
use trellis_lattice::id::{EntityId, HostId, LatticeName};
use trellis_lattice::message::command::{DeleteLink, ScaleComponent, StartProvider, StringMap};
use trellis_lattice::message::fence::Terms;
use trellis_lattice::message::inventory::HostInventory;
use trellis_lattice::message::pin;
use trellis_lattice::message::readiness::READINESS;
use trellis_lattice::store::{Expect, Key, SharedStore};
use trellis_lattice::transport::SharedTransport;

use super::RollBack;
use crate::intent::AppName;
use crate::observe::{LinkKey, OWNED, Owned, foretell};
use crate::plan::{self, Action, Deed, ScaleActor};

/// How long a host may take to acknowledge a command, and the store a write.
const PATIENCE: Duration = Duration::from_secs(2);

/// What an executor works with.
#[derive(Clone)]
pub(crate) struct Tools {
    pub(crate) transport: SharedTransport,
    pub(crate) lattice: LatticeName,
    pub(crate) store: SharedStore,
    pub(crate) roll_back: Arc<dyn RollBack>,
}

/// How a command is sent.
pub(super) struct Order {
    pub(super) terms: Terms,
    /// The host that is asked for what any host could do.
    pub(super) scribe: Option<HostId>,
    /// The ledger, before anything is made that it has to name.
    pub(super) confirmed: Option<Confirmed>,
    /// What the host will run, written down before it is told to.
    pub(super) foretold: Option<Foretold>,
}

/// What becomes of writing down what a host will run.
pub(super) type Foretold = Shared<BoxFuture<'static, std::result::Result<(), String>>>;

/// The ledger of an application as it was found and written again, or why not.
pub(super) type Confirmed = Shared<BoxFuture<'static, std::result::Result<Arc<Owned>, String>>>;

/// What commands are sent with. Cheap to clone.
#[derive(Clone)]
pub(super) struct Means {
    client: Client,
    store: SharedStore,
    roll_back: Arc<dyn RollBack>,
}

impl Means {
    pub(super) fn new(tools: Tools) -> Self {
        let Tools { transport, lattice, store, roll_back } = tools;
        let patience = Patience { request: PATIENCE, ..Patience::default() };
        let client = Client::new(transport, lattice).with_patience(patience).waiting(Until::Taken);
        Self { client, store, roll_back }
    }

    /// Does what `action` says, on `order`. `Ok` means that it was taken.
    pub(super) async fn carry_out(self, action: Action, order: Order) -> Result<()> {
        let mut client = self.client.clone().on_terms(order.terms);
        if let Some(scribe) = order.scribe {
            client = client.through(scribe);
        }
        if let Some(confirmed) = order.confirmed {
            is_named(&action, &confirmed.await)?;
        }
        if let Some(foretold) = order.foretold {
            foretold.await.map_err(|error| Error::new(ErrorKind::Conflict, error))?;
        }
        match &action.deed {
            Deed::RecordOwned { instead_of, owned } => self.record(&action.app, instead_of.as_ref(), owned).await,
            Deed::PutConfig { name, values } => client.put_config(name, values).await.map(drop),
            Deed::DeleteConfig { name } => client.delete_config(name).await.map(drop),
            Deed::PutLink { link } | Deed::RestoreLink { link } => client.put_link(link).await.map(drop),
            Deed::DeleteLink { link } => client.delete_link(&delete_link(link)).await.map(drop),
            Deed::ScaleActor(actor) | Deed::UpdateActor(actor) => client.scale(&scale(actor)).await.map(drop),
            Deed::StopActor { host, id, reference, owner } => {
                let stop = ScaleComponent {
                    component_ref: reference.to_string(),
                    annotations: Some(owner.annotations()),
                    ..bare(host, id)
                };
                client.scale(&stop).await.map(drop)
            }
            Deed::StartProvider(provider) => client.start_provider(&start(provider)).await.map(drop),
            Deed::UpdateProvider(provider) => {
                let update = StartProvider { allow_update: true, ..start(provider) };
                client.start_provider(&update).await.map(drop)
            }
            Deed::StopProvider { host, id } => client.stop_provider(host, id).await.map(drop),
            Deed::RollBack { to, why } => self.roll_back.roll_back(&action.app, action.generation, to, why).await,
        }
    }

    /// Writes a ledger, if it is what the planner saw.
    async fn record(&self, app: &AppName, instead_of: Option<&Owned>, owned: &Owned) -> Result<()> {
        let key = ledger(app);
        let found = self.within(self.store.get(&key)).await?;
        let known = found.as_ref().and_then(|record| serde_json::from_slice::<Owned>(&record.value).ok());
        // What seems to be written already is written again: only that tells whether the store answered from the past.
        if known.as_ref() != instead_of && known.as_ref() != Some(owned) {
            return Err(Error::new(ErrorKind::Conflict, format!("the ledger of {app} was changed by somebody else")));
        }
        let expect = found.map_or(Expect::Absent, |record| Expect::At(record.revision));
        if owned == &Owned::default() {
            return self.within(self.store.delete(&key, expect)).await;
        }
        let value = Bytes::from(serde_json::to_vec(owned).expect("a ledger is names"));
        self.within(self.store.put(&key, value, expect)).await.map(drop)
    }

    /// Writes the ledger of `app` again as it is: that fails when it was read from the past, or when somebody else has
    /// changed it by then.
    pub(super) fn confirm(&self, app: AppName) -> Confirmed {
        let means = self.clone();
        async move { means.confirmed(&app).await.map(Arc::new).map_err(|error| error.to_string()) }.boxed().shared()
    }

    /// Writes down what a host will run.
    pub(super) fn foretell(&self, inventory: HostInventory) -> Foretold {
        let told = foretell(self.store.clone(), inventory);
        told.map(|told| told.map_err(|error| format!("not written down before: {error}"))).boxed().shared()
    }

    async fn confirmed(&self, app: &AppName) -> Result<Owned> {
        let key = ledger(app);
        let found = self.within(self.store.get(&key)).await?;
        let Some(record) = found else {
            return Err(Error::new(ErrorKind::Conflict, format!("the ledger of {app} was erased by somebody else")));
        };
        self.within(self.store.put(&key, record.value.clone(), Expect::At(record.revision))).await?;
        serde_json::from_slice(&record.value).map_err(|error| {
            Error::new(ErrorKind::Malformed, format!("the ledger of {app} cannot be read")).with_source(error)
        })
    }

    async fn within<T>(&self, answer: impl Future<Output = Result<T>>) -> Result<T> {
        let late = |_elapsed| Err(Error::new(ErrorKind::Timeout, "the lattice's store did not answer in time"));
        tokio::time::timeout(PATIENCE, answer).await.unwrap_or_else(late)
    }
}

fn ledger(app: &AppName) -> Key {
    Key::parse(&format!("{OWNED}{app}")).expect("an application's name fits into a key")
}

/// Whether the ledger names what `action` makes. Nothing is made that it does not name.
fn is_named(action: &Action, confirmed: &std::result::Result<Arc<Owned>, String>) -> Result<()> {
    let conflict = |text: String| Error::new(ErrorKind::Conflict, text);
    let owned = confirmed.as_ref().map_err(|error| conflict(error.clone()))?;
    let is_named = match &action.deed {
        Deed::PutConfig { name, .. } => owned.configs.contains(name),
        Deed::PutLink { link } => owned.links.contains(&LinkKey::of(link)),
        _ => true,
    };
    if is_named { Ok(()) } else { Err(conflict(format!("the ledger of {} does not name it any more", action.app))) }
}

fn bare(host: &HostId, id: &EntityId) -> ScaleComponent {
    ScaleComponent {
        component_ref: String::new(),
        component_id: id.clone(),
        count: 0,
        host_id: host.clone(),
        config: Vec::new(),
        allow_update: false,
        annotations: None,
        component_limits: None,
    }
}

/// What an actor is annotated with.
pub(super) fn annotations(actor: &ScaleActor) -> StringMap {
    let rule = actor.readiness.iter().map(|rule| (READINESS.to_owned(), rule.to_string()));
    let pin = actor.digest.iter().map(|digest| pin::annotation(&actor.reference, digest));
    actor.owner.annotations().into_iter().chain(rule).chain(pin).collect()
}

fn scale(actor: &ScaleActor) -> ScaleComponent {
    ScaleComponent {
        component_ref: actor.reference.to_string(),
        count: actor.count,
        config: actor.config.to_vec(),
        allow_update: true,
        annotations: Some(annotations(actor)),
        component_limits: actor.limits.to_command(),
        ..bare(&actor.host, &actor.id)
    }
}

fn start(provider: &plan::StartProvider) -> StartProvider {
    StartProvider {
        provider_id: provider.id.clone(),
        provider_ref: provider.reference.to_string(),
        host_id: provider.host.clone(),
        config: provider.config.to_vec(),
        allow_update: false,
        annotations: Some(provider.owner.annotations()),
    }
}

fn delete_link(link: &LinkKey) -> DeleteLink {
    DeleteLink {
        source_id: link.source.clone(),
        name: link.name.clone(),
        wit_namespace: link.namespace.clone(),
        wit_package: link.package.clone(),
    }
}
