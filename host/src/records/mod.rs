//! Links, configs and claims as the lattice's store keeps them: one record each, followed by every host.
//!
//! [`View`] is what this host knows now; what is written goes through [`Records`] to the store and comes back by the
//! watch, on this host as on any other.

mod follow;
mod key;
mod write;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;
use trellis_lattice::id::ConfigName;
use trellis_lattice::message::command::StringMap;
use trellis_lattice::store::SharedStore;

use crate::error::{Error, ErrorKind, Result};
use crate::links::Table;
use crate::standing::Told;

/// The longest that one operation on the store may take.
const STORE_TIMEOUT: Duration = Duration::from_secs(5);

/// What is known of the lattice's records, as snapshots.
#[derive(Debug, Default)]
pub(crate) struct View {
    links: ArcSwap<Table>,
    configs: ArcSwap<Configs>,
    progress: watch::Sender<Progress>,
}

/// All configs at one moment.
pub(crate) type Configs = BTreeMap<ConfigName, Arc<StringMap>>;

/// How far the watches are.
#[derive(Debug, Default, Clone, Copy)]
struct Progress {
    generation: u64,
    has_links: bool,
    has_configs: bool,
}

impl View {
    /// The links as they are now.
    pub(crate) fn links(&self) -> Arc<Table> {
        self.links.load_full()
    }

    /// The links as they are now, for a look that awaits nothing.
    pub(crate) fn peek_links(&self) -> arc_swap::Guard<Arc<Table>> {
        self.links.load()
    }

    /// The configs as they are now.
    pub(crate) fn configs(&self) -> Arc<Configs> {
        self.configs.load_full()
    }

    /// Wakes whenever links or configs changed.
    pub(crate) fn changes(&self) -> Changes {
        Changes(self.progress.subscribe())
    }

    /// A view that holds `table` and follows nothing.
    #[cfg(test)]
    pub(crate) fn fixed(table: Table) -> Arc<Self> {
        let view = Self::default();
        view.links.store(Arc::new(table));
        Arc::new(view)
    }

    fn set_links(&self, table: Table) {
        self.links.store(Arc::new(table));
        self.progress.send_modify(|progress| progress.generation += 1);
    }

    fn set_configs(&self, configs: Configs) {
        self.configs.store(Arc::new(configs));
        self.progress.send_modify(|progress| progress.generation += 1);
    }
}

/// Wakes its holder, without data, when the view changed; several changes may wake once.
pub(crate) struct Changes(watch::Receiver<Progress>);

impl Changes {
    /// Waits for the next change. Never returns when the view is gone. Cancel safe.
    pub(crate) async fn next(&mut self) {
        if self.0.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

/// The configs `names` merged, later ones over earlier ones.
///
/// # Errors
/// `NotFound` naming those that are missing.
pub(crate) fn merge(configs: &Configs, names: &[ConfigName]) -> Result<StringMap> {
    let missing: Vec<&str> = names.iter().filter(|name| !configs.contains_key(*name)).map(ConfigName::as_str).collect();
    if !missing.is_empty() {
        return Err(Error::new(ErrorKind::NotFound, missing_configs(&missing)));
    }
    let mut merged = StringMap::new();
    for config in names.iter().filter_map(|name| configs.get(name)) {
        merged.extend(config.iter().map(|(key, value)| (key.clone(), value.clone())));
    }
    Ok(merged)
}

fn missing_configs(names: &[&str]) -> String {
    format!("no such config: {}; put it first (`trellis config put {} key=value`)", names.join(", "), names[0])
}

/// The records of a lattice: the view, and the ways to change them. Dropping it ends the watches.
pub(crate) struct Records {
    store: SharedStore,
    view: Arc<View>,
    _watches: [AbortOnDropHandle<()>; 3],
}

impl Records {
    /// Follows the records in `store`, tells `told` of the lease, and waits until everything that is there has been read.
    ///
    /// # Errors
    /// `Unavailable` when that takes longer than `patience`.
    pub(crate) async fn open(store: SharedStore, told: Arc<Told>, patience: Duration) -> Result<Self> {
        let view = Arc::new(View::default());
        let mut progress = view.progress.subscribe();
        let watches = [
            tokio::spawn(follow::links(Arc::clone(&store), Arc::clone(&view))),
            tokio::spawn(follow::configs(Arc::clone(&store), Arc::clone(&view))),
            tokio::spawn(follow::lease(Arc::clone(&store), told)),
        ]
        .map(AbortOnDropHandle::new);
        let complete = progress.wait_for(|progress| progress.has_links && progress.has_configs);
        if tokio::time::timeout(patience, complete).await.is_err() {
            let message = format!(
                "the lattice's store did not tell its links and configs within {} s; is it reachable?",
                patience.as_secs()
            );
            return Err(Error::new(ErrorKind::Unavailable, message));
        }
        Ok(Self { store, view, _watches: watches })
    }

    /// What is known.
    pub(crate) fn view(&self) -> &Arc<View> {
        &self.view
    }
}
