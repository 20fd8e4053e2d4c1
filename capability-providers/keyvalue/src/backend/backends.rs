//! The stores and connections of one provider: links that have the same share one.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use trellis_provider_sdk::LinkError;

use super::Backend;
use super::embedded::{Embedded, Store};
use super::nats::{self, Nats};
use super::redis::{self, Redis};
use crate::config::BackendConfig;

/// What links share.
pub(crate) struct Backends {
    directory: PathBuf,
    /// Links come one at a time: a lock is never waited for, and not held over an await.
    shared: Mutex<Shared>,
}

#[derive(Default)]
struct Shared {
    store: Option<Arc<Store>>,
    /// By the identity of their servers. They close with the last link that has them.
    redis: HashMap<String, Weak<redis::Connection>>,
    nats: HashMap<String, Weak<nats::Connection>>,
}

impl Backends {
    /// Opens nothing yet; the file of the embedded store is in `directory`.
    pub(crate) fn new(directory: PathBuf) -> Self {
        Self { directory, shared: Mutex::default() }
    }

    /// The store of a link.
    ///
    /// # Errors
    /// When it cannot be opened or connected to now; says why.
    pub(crate) async fn open(&self, config: &BackendConfig) -> Result<Arc<dyn Backend>, LinkError> {
        match config {
            BackendConfig::Embedded(fsync) => Ok(Arc::new(Embedded::new(self.store().await?, *fsync))),
            BackendConfig::Redis(remote) => {
                let identity = remote.server.identity();
                let known = self.with(|shared| shared.redis.get(&identity).and_then(Weak::upgrade));
                let connection = match known {
                    Some(connection) => connection,
                    None => Arc::new(redis::Connection::open(&remote.server).await?),
                };
                self.with(|shared| shared.redis.insert(identity, Arc::downgrade(&connection)));
                Ok(Arc::new(Redis::new(connection, remote.ttl)))
            }
            BackendConfig::Nats(remote, stream) => {
                let identity = remote.server.identity();
                let known = self.with(|shared| shared.nats.get(&identity).and_then(Weak::upgrade));
                let connection = match known {
                    Some(connection) => connection,
                    None => Arc::new(nats::Connection::open(&remote.server).await?),
                };
                self.with(|shared| shared.nats.insert(identity, Arc::downgrade(&connection)));
                Ok(Arc::new(Nats::open(connection, stream, remote.ttl).await?))
            }
        }
    }

    async fn store(&self) -> Result<Arc<Store>, LinkError> {
        if let Some(store) = self.with(|shared| shared.store.clone()) {
            return Ok(store);
        }
        let directory = self.directory.clone();
        let opened = tokio::task::spawn_blocking(move || Store::open(&directory)).await;
        let store =
            opened.map_err(|error| LinkError::Unavailable(format!("opening the store broke off: {error}")))??;
        let store = Arc::new(store);
        self.with(|shared| shared.store = Some(store.clone()));
        Ok(store)
    }

    /// Waits for the calls in flight, which hold their store, at most for `limit`; syncs and closes.
    pub(crate) async fn close(&self, limit: Duration) {
        self.release(limit).await;
        drop(self.with(std::mem::take));
    }

    /// Gives the file of the embedded store back, which no link has any more, as soon as the calls in flight are over;
    /// keeps it when they are not within `limit`.
    pub(crate) async fn release(&self, limit: Duration) {
        let released = async {
            while self.with(|shared| shared.store.is_some()) {
                let unused = self.with(|shared| shared.store.take_if(|store| Arc::strong_count(store) == 1));
                match unused {
                    // Closing syncs, which blocks.
                    Some(store) => drop(tokio::task::spawn_blocking(move || drop(store)).await),
                    None => tokio::time::sleep(Duration::from_millis(2)).await,
                }
            }
        };
        let _ = tokio::time::timeout(limit, released).await;
    }

    fn with<T>(&self, f: impl FnOnce(&mut Shared) -> T) -> T {
        f(&mut self.shared.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
