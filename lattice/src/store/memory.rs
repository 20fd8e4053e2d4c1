//! A store that lives as long as its process: for tests, and for hosts that keep nothing.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use futures::FutureExt;
use futures::future;

use super::feed::{Feed, Snapshot};
use super::{Change, Expect, Key, Record, Revision, Store, Watch, check_expected, check_value};
use crate::error::Result;

/// A store in memory. Cheap to clone; all clones are one store.
#[derive(Clone)]
pub struct MemoryStore(Arc<Inner>);

struct Inner {
    // A lock, so that the order of changes is the order in which watchers are told; never held over an await.
    state: Mutex<State>,
    feed: Feed,
}

#[derive(Default)]
struct State {
    records: BTreeMap<Key, Record>,
    last: u64,
}

impl State {
    fn snapshot(&self, prefix: &str) -> Snapshot {
        let records = self.records.values().filter(|record| record.key.as_str().starts_with(prefix)).cloned().collect();
        Snapshot { revision: Revision(self.last), records }
    }

    fn next_revision(&mut self) -> Revision {
        self.last += 1;
        Revision(self.last)
    }
}

impl MemoryStore {
    /// An empty store.
    #[must_use]
    pub fn new() -> Self {
        Self(Arc::new(Inner { state: Mutex::default(), feed: Feed::new() }))
    }
}

impl Inner {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MemoryStore")
    }
}

#[async_trait]
impl Store for MemoryStore {
    async fn get(&self, key: &Key) -> Result<Option<Record>> {
        Ok(self.0.state().records.get(key).cloned())
    }

    async fn put(&self, key: &Key, value: Bytes, expect: Expect) -> Result<Revision> {
        check_value(key, &value)?;
        let mut state = self.0.state();
        check_expected(key, expect, state.records.get(key).map(|record| record.revision))?;
        let revision = state.next_revision();
        let record = Record { key: key.clone(), value, revision };
        state.records.insert(key.clone(), record.clone());
        self.0.feed.tell(revision, Change::Put(record));
        Ok(revision)
    }

    async fn delete(&self, key: &Key, expect: Expect) -> Result<()> {
        let mut state = self.0.state();
        check_expected(key, expect, state.records.get(key).map(|record| record.revision))?;
        if state.records.remove(key).is_some() {
            let revision = state.next_revision();
            self.0.feed.tell(revision, Change::Delete(key.clone()));
        }
        Ok(())
    }

    async fn list(&self, prefix: &str) -> Result<Vec<Record>> {
        Ok(self.0.state().snapshot(prefix).records)
    }

    async fn watch(&self, prefix: &str) -> Result<Watch> {
        let inner = Arc::downgrade(&self.0);
        let wanted = prefix.to_owned();
        let take = move || {
            let snapshot = inner.upgrade().map(|inner| Ok(inner.state().snapshot(&wanted)));
            future::ready(snapshot).boxed()
        };
        self.0.feed.watch(prefix.to_owned(), Box::new(take)).await
    }
}
