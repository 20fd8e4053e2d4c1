//! The store in a key-value bucket of a NATS server with JetStream: each key is a subject, of which the last message
//! counts. Whatever depends on what is there is written at an expected revision.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use tokio::sync::MutexGuard;
use trellis_interfaces::keyvalue::{Error, KeyResponse, Snapshot, Swapped, Value};
use trellis_provider_sdk::{CallError, LinkError};

mod connection;
mod fault;
mod listing;
mod name;
mod records;
mod watch;

pub(super) use connection::Connection;

use super::{Backend, Delta, Failure};
use crate::config::{Stream, wrong};
use crate::scope::{self, Bucket};
use crate::watcher::Watcher;
use records::{Entry, Expect, Put, Records};

/// Requests of one batch that are on their way at once.
const AT_ONCE: usize = 32;

/// The store as one link has it.
pub(super) struct Nats {
    records: Arc<Records>,
    ttl: Option<Duration>,
}

impl Nats {
    /// Opens the bucket, or makes it; what is written over it is gone after `ttl`.
    ///
    /// # Errors
    /// When that is not possible now; says why.
    pub(super) async fn open(
        connection: Arc<Connection>,
        stream: &Stream,
        ttl: Option<Duration>,
    ) -> Result<Self, LinkError> {
        if ttl.is_some_and(|ttl| ttl < Duration::from_secs(1)) {
            return Err(wrong("ttl", "is less than NATS can", "a time of at least 1s with the backend nats", "30s"));
        }
        let records = Records::open(connection, stream).await?;
        if ttl.is_some() && !records.has_ttl() {
            let problem = "needs a nats-server of 2.11 or later, and a bucket that was made there";
            return Err(wrong("ttl", problem, "no `ttl`, a newer server, or another `stream`", "stream=sessions"));
        }
        Ok(Self { records: Arc::new(records), ttl })
    }

    async fn put(&self, subject: &str, value: Bytes, expect: Expect) -> Result<Put, Failure> {
        self.records.put(subject, value, expect, self.ttl).await
    }

    /// Calls of this process that would each make the others try again go one after the other: of the calls at a
    /// time, one would win and all others had read for nothing.
    async fn turn(&self, subject: &str) -> MutexGuard<'_, ()> {
        self.records.lane(subject).lock().await
    }
}

#[async_trait]
impl Backend for Nats {
    async fn get(&self, bucket: &Bucket, key: &str) -> Result<Option<Value>, Failure> {
        Ok(self.records.last(&self.records.subject(bucket, key)?).await?.into_value())
    }

    async fn exists(&self, bucket: &Bucket, key: &str) -> Result<bool, Failure> {
        Ok(self.get(bucket, key).await?.is_some())
    }

    async fn list(&self, bucket: &Bucket, cursor: Option<u64>) -> Result<KeyResponse, Failure> {
        listing::page(&self.records, bucket, cursor.unwrap_or(0)).await
    }

    async fn get_many(&self, bucket: &Bucket, keys: &[String]) -> Result<Vec<Option<Value>>, Failure> {
        let subjects = keys.iter().map(|key| self.records.subject(bucket, key)).collect::<Result<Vec<_>, Error>>()?;
        let reads = stream::iter(subjects).map(|subject| async move { self.records.last(&subject).await });
        let mut reads = reads.buffered(AT_ONCE);
        let (mut values, mut bytes) = (Vec::with_capacity(keys.len()), 0);
        while let Some(entry) = reads.try_next().await? {
            let value = entry.into_value();
            bytes += value.as_ref().map_or(0, Bytes::len);
            scope::check_values(std::iter::once(bytes))?;
            values.push(value);
        }
        Ok(values)
    }

    async fn set_many(&self, bucket: &Bucket, items: Vec<(String, Value)>) -> Result<(), Failure> {
        let mut subjects: Vec<(String, Value)> = Vec::with_capacity(items.len());
        let mut places = std::collections::HashMap::new();
        for (key, value) in items {
            let subject = self.records.subject(bucket, &key)?;
            self.records.check_size(&subject, &value)?;
            // They arrive in any order: of one key, only the last is sent.
            match places.get(&subject) {
                Some(&place) => subjects[place] = (subject, value),
                None => {
                    places.insert(subject.clone(), subjects.len());
                    subjects.push((subject, value));
                }
            }
        }
        let puts = stream::iter(subjects.into_iter().map(Ok::<_, Failure>));
        puts.try_for_each_concurrent(AT_ONCE, |(subject, value)| async move {
            self.put(&subject, value, Expect::Anything).await.map(drop)
        })
        .await
    }

    async fn delete_many(&self, bucket: &Bucket, keys: Vec<String>) -> Result<(), Failure> {
        let subjects = keys.iter().map(|key| self.records.subject(bucket, key)).collect::<Result<Vec<_>, Error>>()?;
        let deletes = stream::iter(subjects.into_iter().map(Ok::<_, Failure>));
        deletes.try_for_each_concurrent(AT_ONCE, |subject| async move { self.records.delete(&subject).await }).await
    }

    async fn increment(&self, bucket: &Bucket, key: &str, delta: Delta) -> Result<i128, Failure> {
        let subject = self.records.subject(bucket, key)?;
        let _turn = self.turn(&subject).await;
        // Ends with the call's time.
        loop {
            let entry = self.records.last(&subject).await?;
            let sum = delta.add_to(key, entry.value().map(|value| &value[..]))?;
            let put = self.put(&subject, sum.to_string().into(), Expect::Revision(entry.revision())).await?;
            if put == Put::Done {
                return Ok(sum);
            }
        }
    }

    async fn snapshot(&self, bucket: &Bucket, key: &str) -> Result<Option<Snapshot>, Failure> {
        Ok(snapshot(self.records.last(&self.records.subject(bucket, key)?).await?))
    }

    async fn swap(&self, bucket: &Bucket, key: &str, version: Option<Bytes>, value: Value) -> Result<Swapped, Failure> {
        let subject = self.records.subject(bucket, key)?;
        let _turn = self.turn(&subject).await;
        let revision = match &version {
            Some(version) => revision(version)?,
            // Where nothing is, there may be the trace of what was.
            None => match self.records.last(&subject).await? {
                Entry::Put { revision, value } => return Ok(stale(Entry::Put { revision, value })),
                gone => gone.revision(),
            },
        };
        match self.put(&subject, value, Expect::Revision(revision)).await? {
            Put::Done => Ok(Swapped::Done),
            Put::Stale => Ok(stale(self.records.last(&subject).await?)),
        }
    }

    async fn check_watch(&self) -> Result<(), LinkError> {
        Ok(())
    }

    async fn watch(&self, bucket: Bucket, watcher: Watcher) {
        watch::run(&self.records, &bucket, &watcher).await;
    }
}

fn stale(entry: Entry) -> Swapped {
    Swapped::Stale(snapshot(entry))
}

fn snapshot(entry: Entry) -> Option<Snapshot> {
    let version = Bytes::copy_from_slice(&entry.revision().to_be_bytes());
    entry.into_value().map(|value| Snapshot { version, value })
}

fn revision(version: &[u8]) -> Result<u64, CallError> {
    let bytes = version.try_into().map_err(|_| CallError::contract("that version is not one of this store"))?;
    Ok(u64::from_be_bytes(bytes))
}
