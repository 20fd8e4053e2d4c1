//! The store on JetStream: one key-value bucket a lattice, on the servers of a [`NatsTransport`].

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream;
use async_nats::jetstream::context::CreateStreamErrorKind;
use async_nats::jetstream::kv::{self, Operation, UpdateErrorKind};
use async_nats::jetstream::stream::{Config, DiscardPolicy, StorageType};
use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_util::task::AbortOnDropHandle;

mod scan;

use self::scan::{Changes, Scan, follow};
use super::{Change, Expect, Key, Record, Revision, Store, Watch, check_expected, check_value};
use crate::error::{Error, ErrorKind, Result};
use crate::id::LatticeName;
use crate::subject;
use crate::transport::nats::NatsTransport;

/// How long what is there may take to come, at first, before it is read anew: when records are written while they are listed,
/// nats-server 2.9 may announce one more than it ever sends.
const STALLED: Duration = Duration::from_millis(250);

/// How long the server may take for one operation.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long a watch waits before it tries again after an interruption, and how often it looks for one.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// How often a write is tried again because a deleted record left another trace than the one just read.
const MAX_RACES: usize = 8;
/// At most so many changes wait for a watcher; more wait at the server.
const MAX_BEHIND: usize = 256;

/// A bucket of a JetStream server. Cheap to clone.
#[derive(Clone)]
pub struct JetStreamStore(Arc<Inner>);

struct Inner {
    transport: NatsTransport,
    bucket: String,
    records: kv::Store,
}

impl JetStreamStore {
    /// Opens the bucket of `lattice`, or makes it: on file storage, one value a key, one replica.
    ///
    /// # Errors
    /// `NoResponders` when the server runs without JetStream, `Disconnected` or `Timeout` when it is not there.
    pub async fn open(transport: &NatsTransport, lattice: &LatticeName) -> Result<Self> {
        let bucket = format!("TRELLIS_{lattice}");
        let records = within(transport, open_bucket(transport, &bucket)).await?;
        Ok(Self(Arc::new(Inner { transport: transport.clone(), bucket, records })))
    }
}

impl fmt::Debug for JetStreamStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("JetStreamStore").field(&self.0.bucket).finish()
    }
}

#[async_trait]
impl Store for JetStreamStore {
    async fn get(&self, key: &Key) -> Result<Option<Record>> {
        Ok(self.0.latest(key).await?.record(key))
    }

    async fn put(&self, key: &Key, value: Bytes, expect: Expect) -> Result<Revision> {
        check_value(key, &value)?;
        match expect {
            Expect::Any => {
                within(&self.0.transport, async {
                    let written = self.0.records.put(key.as_str(), value).await;
                    written.map(Revision).map_err(|error| self.0.failed(error))
                })
                .await
            }
            Expect::At(revision) => match self.0.update(key, value, revision).await? {
                Update::Done(revision) => Ok(revision),
                Update::Raced => Err(conflict(key, expect)),
            },
            Expect::Absent => self.0.create(key, value).await,
        }
    }

    async fn delete(&self, key: &Key, expect: Expect) -> Result<()> {
        let present = self.0.latest(key).await?.record(key).map(|record| record.revision);
        check_expected(key, expect, present)?;
        if present.is_none() {
            return Ok(());
        }
        let expected = match expect {
            Expect::At(revision) => Some(revision.0),
            Expect::Any | Expect::Absent => None,
        };
        within(&self.0.transport, async {
            match self.0.records.delete_expect_revision(key.as_str(), expected).await {
                Ok(()) => Ok(()),
                Err(error) if error.kind() == UpdateErrorKind::WrongLastRevision => Err(conflict(key, expect)),
                Err(error) => Err(self.0.failed(error)),
            }
        })
        .await
    }

    async fn list(&self, prefix: &str) -> Result<Vec<Record>> {
        let mut records = BTreeMap::new();
        let mut scan = Scan::begin(&self.0, prefix, STALLED).await?;
        loop {
            // Each message is awaited with a deadline of its own: a list may be long.
            match within(&self.0.transport, scan.next()).await? {
                Some(Change::Put(record)) => drop(records.insert(record.key.clone(), record)),
                Some(Change::Delete(key)) => drop(records.remove(&key)),
                Some(Change::Ready) => return Ok(records.into_values().collect()),
                None if scan.patience() < PATIENCE => {
                    records.clear();
                    scan = Scan::begin(&self.0, prefix, scan.longer()).await?;
                }
                Some(Change::Restart) | None => return Err(self.0.interrupted()),
            }
        }
    }

    async fn watch(&self, prefix: &str) -> Result<Watch> {
        let scan = Scan::begin(&self.0, prefix, STALLED).await?;
        let (tx, changes) = mpsc::channel(MAX_BEHIND);
        let task = tokio::spawn(follow(self.0.clone(), prefix.to_owned(), scan, tx));
        Ok(Watch::new(Changes { changes, _task: AbortOnDropHandle::new(task) }))
    }
}

/// What JetStream knows of a key.
enum Latest {
    Nothing,
    /// It was deleted, which has a revision too.
    Deleted(u64),
    Put(u64, Bytes),
}

impl Latest {
    fn record(self, key: &Key) -> Option<Record> {
        match self {
            Self::Put(revision, value) => Some(Record { key: key.clone(), value, revision: Revision(revision) }),
            Self::Nothing | Self::Deleted(_) => None,
        }
    }
}

enum Update {
    Done(Revision),
    /// Another revision was there.
    Raced,
}

impl Inner {
    async fn latest(&self, key: &Key) -> Result<Latest> {
        within(&self.transport, async {
            let entry = self.records.entry(key.as_str()).await.map_err(|error| self.failed(error))?;
            Ok(match entry {
                None => Latest::Nothing,
                Some(entry) if entry.operation == Operation::Put => Latest::Put(entry.revision, entry.value),
                Some(entry) => Latest::Deleted(entry.revision),
            })
        })
        .await
    }

    async fn update(&self, key: &Key, value: Bytes, at: Revision) -> Result<Update> {
        within(&self.transport, async {
            match self.records.update(key.as_str(), value, at.0).await {
                Ok(revision) => Ok(Update::Done(Revision(revision))),
                Err(error) if error.kind() == UpdateErrorKind::WrongLastRevision => Ok(Update::Raced),
                Err(error) => Err(self.failed(error)),
            }
        })
        .await
    }

    async fn create(&self, key: &Key, value: Bytes) -> Result<Revision> {
        // Most keys are new: that is tried first, at the price of another round for one that was deleted.
        let mut at = Revision(0);
        for _ in 0..MAX_RACES {
            if let Update::Done(revision) = self.update(key, value.clone(), at).await? {
                return Ok(revision);
            }
            at = match self.latest(key).await? {
                Latest::Nothing => Revision(0),
                Latest::Deleted(revision) => Revision(revision),
                Latest::Put(..) => break,
            };
        }
        Err(conflict(key, Expect::Absent))
    }

    fn failed(&self, error: impl std::error::Error + Send + Sync + 'static) -> Error {
        let text = format!("JetStream bucket {} at {}: {error}", self.bucket, self.transport.servers());
        Error::new(ErrorKind::Io, text).with_source(error)
    }

    fn interrupted(&self) -> Error {
        let text = format!("reading JetStream bucket {} was interrupted; try again", self.bucket);
        Error::new(ErrorKind::Disconnected, text)
    }
}

fn conflict(key: &Key, expect: Expect) -> Error {
    Error::new(ErrorKind::Conflict, format!("store key {} is not as expected ({expect:?})", key.as_str()))
}

async fn within<T>(transport: &NatsTransport, work: impl Future<Output = Result<T>>) -> Result<T> {
    timeout(PATIENCE, work).await.unwrap_or_else(|_elapsed| {
        let text = format!("JetStream at {} has not answered for {PATIENCE:?}", transport.servers());
        Err(Error::new(ErrorKind::Timeout, text))
    })
}

/// The client's own way to make a bucket fails on servers before 2.10, so the stream is made by hand.
async fn open_bucket(transport: &NatsTransport, bucket: &str) -> Result<kv::Store> {
    let context = jetstream::new(transport.client().clone());
    if let Ok(records) = context.get_key_value(bucket).await {
        return Ok(records);
    }
    let config = Config {
        name: format!("KV_{bucket}"),
        description: Some("records of a Trellis lattice".into()),
        subjects: vec![subject::bucket_records(bucket)],
        storage: StorageType::File,
        discard: DiscardPolicy::New,
        max_messages_per_subject: 1,
        allow_rollup: true,
        allow_direct: true,
        deny_delete: true,
        num_replicas: 1,
        ..Config::default()
    };
    if let Err(error) = context.create_stream(config).await {
        // Another host may have been first, which servers tell in more than one way.
        return context.get_key_value(bucket).await.map_err(|_absent| create_error(transport, error));
    }
    context.get_key_value(bucket).await.map_err(|error| {
        let text = format!("JetStream bucket {bucket} at {} cannot be opened: {error}", transport.servers());
        Error::new(ErrorKind::Io, text).with_source(error)
    })
}

fn create_error(transport: &NatsTransport, error: jetstream::context::CreateStreamError) -> Error {
    let servers = transport.servers();
    let is_disabled = match error.kind() {
        CreateStreamErrorKind::JetStreamUnavailable => true,
        CreateStreamErrorKind::JetStream(answer) => {
            [jetstream::ErrorCode::JETSTREAM_NOT_ENABLED, jetstream::ErrorCode::JETSTREAM_NOT_ENABLED_FOR_ACCOUNT]
                .contains(&answer.error_code())
        }
        _ => false,
    };
    if is_disabled {
        let text = format!("nats-server at {servers} runs without JetStream; start it with `-js`");
        return Error::new(ErrorKind::NoResponders, text).with_source(error);
    }
    let text = format!("no JetStream bucket can be made at {servers}: {error}");
    Error::new(ErrorKind::Io, text).with_source(error)
}
