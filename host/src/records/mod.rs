//! Links, configs, secrets and claims as the lattice's store keeps them: one record each, followed by every host.
//!
//! [`View`] is what this host knows now; what is written goes through [`Records`] to the store and comes back by the
//! watch, on this host as on any other.

mod follow;
mod kept;
mod key;
mod own;
mod secrets;
mod write;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;
use trellis_lattice::id::ConfigName;
use trellis_lattice::message::command::StringMap;
use trellis_lattice::message::inventory::{LinkBreaker, LinkTraffic};
use trellis_lattice::message::invocation::Head;
use trellis_lattice::message::link::Link;
use trellis_lattice::policy::is_policy;
use trellis_lattice::secrets::is_reference;
use trellis_lattice::store::SharedStore;

use self::follow::Follow;
pub(crate) use self::secrets::{Believed, Held, Secrets};
use crate::error::{Error, ErrorKind, Result};
use crate::links::Table;
use crate::resilience::{Guard, Guards};
use crate::standing::Told;

/// How long the store is waited for when there is something to go by without it.
const PATIENCE_WITH_KEPT: Duration = Duration::from_secs(2);
/// The longest that a write waits to be seen.
const UNTIL_SEEN: Duration = Duration::from_secs(1);
/// The longest that one operation on the store may take.
const STORE_TIMEOUT: Duration = Duration::from_secs(5);

/// What is known of the lattice's records, as snapshots.
#[derive(Debug, Default)]
pub(crate) struct View {
    links: ArcSwap<Table>,
    configs: ArcSwap<Configs>,
    secrets: ArcSwap<Secrets>,
    /// Those in files of this host.
    filed_secrets: ArcSwap<Secrets>,
    /// Written by [`follow::guards`] alone.
    guards: ArcSwap<Guards>,
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
    has_secrets: bool,
}

impl Progress {
    fn is_complete(&self) -> bool {
        self.has_links && self.has_configs && self.has_secrets
    }
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

    /// The secrets in the store as they are now, sealed.
    pub(crate) fn secrets(&self) -> Arc<Secrets> {
        self.secrets.load_full()
    }

    /// The secrets in files of this host as they are now, sealed.
    pub(crate) fn filed_secrets(&self) -> Arc<Secrets> {
        self.filed_secrets.load_full()
    }

    /// The guard of the link that a call goes over, if that link has a policy.
    pub(crate) fn guard(&self, head: &Head) -> Option<Arc<Guard>> {
        self.guards.load().find(head)
    }

    /// The breakers that do not let calls pass as usual.
    pub(crate) fn breakers(&self) -> Vec<LinkBreaker> {
        self.guards.load().troubles(Instant::now())
    }

    /// The links with a policy over which calls are in flight.
    pub(crate) fn traffic(&self) -> Vec<LinkTraffic> {
        self.guards.load().traffic()
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

    /// Makes the guards of the links as they are now.
    fn renew_guards(&self) {
        let complain = |link: &Link, error: &str| {
            tracing::warn!(
                actor_id = %link.source_id, link_name = %link.name, error,
                "link goes on as before, its source config cannot be read"
            );
        };
        let guards = Guards::new(&self.links(), &self.configs(), &self.guards.load(), complain);
        self.guards.store(Arc::new(guards));
    }

    fn set_links(&self, table: Table) {
        self.links.store(Arc::new(table));
        self.progress.send_modify(|progress| progress.generation += 1);
    }

    fn set_configs(&self, configs: Configs) {
        self.configs.store(Arc::new(configs));
        self.progress.send_modify(|progress| progress.generation += 1);
    }

    fn set_secrets(&self, secrets: Secrets) {
        self.secrets.store(Arc::new(secrets));
        self.progress.send_modify(|progress| progress.generation += 1);
    }

    /// Replaces the secrets that are in files.
    pub(crate) fn set_filed_secrets(&self, secrets: Secrets) {
        self.filed_secrets.store(Arc::new(secrets));
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

/// The configs `names` merged, later ones over earlier ones, without the references to secrets and the policies among
/// them.
///
/// # Errors
/// `NotFound` naming those that are missing, references and policies too.
pub(crate) fn merge(configs: &Configs, names: &[ConfigName]) -> Result<StringMap> {
    merge_if(configs, names, |name| !is_reference(name) && !is_policy(name))
}

/// The same with the policies: what says how calls over a link behave.
///
/// # Errors
/// As [`merge`].
pub(crate) fn merge_with_policies(configs: &Configs, names: &[ConfigName]) -> Result<StringMap> {
    merge_if(configs, names, |name| !is_reference(name))
}

/// The same with what the references say: what tells contents of a link apart.
///
/// # Errors
/// As [`merge`].
pub(crate) fn merge_all(configs: &Configs, names: &[ConfigName]) -> Result<StringMap> {
    merge_if(configs, names, |_| true)
}

fn merge_if(configs: &Configs, names: &[ConfigName], is_meant: impl Fn(&ConfigName) -> bool) -> Result<StringMap> {
    let missing: Vec<&str> = names.iter().filter(|name| !configs.contains_key(*name)).map(ConfigName::as_str).collect();
    if !missing.is_empty() {
        return Err(Error::new(ErrorKind::NotFound, missing_configs(&missing)));
    }
    let mut merged = StringMap::new();
    for config in names.iter().filter(|name| is_meant(name)).filter_map(|name| configs.get(name)) {
        merged.extend(config.iter().map(|(key, value)| (key.clone(), value.clone())));
    }
    Ok(merged)
}

fn missing_configs(names: &[&str]) -> String {
    format!("no such config: {}; put it first (`trellis config put {} key=value`)", names.join(", "), names[0])
}

/// Where records are kept on this host's own disk.
pub(crate) struct Kept {
    /// The file.
    pub(crate) file: PathBuf,
    /// Whether what is kept will do when the store says nothing.
    pub(crate) use_if_silent: bool,
}

/// The records of a lattice: the view, and the ways to change them. Dropping it ends the watches.
pub(crate) struct Records {
    store: SharedStore,
    view: Arc<View>,
    believed: Believed,
    _watches: [AbortOnDropHandle<()>; 6],
}

impl Records {
    /// Follows the records in `store`, tells `told` of the lease, and waits until everything that is there has been read.
    /// What the store tells is kept in a file, and what was kept there may do for a start when the store is silent.
    ///
    /// # Errors
    /// `Unavailable` when that takes longer than `patience` and nothing was kept that may be used.
    pub(crate) async fn open(
        store: SharedStore,
        (told, believed): (Arc<Told>, Believed),
        kept: Kept,
        patience: Duration,
    ) -> Result<Self> {
        let view = Arc::new(View::default());
        let mut progress = view.progress.subscribe();
        let used = kept.use_if_silent.then(|| kept::read(&kept.file)).flatten();
        let is_kept = used.is_some();
        let [links, configs, secrets] = used.unwrap_or_default().map(|known| Follow::new(&store, &view, known));
        let keep = kept::keep(kept.file, [&links, &configs, &secrets].map(|follow| follow.told.subscribe()));
        let watches = [
            tokio::spawn(follow::links(links)),
            tokio::spawn(follow::configs(configs)),
            tokio::spawn(follow::secrets(secrets, believed.clone())),
            tokio::spawn(follow::guards(Arc::clone(&view))),
            tokio::spawn(follow::lease(Arc::clone(&store), told)),
            tokio::spawn(keep),
        ]
        .map(AbortOnDropHandle::new);
        let complete = progress.wait_for(Progress::is_complete);
        let patience = if is_kept { patience.min(PATIENCE_WITH_KEPT) } else { patience };
        if tokio::time::timeout(patience, complete).await.is_err() {
            if is_kept {
                tracing::warn!("the lattice's store is silent: links and configs are those that it told last");
                return Ok(Self { store, view, believed, _watches: watches });
            }
            let message = format!(
                "the lattice's store did not tell its links and configs within {} s; is it reachable?",
                patience.as_secs()
            );
            return Err(Error::new(ErrorKind::Unavailable, message));
        }
        Ok(Self { store, view, believed, _watches: watches })
    }

    /// Waits a moment until what was written here has come back by the watch, so that whoever is told that it is
    /// written finds it in use.
    async fn until_seen(&self, is_seen: impl Fn(&View) -> bool) {
        let mut changes = self.view.changes();
        let seen = async {
            while !is_seen(&self.view) {
                changes.next().await;
            }
        };
        if tokio::time::timeout(UNTIL_SEEN, seen).await.is_err() {
            tracing::debug!("what was written was not seen in time");
        }
    }

    /// What is known.
    pub(crate) fn view(&self) -> &Arc<View> {
        &self.view
    }
}
