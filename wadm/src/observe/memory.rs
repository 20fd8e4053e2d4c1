//! Remembers hosts over restarts of wadm, in the lattice's store: one that is cut off when wadm starts must not look like
//! one that never was, or what it runs would be started elsewhere at once.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tokio_util::task::AbortOnDropHandle;
use tracing::debug;
use trellis_lattice::error::{Error, ErrorKind, Result};
use trellis_lattice::id::HostId;
use trellis_lattice::message::inventory::HostInventory;
use trellis_lattice::store::{Expect, Key, SharedStore};

use super::sight::Sight;

/// What the keys begin with; the rest is the host's id.
const SEEN: &str = "wadm.seen.";

/// How long the store may take.
const PATIENCE: Duration = Duration::from_secs(2);

/// How often at most the store is written to.
const PAUSE: Duration = Duration::from_secs(2);

/// What every host said last, or all that is known.
type Said = BTreeMap<HostId, Arc<HostInventory>>;

/// Writes down which hosts are seen. Dropping it ends its task.
#[derive(Debug)]
pub(crate) struct Memory {
    store: SharedStore,
    said: watch::Sender<Said>,
    _task: AbortOnDropHandle<()>,
}

impl Memory {
    /// Begins with what is in the store; nothing is written before the first look.
    pub(crate) fn start(store: SharedStore) -> Self {
        let (said, heard) = watch::channel(Said::new());
        let task = AbortOnDropHandle::new(tokio::spawn(keep(store.clone(), heard)));
        Self { store, said, _task: task }
    }

    /// The hosts that whoever acted before wrote down. Who takes over asks for them, however long it has been looking
    /// itself: hosts may run what it would start a second time, also those that it heard. `None` when the store does not
    /// tell, and then nothing is safe to start.
    pub(crate) async fn recall(&self) -> Option<Vec<HostInventory>> {
        match timeout(PATIENCE, recall(&self.store)).await {
            Ok(Ok(hosts)) => return Some(hosts),
            Ok(Err(error)) => debug!(%error, "hosts not recalled"),
            Err(_) => debug!("hosts not recalled in time"),
        }
        None
    }

    /// Writes down, some time soon, what `sight` shows, `completed` with what may be running besides.
    pub(crate) fn learn(&self, sight: &Sight, completed: impl Fn(&HostId) -> Option<HostInventory>) {
        let complete = |(host, said): (&HostId, &Arc<HostInventory>)| {
            (host.clone(), completed(host).map_or_else(|| Arc::clone(said), Arc::new))
        };
        let said: Said = sight.said().map(complete).collect();
        self.said.send_if_modified(|known| {
            let is_news = known.len() != said.len() || known.iter().zip(&said).any(|(one, other)| !is_same(one, other));
            if is_news {
                *known = said;
            }
            is_news
        });
    }
}

fn is_same(one: (&HostId, &Arc<HostInventory>), other: (&HostId, &Arc<HostInventory>)) -> bool {
    one.0 == other.0 && (Arc::ptr_eq(one.1, other.1) || one.1 == other.1)
}

/// Writes down at once what a host will run, before it is told to. Whoever acts next must not take it for free.
pub(crate) async fn foretell(store: SharedStore, inventory: HostInventory) -> Result<()> {
    let key = key(&inventory.host_id);
    let put = store.put(&key, text_of(&inventory).into(), Expect::Any);
    let late = |_elapsed| Err(Error::new(ErrorKind::Timeout, "the lattice's store did not answer in time"));
    timeout(PATIENCE, put).await.unwrap_or_else(late).map(drop)
}

/// The hosts that were seen before.
pub(super) async fn recall(store: &SharedStore) -> Result<Vec<HostInventory>> {
    let records = store.list(SEEN).await?;
    Ok(records.iter().filter_map(|record| serde_json::from_slice(&record.value).ok()).collect())
}

async fn keep(store: SharedStore, mut heard: watch::Receiver<Said>) {
    let mut kept = BTreeMap::new();
    while heard.changed().await.is_ok() {
        let said = heard.borrow_and_update().clone();
        let gone: BTreeSet<HostId> = kept.keys().filter(|host| !said.contains_key(*host)).cloned().collect();
        for host in gone {
            forget(&store, &host).await;
            kept.remove(&host);
        }
        for (host, inventory) in said {
            let text = text_of(&inventory);
            if kept.get(&host) != Some(&text) && write(&store, &host, text.clone()).await {
                kept.insert(host, text);
            }
        }
        sleep(PAUSE).await;
    }
}

/// What is kept of an inventory: all but what changes by itself. That a host tells of links stays: it can replace a
/// provider while it runs, and who does not know that stops it first.
fn text_of(inventory: &HostInventory) -> Vec<u8> {
    let mut kept = inventory.clone();
    (kept.uptime_human, kept.uptime_seconds) = (String::new(), 0);
    (kept.fence, kept.underway) = (None, None);
    kept.breakers.clear();
    kept.traffic.clear();
    kept.components.iter_mut().for_each(|component| component.readiness = None);
    kept.providers.iter_mut().filter_map(|provider| provider.links.as_mut()).for_each(Vec::clear);
    serde_json::to_vec(&kept).expect("an inventory has a JSON form")
}

async fn write(store: &SharedStore, host: &HostId, text: Vec<u8>) -> bool {
    let written = timeout(PATIENCE, store.put(&key(host), text.into(), Expect::Any)).await;
    let is_written = matches!(written, Ok(Ok(_)));
    if !is_written {
        debug!(host_id = %host, "host not written down");
    }
    is_written
}

async fn forget(store: &SharedStore, host: &HostId) {
    // If it stays, the host is taken for one that is silent until it is forgotten.
    let _ = timeout(PATIENCE, store.delete(&key(host), Expect::Any)).await;
}

fn key(host: &HostId) -> Key {
    Key::parse(&format!("{SEEN}{host}")).expect("a host's id fits into a key")
}
