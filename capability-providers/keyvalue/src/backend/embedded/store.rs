//! The file, what is read from it, and its opening and reopening.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use bytes::Bytes;
use redb::{Database, DatabaseError, ReadOnlyTable, ReadableDatabase as _, TableError};
use tokio::sync::broadcast;
use tracing::error;
use trellis_interfaces::keyvalue::{Error, KeyResponse, Value};
use trellis_provider_sdk::{LinkError, store_file};

use super::change::{Change, DATA, ORDER, Outcome};
use super::record;
use super::writer::Writer;
use crate::config::Fsync;
use crate::scope::{self, Bucket, PAGE_BYTES, PAGE_KEYS};

/// The name of the file in the provider's directory.
const FILE_NAME: &str = "keyvalue.redb";

/// What redb may keep in memory of the file.
const CACHE_BYTES: usize = 32 << 20;

/// How long readers may take to let a broken file go.
const READERS_LIMIT: Duration = Duration::from_secs(5);

type Opener = Box<dyn Fn() -> Result<Database, DatabaseError> + Send + Sync>;

/// The file, as it is read after the last commit. Reading is most of what a store does: to begin a transaction and to
/// find its table for each value would cost more than to find the value.
struct Opened {
    /// `None` while nothing was ever written.
    data: Option<ReadOnlyTable<&'static [u8], &'static [u8]>>,
    database: Arc<Database>,
}

impl Opened {
    fn of(database: Arc<Database>) -> Result<Self, Error> {
        let data = absent(database.begin_read().map_err(failed)?.open_table(DATA))?;
        Ok(Self { data, database })
    }
}

/// The open file. It is swapped with each commit, and when it has to be opened again.
pub(crate) struct File {
    open: Opener,
    opened: ArcSwapOption<Opened>,
}

impl File {
    /// Opens it. Blocks.
    pub(crate) fn open(open: Opener) -> Result<Self, DatabaseError> {
        let file = Self { open, opened: ArcSwapOption::empty() };
        file.reopen()?;
        Ok(file)
    }

    /// The file, opened again if that was not possible before.
    pub(crate) fn database(&self) -> Result<Arc<Database>, Error> {
        let database = || self.opened.load().as_ref().map(|opened| Arc::clone(&opened.database));
        if let Some(database) = database() {
            return Ok(database);
        }
        self.reopen().map_err(|error| Error::Other(format!("key-value store cannot be opened: {error}")))?;
        database().ok_or_else(|| Error::Other("key-value store is closed".to_owned()))
    }

    /// Has readers see what was committed. If that cannot be, they see nothing until the file is opened again.
    pub(crate) fn show(&self, database: Arc<Database>) {
        let opened = Opened::of(database).inspect_err(|error| error!("key-value store cannot be read: {error}"));
        self.opened.store(opened.ok().map(Arc::new));
    }

    /// Opens the file again. Only the writer calls this; readers that use the old one are waited for.
    pub(crate) fn reopen(&self) -> Result<(), DatabaseError> {
        if let Some(opened) = self.opened.swap(None) {
            let deadline = Instant::now() + READERS_LIMIT;
            let database = alone(opened, deadline).map_err(|shared| Arc::clone(&shared.database));
            let closed = database.and_then(|Opened { data, database }| {
                drop(data);
                alone(database, deadline)
            });
            if let Err(shared) = closed {
                self.show(shared);
                return Err(DatabaseError::DatabaseAlreadyOpen);
            }
        }
        self.show(Arc::new((self.open)()?));
        Ok(())
    }
}

/// The value, once nobody else has it any more; that fails after `deadline`. Blocks.
fn alone<T>(mut shared: Arc<T>, deadline: Instant) -> Result<T, Arc<T>> {
    loop {
        shared = match Arc::try_unwrap(shared) {
            Ok(value) => return Ok(value),
            Err(shared) if Instant::now() > deadline => return Err(shared),
            Err(shared) => shared,
        };
        std::thread::yield_now();
    }
}

/// How many touched keys may wait for those who watch; more are lost to them.
const TOUCHED: usize = 4_096;

/// The store: reads are made where they are called, writes by the writer.
pub(crate) struct Store {
    writer: Writer,
    file: Arc<File>,
    touched: broadcast::Sender<(Bucket, String)>,
}

impl Store {
    /// Opens the store in `directory`, which exists. Blocks.
    pub(crate) fn open(directory: &Path) -> Result<Self, LinkError> {
        let path = directory.join(FILE_NAME);
        let create = path.clone();
        let open = move || store_file::open(&create, CACHE_BYTES);
        Self::with(Box::new(open), path)
    }

    fn with(open: Opener, path: PathBuf) -> Result<Self, LinkError> {
        let file = Arc::new(File::open(open).map_err(|error| unavailable(&path, &error))?);
        let touched = broadcast::Sender::new(TOUCHED);
        let writer = Writer::start(file.clone(), touched.clone())
            .map_err(|error| LinkError::Unavailable(format!("thread of the key-value store cannot start: {error}")))?;
        Ok(Self { writer, file, touched })
    }

    /// Writes, and waits until that is as durable as asked.
    pub(crate) async fn write(&self, change: Change, fsync: Fsync) -> Outcome {
        self.writer.write(change, fsync).await
    }

    /// Keys that were written or removed, from now on, when that is done.
    pub(crate) fn touched(&self) -> broadcast::Receiver<(Bucket, String)> {
        self.touched.subscribe()
    }

    /// The value of a key.
    pub(crate) fn get(&self, bucket: &Bucket, key: &str) -> Result<Option<Value>, Error> {
        let found = self.get_many(bucket, std::iter::once(key))?;
        Ok(found.into_iter().next().flatten())
    }

    /// The values of keys, all of one moment.
    pub(crate) fn get_many<'a>(
        &self,
        bucket: &Bucket,
        keys: impl ExactSizeIterator<Item = &'a str>,
    ) -> Result<Vec<Option<Value>>, Error> {
        let opened = self.opened()?;
        let Some(data) = &opened.data else { return Ok(vec![None; keys.len()]) };
        let mut values = Vec::with_capacity(keys.len());
        let mut bytes = 0;
        for key in keys {
            let found = data.get(record::of_key(bucket, key).as_slice()).map_err(failed)?;
            bytes += found.as_ref().map_or(0, |found| record::value(found.value()).len());
            scope::check_values([bytes].into_iter())?;
            values.push(found.map(|found| Bytes::copy_from_slice(record::value(found.value()))));
        }
        Ok(values)
    }

    /// Whether a key is there.
    pub(crate) fn exists(&self, bucket: &Bucket, key: &str) -> Result<bool, Error> {
        let opened = self.opened()?;
        let Some(data) = &opened.data else { return Ok(false) };
        Ok(data.get(record::of_key(bucket, key).as_slice()).map_err(failed)?.is_some())
    }

    /// The keys after `cursor`, in the order in which they were first written.
    pub(crate) fn list(&self, bucket: &Bucket, cursor: Option<u64>) -> Result<KeyResponse, Error> {
        let none = KeyResponse { keys: Vec::new(), cursor: None };
        let start = match cursor.map(|cursor| cursor.checked_add(1)) {
            None => 0,
            Some(Some(next)) => next,
            Some(None) => return Ok(none),
        };
        let opened = self.opened()?;
        let read = opened.database.begin_read().map_err(failed)?;
        let Some(order) = absent(read.open_table(ORDER))? else { return Ok(none) };
        let (first, last) = (record::of_place(bucket, start), record::of_place(bucket, u64::MAX));
        let mut page = none;
        let mut bytes = 0;
        let mut place = 0;
        for entry in order.range(first.as_slice()..=last.as_slice()).map_err(failed)? {
            if page.keys.len() == PAGE_KEYS || bytes >= PAGE_BYTES {
                page.cursor = Some(place);
                break;
            }
            let (name, key) = entry.map_err(failed)?;
            place = name.value().last_chunk().map_or(0, |place| u64::from_be_bytes(*place));
            bytes += key.value().len();
            page.keys.push(key.value().to_owned());
        }
        Ok(page)
    }

    fn opened(&self) -> Result<Arc<Opened>, Error> {
        let opened = self.file.opened.load_full();
        opened.ok_or_else(|| Error::Other("key-value store is being reopened".to_owned()))
    }
}

/// A table that nothing was written to yet is not there.
fn absent<T>(table: Result<T, TableError>) -> Result<Option<T>, Error> {
    match table {
        Ok(table) => Ok(Some(table)),
        Err(TableError::TableDoesNotExist(_)) => Ok(None),
        Err(error) => Err(failed(error)),
    }
}

fn failed(error: impl Into<redb::Error>) -> Error {
    Error::Other(format!("key-value store failed: {}", error.into()))
}

fn unavailable(path: &Path, error: &DatabaseError) -> LinkError {
    let path = path.display();
    match error {
        DatabaseError::DatabaseAlreadyOpen => LinkError::Held(format!(
            "key-value store {path} is locked by another process: stop that, or give this host another data directory"
        )),
        DatabaseError::UpgradeRequired(version) => LinkError::Unavailable(format!(
            "key-value store {path} has the old format {version}: move it away, or upgrade it"
        )),
        error => LinkError::Unavailable(format!("key-value store {path} cannot be opened: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::{FILE_NAME, Store};
    use crate::backend::embedded::change::Change;
    use crate::config::Fsync;
    use crate::scope::Bucket;
    use redb::backends::FileBackend;
    use redb::{Database, StorageBackend};
    use std::fs::OpenOptions;
    use std::io;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    #[derive(Debug)]
    struct Disk {
        file: FileBackend,
        full: Arc<AtomicBool>,
    }

    impl Disk {
        fn check(&self) -> Result<(), io::Error> {
            match self.full.load(Ordering::SeqCst) {
                true => Err(io::ErrorKind::StorageFull.into()),
                false => Ok(()),
            }
        }
    }

    impl StorageBackend for Disk {
        fn len(&self) -> Result<u64, io::Error> {
            self.file.len()
        }
        fn read(&self, offset: u64, out: &mut [u8]) -> Result<(), io::Error> {
            self.file.read(offset, out)
        }
        fn set_len(&self, len: u64) -> Result<(), io::Error> {
            self.check()?;
            self.file.set_len(len)
        }
        fn sync_data(&self) -> Result<(), io::Error> {
            self.check()?;
            self.file.sync_data()
        }
        fn write(&self, offset: u64, data: &[u8]) -> Result<(), io::Error> {
            self.check()?;
            self.file.write(offset, data)
        }
    }

    #[tokio::test]
    async fn a_full_disk_fails_writes_and_the_store_recovers_when_there_is_room() {
        let data = tempfile::tempdir().expect("a directory");
        let (path, full) = (data.path().join(FILE_NAME), Arc::new(AtomicBool::new(false)));
        let (file, disk_full) = (path.clone(), full.clone());
        let open = move || {
            let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&file)?;
            Database::builder().create_with_backend(Disk { file: FileBackend::new(file)?, full: disk_full.clone() })
        };
        let store = Store::with(Box::new(open), path).expect("opens");
        let bucket = Bucket { prefix: String::new(), name: "b".to_owned() };
        let set = |value: &'static str| Change::Set(bucket.clone(), vec![("k".to_owned(), value.into())]);
        store.write(set("before"), Fsync::Always).await.expect("there is room");
        full.store(true, Ordering::SeqCst);
        for _ in 0..2 {
            store.write(set("lost"), Fsync::Always).await.expect_err("the disk is full");
        }
        full.store(false, Ordering::SeqCst);
        store.write(set("after"), Fsync::Always).await.expect("there is room again");
        assert_eq!(store.get(&bucket, "k"), Ok(Some("after".into())));
    }
}
