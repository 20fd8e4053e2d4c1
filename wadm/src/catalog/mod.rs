//! The catalog: which versions of each application there are, which one is deployed, and what happened to it.
//!
//! A record of each application ([`App`]) is kept on the own disk first, where it is synced, and mirrored to the
//! lattice's store, where other wadms of the lattice see it. Records are signed; of two copies the one with the higher
//! revision holds. A mirror that is empty, lost or old is filled again from the own disk and never believed to say
//! that nothing is deployed.

mod app;
mod change;
mod error;
mod keeper;
mod manifest;
mod mirror;
mod seal;
mod shelf;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::task::AbortOnDropHandle;
use trellis_lattice::error::{Error, ErrorKind, Result as LatticeResult};
use trellis_lattice::id::LatticeName;
use trellis_lattice::identity::key::Key;
use trellis_lattice::store::SharedStore;

pub use self::app::{App, Deed, Event, Stamp, Version};
pub use self::change::{Change, Effect, Outcome};
pub use self::error::{Refusal, RefusalKind};
pub use self::keeper::Published;
use self::keeper::{Audience, Keeper, Order, Ordered};
pub use self::manifest::Stored;
use self::mirror::Mirror;
use self::seal::Seal;
use self::shelf::Shelf;
use crate::execute::RollBack;
use crate::intent::{AppName, Intent};
use crate::manifest::Manifest;

/// So many changes wait for their turn.
const MOST_WAITING: usize = 64;
/// The longest that it is waited for what another wadm did.
const LOOK_UP: Duration = Duration::from_millis(500);

/// Where a catalog is kept, and by whom.
#[derive(Debug)]
pub struct Place {
    /// The lattice whose applications they are.
    pub lattice: LatticeName,
    /// The own disk.
    pub own: SharedStore,
    /// The store of the lattice, if that is another one than `own`.
    pub mirror: Option<SharedStore>,
    /// Signs the records.
    pub key: Key,
    /// Public halves of the keys of other wadms of this lattice whose records are believed.
    pub believes: BTreeSet<String>,
}

/// The catalog of one lattice. Cheap to clone; its task ends with the last clone.
#[derive(Debug, Clone)]
pub struct Catalog {
    orders: mpsc::Sender<Order>,
    published: watch::Receiver<Published>,
    intents: watch::Receiver<Arc<Intent>>,
    shelf: Shelf,
    _task: Arc<AbortOnDropHandle<()>>,
}

impl Catalog {
    /// Opens the catalog at `place`. To be called in a Tokio runtime.
    ///
    /// What is wrong with single records is logged; their applications are then left alone.
    ///
    /// # Errors
    /// When the own disk cannot be read.
    pub async fn open(place: Place) -> LatticeResult<Self> {
        let Place { lattice, own, mirror, key, believes } = place;
        let seal = Arc::new(Seal::new(lattice, key, believes));
        let shelf = Shelf::new(own, mirror.clone(), seal.clone());
        let (orders, received) = mpsc::channel(MOST_WAITING);
        let (publish, published) = watch::channel(Published::default());
        let (intend, intents) = watch::channel(Arc::default());
        let mirror = mirror.map(|store| Mirror::new(store, seal));
        let keeper = Keeper::load(shelf.clone(), mirror, Audience { publish, intend }).await?;
        let task = Arc::new(AbortOnDropHandle::new(tokio::spawn(keeper.run(received))));
        Ok(Self { orders, published, intents, shelf, _task: task })
    }

    /// What is wanted now.
    pub fn intent(&self) -> Arc<Intent> {
        Arc::clone(&self.intents.borrow())
    }

    /// What is wanted, and when that changes.
    pub fn intents(&self) -> watch::Receiver<Arc<Intent>> {
        self.intents.clone()
    }

    /// Everything in it, and when that changes.
    pub fn changed(&self) -> watch::Receiver<Published> {
        self.published.clone()
    }

    /// All applications, deleted ones among them.
    pub fn apps(&self) -> Arc<BTreeMap<AppName, App>> {
        Arc::clone(&self.published.borrow().apps)
    }

    /// The application `name`, if there is one that is not deleted.
    pub fn app(&self, name: &str) -> Option<App> {
        self.published.borrow().apps.get(name).filter(|app| !app.is_deleted()).cloned()
    }

    /// Takes over what another wadm has done to `app` up to now: otherwise that is heard of a moment later. When the
    /// mirror does not answer, what is known is all there is.
    pub async fn look_up(&self, app: &AppName) {
        let (done, looked) = oneshot::channel();
        let look = async {
            if self.orders.send(Order::LookUp(app.clone(), done)).await.is_ok() {
                let _ = looked.await;
            }
        };
        let _ = tokio::time::timeout(LOOK_UP, look).await;
    }

    /// What a version says.
    ///
    /// # Errors
    /// When it is neither on the own disk nor in the mirror, or is not what was put.
    pub async fn manifest(&self, name: &AppName, version: &Version) -> Result<Arc<Manifest>, Refusal> {
        self.shelf.manifest(name, &version.digest).await.map_err(Refusal::store)
    }

    /// Adds a version. Its name is in the manifest's annotations, or made from its content.
    ///
    /// Putting again what is there already changes nothing.
    ///
    /// # Errors
    /// When that version is there with other content, or the own disk fails.
    pub async fn put(&self, manifest: &Manifest, stamp: Stamp) -> Result<Outcome, Refusal> {
        let stored = Stored::new(manifest)?;
        let app = AppName::parse(&manifest.metadata.name).map_err(|error| Refusal::conflict(error.to_string()))?;
        let description = manifest.metadata.annotations.get("description").cloned();
        self.change(app, Change::Put { manifest: stored, description }, stamp).await
    }

    /// Changes the application `app`; when this returns, the change is on the own disk.
    ///
    /// # Errors
    /// When it makes no sense as things are, or the own disk fails: nothing is changed then.
    pub async fn change(&self, app: AppName, change: Change, stamp: Stamp) -> Result<Outcome, Refusal> {
        let (reply, answer) = oneshot::channel();
        let gone = |_| Refusal::store(Error::new(ErrorKind::Io, "the catalog is closed"));
        let order = Ordered { app, change, stamp, reply };
        self.orders.send(Order::Change(order)).await.map_err(|_| gone(()))?;
        answer.await.map_err(|_| gone(()))?
    }
}

#[async_trait]
impl RollBack for Catalog {
    async fn roll_back(&self, app: &AppName, generation: u64, to: &str, why: &str) -> LatticeResult<()> {
        let change = Change::RollBack { to: Some(to.to_owned()), from_generation: Some(generation) };
        let stamp = Stamp::now("wadm").because(why);
        match self.change(app.clone(), change, stamp).await {
            Ok(_) => Ok(()),
            // Another generation is deployed by now: nothing is left to do.
            Err(refusal) if refusal.kind() == RefusalKind::Overtaken => Ok(()),
            Err(refusal) => Err(Error::new(ErrorKind::Refused, refusal.to_string())),
        }
    }
}
