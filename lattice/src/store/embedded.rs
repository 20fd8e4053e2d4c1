//! A store in one file, for one process: redb, each write on the disk when it returns.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use futures::FutureExt;
use redb::{Database, DatabaseError, ReadableDatabase, ReadableTable, TableDefinition};
use tokio::task::spawn_blocking;

use super::feed::{Feed, Snapshot};
use super::file;
use super::{Change, Expect, Key, Record, Revision, Store, Watch, check_expected, check_value};
use crate::error::{Error, ErrorKind, Result};

const RECORDS: TableDefinition<'_, &str, (u64, &[u8])> = TableDefinition::new("records");
/// Holds the last revision, under [`LAST`].
const REVISIONS: TableDefinition<'_, &str, u64> = TableDefinition::new("revisions");
const LAST: &str = "last";
/// Control state is small; the page cache of the system does the rest.
const CACHE_BYTES: usize = 4 * 1024 * 1024;

/// A store in a file. Cheap to clone; all clones are one store, which frees the file with its last clone.
#[derive(Clone)]
pub struct EmbeddedStore(Arc<Inner>);

struct Inner {
    path: PathBuf,
    database: Database,
    // One writer at a time, so that watchers are told in the order of the commits. Only locked on blocking threads.
    writing: Mutex<()>,
    feed: Feed,
}

impl EmbeddedStore {
    /// Opens the store at `path`, or makes it, readable by its owner only. The folder must be there.
    ///
    /// # Errors
    /// `Locked` when another process has it open, `Malformed` when the file is no store, `Io` otherwise.
    pub async fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref().to_owned();
        let inner = blocking(move || {
            let database = open_database(&path)?;
            Ok(Inner { path, database, writing: Mutex::new(()), feed: Feed::new() })
        });
        Ok(Self(Arc::new(inner.await?)))
    }

    async fn run<T: Send + 'static>(&self, work: impl FnOnce(&Inner) -> Result<T> + Send + 'static) -> Result<T> {
        let inner = self.0.clone();
        blocking(move || work(&inner)).await
    }
}

impl fmt::Debug for EmbeddedStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("EmbeddedStore").field(&self.0.path).finish()
    }
}

#[async_trait]
impl Store for EmbeddedStore {
    async fn get(&self, key: &Key) -> Result<Option<Record>> {
        let key = key.clone();
        self.run(move |inner| inner.get(&key).map_err(|error| inner.failed(error))).await
    }

    async fn put(&self, key: &Key, value: Bytes, expect: Expect) -> Result<Revision> {
        check_value(key, &value)?;
        let key = key.clone();
        self.run(move |inner| inner.write(&key, Some(value), expect)).await
    }

    async fn delete(&self, key: &Key, expect: Expect) -> Result<()> {
        let key = key.clone();
        self.run(move |inner| inner.write(&key, None, expect)).await.map(drop)
    }

    async fn list(&self, prefix: &str) -> Result<Vec<Record>> {
        let prefix = prefix.to_owned();
        self.run(move |inner| inner.snapshot(&prefix)).await.map(|snapshot| snapshot.records)
    }

    async fn watch(&self, prefix: &str) -> Result<Watch> {
        let inner = Arc::downgrade(&self.0);
        let wanted = prefix.to_owned();
        let take = move || {
            let (inner, wanted) = (inner.upgrade(), wanted.clone());
            async move {
                let inner = inner?;
                Some(blocking(move || inner.snapshot(&wanted)).await)
            }
            .boxed()
        };
        self.0.feed.watch(prefix.to_owned(), Box::new(take)).await
    }
}

impl Inner {
    fn get(&self, key: &Key) -> Result<Option<Record>, redb::Error> {
        let records = self.database.begin_read()?.open_table(RECORDS)?;
        let found = records.get(key.as_str())?;
        Ok(found.map(|found| {
            let (revision, value) = found.value();
            Record { key: key.clone(), value: Bytes::copy_from_slice(value), revision: Revision(revision) }
        }))
    }

    /// Puts `value`, or deletes.
    fn write(&self, key: &Key, value: Option<Bytes>, expect: Expect) -> Result<Revision> {
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let present = self.get(key).map_err(|error| self.failed(error))?.map(|record| record.revision);
        check_expected(key, expect, present)?;
        if value.is_none() && present.is_none() {
            return Ok(Revision(0));
        }
        let revision = self.commit(key, value.as_deref()).map_err(|error| self.failed(error))?;
        let change = match value {
            Some(value) => Change::Put(Record { key: key.clone(), value, revision }),
            None => Change::Delete(key.clone()),
        };
        self.feed.tell(revision, change);
        Ok(revision)
    }

    fn commit(&self, key: &Key, value: Option<&[u8]>) -> Result<Revision, redb::Error> {
        // Durable when it returns: that is redb's default, `Durability::Immediate`.
        let transaction = self.database.begin_write()?;
        let revision;
        {
            let mut revisions = transaction.open_table(REVISIONS)?;
            revision = revisions.get(LAST)?.map_or(0, |last| last.value()) + 1;
            revisions.insert(LAST, revision)?;
            let mut records = transaction.open_table(RECORDS)?;
            match value {
                Some(value) => drop(records.insert(key.as_str(), (revision, value))?),
                None => drop(records.remove(key.as_str())?),
            }
        }
        transaction.commit()?;
        Ok(Revision(revision))
    }

    fn snapshot(&self, prefix: &str) -> Result<Snapshot> {
        self.read_all(prefix).map_err(|error| self.failed(error))
    }

    fn read_all(&self, prefix: &str) -> Result<Snapshot, redb::Error> {
        let transaction = self.database.begin_read()?;
        let revision = transaction.open_table(REVISIONS)?.get(LAST)?.map_or(0, |last| last.value());
        let mut records = Vec::new();
        for entry in transaction.open_table(RECORDS)?.range(prefix..)? {
            let (key, value) = entry?;
            if !key.value().starts_with(prefix) {
                break;
            }
            let (revision, value) = value.value();
            let value = Bytes::copy_from_slice(value);
            let Ok(key) = Key::parse(key.value()) else { continue };
            records.push(Record { key, value, revision: Revision(revision) });
        }
        Ok(Snapshot { revision: Revision(revision), records })
    }

    fn failed(&self, error: redb::Error) -> Error {
        Error::new(ErrorKind::Io, format!("store file {}: {error}", self.path.display())).with_source(error)
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    let done = spawn_blocking(work).await;
    done.unwrap_or_else(|error| Err(Error::new(ErrorKind::Io, "work on the store was cut short").with_source(error)))
}

fn open_database(path: &Path) -> Result<Database> {
    let database = file::open(path, CACHE_BYTES).map_err(|error| open_error(path, error))?;
    make_tables(&database).map_err(|error| {
        Error::new(ErrorKind::Io, format!("store file {}: {error}", path.display())).with_source(error)
    })?;
    Ok(database)
}

/// Reading a table that was never written is an error to redb.
fn make_tables(database: &Database) -> Result<(), redb::Error> {
    let transaction = database.begin_write()?;
    transaction.open_table(RECORDS)?;
    transaction.open_table(REVISIONS)?;
    transaction.commit()?;
    Ok(())
}

fn open_error(path: &Path, error: DatabaseError) -> Error {
    let shown = path.display();
    let (kind, text) = match &error {
        DatabaseError::DatabaseAlreadyOpen => {
            (ErrorKind::Locked, format!("store file {shown} is held by another process; stop it or use another folder"))
        }
        DatabaseError::UpgradeRequired(version) => {
            (ErrorKind::Malformed, format!("store file {shown} has format {version}, which this release cannot read"))
        }
        DatabaseError::Storage(redb::StorageError::Io(cause)) if cause.kind() == std::io::ErrorKind::InvalidData => {
            (ErrorKind::Malformed, format!("{shown} is not a store file; move it away or use another folder"))
        }
        DatabaseError::Storage(redb::StorageError::Corrupted(_)) => {
            (ErrorKind::Malformed, format!("store file {shown} is damaged: {error}; restore it from a backup"))
        }
        _ => (ErrorKind::Io, format!("store file {shown} cannot be opened: {error}")),
    };
    Error::new(kind, text).with_source(error)
}
