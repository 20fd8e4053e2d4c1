//! A store on JetStream that need not be there yet: it is opened by the first operation that finds its server.

use std::fmt;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::OnceCell;

use super::jetstream::JetStreamStore;
use super::{Expect, Key, Record, Revision, Store, Watch};
use crate::error::{Error, ErrorKind, Result};
use crate::id::LatticeName;
use crate::transport::Transport as _;
use crate::transport::nats::NatsTransport;

/// A [`JetStreamStore`] that is opened when its server is there. Until then each operation fails at once with
/// `Disconnected`.
pub struct LateStore {
    transport: NatsTransport,
    lattice: LatticeName,
    opened: OnceCell<JetStreamStore>,
}

impl LateStore {
    /// The store of `lattice` on the servers of `transport`.
    pub fn new(transport: NatsTransport, lattice: LatticeName) -> Self {
        Self { transport, lattice, opened: OnceCell::new() }
    }

    async fn store(&self) -> Result<&JetStreamStore> {
        if self.opened.get().is_none() && !self.transport.is_connected() {
            let text = format!("nats-server at {} is not there yet", self.transport.servers());
            return Err(Error::new(ErrorKind::Disconnected, text));
        }
        self.opened.get_or_try_init(|| JetStreamStore::open(&self.transport, &self.lattice)).await
    }
}

impl fmt::Debug for LateStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LateStore").field("opened", &self.opened.get()).finish_non_exhaustive()
    }
}

#[async_trait]
impl Store for LateStore {
    async fn get(&self, key: &Key) -> Result<Option<Record>> {
        self.store().await?.get(key).await
    }

    async fn put(&self, key: &Key, value: Bytes, expect: Expect) -> Result<Revision> {
        self.store().await?.put(key, value, expect).await
    }

    async fn delete(&self, key: &Key, expect: Expect) -> Result<()> {
        self.store().await?.delete(key, expect).await
    }

    async fn list(&self, prefix: &str) -> Result<Vec<Record>> {
        self.store().await?.list(prefix).await
    }

    async fn watch(&self, prefix: &str) -> Result<Watch> {
        self.store().await?.watch(prefix).await
    }
}
