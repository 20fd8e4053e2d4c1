//! Following the store: a watch becomes snapshots. What is known stays known until a complete view says otherwise.

use std::sync::Arc;
use std::time::Duration;

use futures::{FutureExt as _, StreamExt as _};
use tokio::sync::watch;
use trellis_lattice::damper::Damper;
use trellis_lattice::id::{ConfigName, SecretName};
use trellis_lattice::message::command::StringMap;
use trellis_lattice::message::lease::{LEASE_KEY, Lease};
use trellis_lattice::message::link::Link;
use trellis_lattice::store::{Change, Record, SharedStore};

use super::kept::Known;
use super::{Believed, Configs, View, key};
use crate::links::{Entry, Table};
use crate::standing::Told;

/// How long after a watch ended the next one is tried.
const RETRY: Duration = Duration::from_millis(500);

/// Keeps the view's links as the store has them. Never returns.
pub(super) async fn links(Follow { store, view, kept, told }: Follow) {
    let show = |known: &Known| view.set_links(Table::new(known.values().filter_map(entry_of)));
    if !kept.is_empty() {
        show(&kept);
    }
    let publish = |known: &Known, completeness: Completeness| {
        show(known);
        if completeness == Completeness::Complete {
            view.progress.send_modify(|progress| progress.has_links = true);
            told.send_replace(Some(known.clone()));
        }
    };
    follow(&store, key::LINKS, kept.clone(), publish).await;
}

/// Keeps the view's configs as the store has them. Never returns.
pub(super) async fn configs(Follow { store, view, kept, told }: Follow) {
    let show = |known: &Known| view.set_configs(known.values().filter_map(config_of).collect::<Configs>());
    if !kept.is_empty() {
        show(&kept);
    }
    let publish = |known: &Known, completeness: Completeness| {
        show(known);
        if completeness == Completeness::Complete {
            view.progress.send_modify(|progress| progress.has_configs = true);
            told.send_replace(Some(known.clone()));
        }
    };
    follow(&store, key::CONFIGS, kept.clone(), publish).await;
}

/// Keeps the view's secrets as the store has them. Never returns.
pub(super) async fn secrets(Follow { store, view, kept, told }: Follow, believed: Believed) {
    let refused = Damper::default();
    let complain = |name: &SecretName, error: &str| {
        if let Some(left_out) = refused.admit() {
            tracing::warn!(secret = %name, error, left_out, "record of a secret skipped");
        }
    };
    let show = |known: &Known| view.set_secrets(believed.read(known.values(), &view.secrets(), complain));
    if !kept.is_empty() {
        show(&kept);
    }
    let publish = |known: &Known, completeness: Completeness| {
        show(known);
        if completeness == Completeness::Complete {
            view.progress.send_modify(|progress| progress.has_secrets = true);
            told.send_replace(Some(known.clone()));
        }
    };
    follow(&store, key::SECRETS, kept.clone(), publish).await;
}

/// Keeps the view's guards as its links and configs say. Never returns.
pub(super) async fn guards(view: Arc<View>) {
    let mut changes = view.changes();
    loop {
        view.renew_guards();
        changes.next().await;
    }
}

/// Learns from the lattice's lease which wadm's commands still count. Never returns.
pub(super) async fn lease(store: SharedStore, told: Arc<Told>) {
    let publish = |known: &Known, _| {
        let leases = known.values().filter_map(|record| Lease::decode(&record.value));
        leases.for_each(|lease| told.learn_fence(lease.token));
    };
    follow(&store, LEASE_KEY, Known::new(), publish).await;
}

fn entry_of(record: &Record) -> Option<Entry> {
    let link: Link = parse(record)?;
    Some(Entry { link: Arc::new(link), revision: record.revision.0 })
}

fn config_of(record: &Record) -> Option<(ConfigName, Arc<StringMap>)> {
    let name = ConfigName::parse(record.key.as_str().strip_prefix(key::CONFIGS)?).ok()?;
    Some((name, Arc::new(parse::<StringMap>(record)?)))
}

/// A record that cannot be read grants nothing and says nothing.
fn parse<T: serde::de::DeserializeOwned>(record: &Record) -> Option<T> {
    serde_json::from_slice(&record.value)
        .inspect_err(|error| tracing::warn!(key = record.key.as_str(), error = %error, "record skipped"))
        .ok()
}

/// Whether all that the store has was told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Completeness {
    Complete,
    Partial,
}

/// What following takes, and where it tells.
pub(super) struct Follow {
    store: SharedStore,
    view: Arc<View>,
    /// What was kept from before; shown until the store says otherwise.
    kept: Known,
    /// What the store told, when it told all.
    pub(super) told: watch::Sender<Option<Known>>,
}

impl Follow {
    /// From `store` to `view`.
    pub(super) fn new(store: &SharedStore, view: &Arc<View>, kept: Known) -> Self {
        Self { store: Arc::clone(store), view: Arc::clone(view), kept, told: watch::Sender::new(None) }
    }
}

async fn follow(store: &SharedStore, prefix: &str, kept: Known, publish: impl Fn(&Known, Completeness)) {
    let failures = Damper::default();
    let mut fold = Fold { known: kept, retold: None };
    loop {
        match store.watch(prefix).await {
            Ok(mut watch) => {
                fold.step(Change::Restart);
                while let Some(change) = watch.next().await {
                    fold.step(change);
                    while let Some(Some(change)) = watch.next().now_or_never() {
                        fold.step(change);
                    }
                    publish(&fold.known, fold.completeness());
                }
                tracing::warn!(prefix, "watch of the store ended");
            }
            Err(error) => {
                if let Some(left_out) = failures.admit() {
                    tracing::warn!(prefix, error = %error, left_out, "store could not be watched");
                }
            }
        }
        tokio::time::sleep(RETRY).await;
    }
}

/// What a watch has told so far.
#[derive(Debug, Default)]
struct Fold {
    known: Known,
    /// Between a (re)start and `Ready`: what has been told again. What is not among it is gone at `Ready`, not before.
    retold: Option<Known>,
}

impl Fold {
    fn step(&mut self, change: Change) {
        match change {
            Change::Restart => self.retold = Some(Known::new()),
            Change::Put(record) => {
                if let Some(retold) = &mut self.retold {
                    retold.insert(record.key.clone(), record.clone());
                }
                self.known.insert(record.key.clone(), record);
            }
            Change::Delete(key) => {
                if let Some(retold) = &mut self.retold {
                    retold.remove(&key);
                }
                self.known.remove(&key);
            }
            Change::Ready => {
                if let Some(retold) = self.retold.take() {
                    self.known = retold;
                }
            }
        }
    }

    fn completeness(&self) -> Completeness {
        if self.retold.is_none() { Completeness::Complete } else { Completeness::Partial }
    }
}

#[cfg(test)]
mod tests {
    use super::{Change, Fold, Record};
    use trellis_lattice::store::{Key, Revision};

    fn put(key: &str) -> Change {
        let key = Key::parse(key).expect("valid");
        Change::Put(Record { key, value: "{}".into(), revision: Revision(1) })
    }

    fn check(changes: impl IntoIterator<Item = Change>, expected: &[&str]) {
        let mut fold = Fold::default();
        changes.into_iter().for_each(|change| fold.step(change));
        assert_eq!(fold.known.keys().map(Key::as_str).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn what_is_known_stays_known_until_a_complete_view_lacks_it() {
        let known = [Change::Restart, put("a"), put("b"), Change::Ready];
        let after = |more: &[Change]| known.iter().chain(more).cloned().collect::<Vec<_>>();
        check(after(&[]), &["a", "b"]);
        check(after(&[Change::Restart]), &["a", "b"]);
        check(after(&[Change::Restart, put("c")]), &["a", "b", "c"]);
        check(after(&[Change::Restart, put("c"), Change::Ready]), &["c"]);
        check(after(&[Change::Restart, put("c"), Change::Restart, put("b"), Change::Ready]), &["b"]);
        check(after(&[Change::Delete(Key::parse("a").unwrap())]), &["b"]);
    }
}
