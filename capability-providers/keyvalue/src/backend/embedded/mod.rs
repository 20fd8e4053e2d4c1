//! The store in a file of the provider's own.
//!
//! Reads are transactions of their own and never wait for writes. Writes go to one thread, which puts all that wait
//! into one transaction, so that many callers share one fsync.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::broadcast::error::RecvError;
use tracing::warn;
use trellis_interfaces::keyvalue::{KeyResponse, Snapshot, Swapped, Value};
use trellis_provider_sdk::LinkError;

mod change;
mod record;
mod store;
mod writer;

pub(super) use store::Store;

use super::{Backend, Delta, Failure};
use crate::config::Fsync;
use crate::scope::Bucket;
use crate::watcher::Watcher;
use change::Change;

/// The store as one link has it.
pub(super) struct Embedded {
    store: Arc<Store>,
    fsync: Fsync,
}

impl Embedded {
    /// What is written over it is on the disk as `fsync` says.
    pub(super) fn new(store: Arc<Store>, fsync: Fsync) -> Self {
        Self { store, fsync }
    }

    async fn write(&self, change: Change) -> Result<i128, Failure> {
        Ok(self.store.write(change, self.fsync).await?)
    }
}

#[async_trait]
impl Backend for Embedded {
    async fn get(&self, bucket: &Bucket, key: &str) -> Result<Option<Value>, Failure> {
        Ok(self.store.get(bucket, key)?)
    }

    async fn exists(&self, bucket: &Bucket, key: &str) -> Result<bool, Failure> {
        Ok(self.store.exists(bucket, key)?)
    }

    async fn list(&self, bucket: &Bucket, cursor: Option<u64>) -> Result<KeyResponse, Failure> {
        Ok(self.store.list(bucket, cursor)?)
    }

    async fn get_many(&self, bucket: &Bucket, keys: &[String]) -> Result<Vec<Option<Value>>, Failure> {
        Ok(self.store.get_many(bucket, keys.iter().map(String::as_str))?)
    }

    async fn set_many(&self, bucket: &Bucket, items: Vec<(String, Value)>) -> Result<(), Failure> {
        self.write(Change::Set(bucket.clone(), items)).await.map(drop)
    }

    async fn delete_many(&self, bucket: &Bucket, keys: Vec<String>) -> Result<(), Failure> {
        self.write(Change::Delete(bucket.clone(), keys)).await.map(drop)
    }

    async fn increment(&self, bucket: &Bucket, key: &str, delta: Delta) -> Result<i128, Failure> {
        self.write(Change::Increment(bucket.clone(), key.to_owned(), delta)).await
    }

    async fn snapshot(&self, bucket: &Bucket, key: &str) -> Result<Option<Snapshot>, Failure> {
        let value = self.store.get(bucket, key)?;
        Ok(value.map(|value| Snapshot { version: record::version(&value), value }))
    }

    async fn swap(&self, bucket: &Bucket, key: &str, version: Option<Bytes>, value: Value) -> Result<Swapped, Failure> {
        match self.write(Change::Swap(bucket.clone(), key.to_owned(), version, value)).await? {
            0 => Ok(Swapped::Stale(self.snapshot(bucket, key).await?)),
            _ => Ok(Swapped::Done),
        }
    }

    async fn check_watch(&self) -> Result<(), LinkError> {
        Ok(())
    }

    async fn watch(&self, bucket: Bucket, watcher: Watcher) {
        let mut touched = self.store.touched();
        loop {
            match touched.recv().await {
                Ok((of, key)) if of == bucket => match self.store.get(&bucket, &key) {
                    // Nothing is told twice: an error is the watcher's own affair, which it has logged.
                    Ok(Some(value)) => drop(watcher.set(&key, value).await),
                    Ok(None) => drop(watcher.deleted(&key).await),
                    Err(error) => warn!(%error, "change of a key was not told: it cannot be read"),
                },
                Ok(_) => {}
                Err(RecvError::Lagged(missed)) => warn!(missed, "changes of keys were not told: too many at once"),
                Err(RecvError::Closed) => return,
            }
        }
    }
}
