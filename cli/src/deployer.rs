//! wadm in this process, for `trellis up` and `trellis wadm`: catalog, reconciler and API, put together.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use trellis_lattice::id::LatticeName;
use trellis_lattice::identity::key::{Key, KeyKind};
use trellis_lattice::identity::trust::Trust;
use trellis_lattice::store::SharedStore;
use trellis_lattice::store::embedded::EmbeddedStore;
use trellis_lattice::transport::SharedTransport;
use trellis_wadm::api::{Server, Services};
use trellis_wadm::catalog::{Catalog, Place};
use trellis_wadm::lease::{Rivals, Timing};
use trellis_wadm::observe::Believes;
use trellis_wadm::plan::plan;
use trellis_wadm::reconcile::Wishes;
use trellis_wadm::{Parts, Settings, Wadm};

use crate::context::Context;
use crate::key_store::now_unix_seconds;

/// The name of wadm's key, which signs what is to run.
const KEY: &str = "wadm";

/// For how long hosts are listened to before anything is concluded from their silence: they speak every second.
const SETTLE: Duration = Duration::from_millis(2_500);

/// Where a wadm works.
#[derive(Clone)]
pub(crate) struct Lattice {
    pub(crate) name: LatticeName,
    pub(crate) transport: SharedTransport,
    pub(crate) store: SharedStore,
    pub(crate) trust: Arc<Trust>,
    /// Whether another wadm may work there too.
    pub(crate) rivals: Rivals,
    /// Public halves of the keys of other wadms whose records count.
    pub(crate) believes: BTreeSet<String>,
}

/// A running wadm.
pub(crate) struct Deployer {
    wadm: Wadm,
    server: Server,
}

impl Deployer {
    /// Starts wadm; when this returns, its API answers.
    pub(crate) async fn start(context: &Context, lattice: Lattice) -> anyhow::Result<Self> {
        let Lattice { name, transport, store, trust, rivals, believes } = lattice;
        let key = context.keys.get_or_make(KeyKind::User, KEY)?;
        let file = context.data.wadm_store(&name)?;
        let own = EmbeddedStore::open(file).await;
        let own: SharedStore = Arc::new(own.context("open wadm's own store (each wadm has its own --data-dir)")?);
        let settings = settings(&key, Believes { lattice: name.clone(), trust, clock: now_unix_seconds }, rivals);
        let place = Place { lattice: name.clone(), own, mirror: Some(Arc::clone(&store)), key, believes };
        let catalog = Catalog::open(place).await.context("read what is deployed")?;
        let parts = Parts {
            transport: Arc::clone(&transport),
            store,
            wishes: Wishes::new(catalog.intents()),
            roll_back: Arc::new(catalog.clone()),
            planner: Arc::new(plan),
        };
        let wadm = Wadm::start(parts, settings).await.with_context(|| format!("start wadm in lattice {name}"))?;
        let preview = wadm.preview();
        let services = Services { transport, lattice: name, catalog, board: wadm.board(), preview };
        let server = Server::start(services).await.context("start wadm's API")?;
        Ok(Self { wadm, server })
    }

    /// Ends it; what runs goes on.
    pub(crate) async fn stop(self) {
        drop(self.server);
        self.wadm.stop().await;
    }
}

fn settings(key: &Key, believes: Believes, rivals: Rivals) -> Settings {
    let run = uuid::Uuid::now_v7();
    Settings {
        holder: format!("{}/{run}", key.public()),
        believes,
        rivals,
        timing: match rivals {
            Rivals::Possible => Timing::default(),
            Rivals::Impossible => Timing::unrivalled(),
        },
        lowest_token: now_unix_seconds(),
        settle: SETTLE,
        seed: run.as_u64_pair().1,
    }
}
