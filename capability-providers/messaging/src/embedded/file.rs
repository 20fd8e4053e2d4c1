//! The file: its tables, what is read from it, and its opening and reopening.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::{ArcSwap, ArcSwapOption};
use redb::{Database, ReadableDatabase as _, ReadableTable as _, TableDefinition};
use tracing::{error, info};
use trellis_interfaces::messaging::BrokerMessage;
use trellis_provider_sdk::{LinkError, store_file};

use super::queue::Queue;
use crate::subject::Pattern;

/// Group and pattern to the number of their queue.
pub(super) const QUEUES: TableDefinition<'_, (&str, &str), u64> = TableDefinition::new("queues");

/// Number of the queue and of the message to the message.
pub(super) const MESSAGES: TableDefinition<'_, (u64, u64), &[u8]> = TableDefinition::new("messages");

/// The next number, of a queue or a message.
pub(super) const NEXT: TableDefinition<'_, (), u64> = TableDefinition::new("next");

/// The name of the file in the provider's directory.
const FILE_NAME: &str = "messaging.redb";

/// What redb may keep in memory of the file.
const CACHE_BYTES: usize = 32 << 20;

/// The file and the queues in it.
pub(super) struct File {
    path: PathBuf,
    /// Swapped when it has to be opened again.
    database: ArcSwapOption<Database>,
    /// Written by the writer only.
    queues: ArcSwap<Vec<Arc<Queue>>>,
}

impl File {
    /// Opens the file in `directory`. Blocks.
    pub(super) fn open(directory: &Path) -> Result<Self, LinkError> {
        let path = directory.join(FILE_NAME);
        let database = create(&path).map_err(|error| unavailable(&path, &error))?;
        let queues = read_queues(&database)
            .map_err(|error| LinkError::Unavailable(format!("queue {} cannot be read: {error}", path.display())))?;
        Ok(Self { path, database: ArcSwapOption::from_pointee(database), queues: ArcSwap::from_pointee(queues) })
    }

    pub(super) fn is_open(&self) -> bool {
        self.database.load().is_some()
    }

    /// The file, opened again if that was not possible before.
    pub(super) fn database(&self) -> Result<Arc<Database>, String> {
        if self.database.load().is_none() {
            let database = create(&self.path).map_err(|error| format!("the queue cannot be opened: {error}"))?;
            self.database.store(Some(Arc::new(database)));
        }
        self.database.load_full().ok_or_else(|| "the queue is closed".to_owned())
    }

    /// Opens the file again after a write failed, for redb refuses everything until then. By the writer only.
    pub(super) fn reopen(&self) {
        self.close();
        match self.database() {
            Ok(_) => info!("queue is open again"),
            Err(error) => error!("{error}"),
        }
    }

    /// Gives the file back, once those who read from it are done, which takes microseconds. By the writer only.
    pub(super) fn close(&self) {
        let Some(mut database) = self.database.swap(None) else { return };
        while let Err(shared) = Arc::try_unwrap(database).map(drop) {
            database = shared;
            std::thread::yield_now();
        }
    }

    /// The queues whose subscriptions mean `subject`.
    pub(super) fn matching(&self, subject: &str) -> Vec<Arc<Queue>> {
        self.queues.load().iter().filter(|queue| queue.pattern.matches(subject)).cloned().collect()
    }

    pub(super) fn find(&self, group: &str, pattern: &Pattern) -> Option<Arc<Queue>> {
        self.queues.load().iter().find(|queue| queue.group == group && queue.pattern == *pattern).cloned()
    }

    pub(super) fn by_id(&self, id: u64) -> Option<Arc<Queue>> {
        self.queues.load().iter().find(|queue| queue.id == id).cloned()
    }

    /// Changes which queues there are. By the writer only.
    pub(super) fn set_queues(&self, change: impl FnOnce(&mut Vec<Arc<Queue>>)) {
        let mut queues = Vec::clone(&self.queues.load());
        change(&mut queues);
        self.queues.store(Arc::new(queues));
    }

    /// The first message of a queue from number `from` on.
    pub(super) fn first(&self, queue: u64, from: u64) -> Result<Option<(u64, BrokerMessage)>, String> {
        let database = self.database.load_full().ok_or_else(|| "the queue is being opened again".to_owned())?;
        first(&database, queue, from).map_err(|error| error.to_string())
    }
}

fn first(
    database: &Database,
    queue: u64,
    from: u64,
) -> Result<Option<(u64, BrokerMessage)>, Box<dyn std::error::Error>> {
    let messages = database.begin_read()?.open_table(MESSAGES)?;
    let Some(found) = messages.range((queue, from)..=(queue, u64::MAX))?.next() else { return Ok(None) };
    let (place, record) = found?;
    Ok(Some((place.value().1, rmp_serde::from_slice(record.value())?)))
}

/// The tables are made as well, so that reading needs no case for those that are missing.
fn create(path: &Path) -> Result<Database, redb::Error> {
    let database = store_file::open(path, CACHE_BYTES)?;
    let transaction = database.begin_write()?;
    transaction.open_table(QUEUES)?;
    transaction.open_table(MESSAGES)?;
    transaction.open_table(NEXT)?;
    transaction.commit()?;
    Ok(database)
}

fn read_queues(database: &Database) -> Result<Vec<Arc<Queue>>, redb::Error> {
    let transaction = database.begin_read()?;
    let mut queues = HashMap::new();
    for entry in transaction.open_table(QUEUES)?.iter()? {
        let (name, id) = entry?;
        let ((group, pattern), id) = (name.value(), id.value());
        let Some(pattern) = Pattern::parse(pattern) else { continue };
        queues.insert(id, Arc::new(Queue::new(id, group.to_owned(), pattern)));
    }
    for entry in transaction.open_table(MESSAGES)?.iter()? {
        let (place, record) = entry?;
        if let Some(queue) = queues.get(&place.value().0) {
            queue.grew(record.value().len() as u64);
        }
    }
    Ok(queues.into_values().collect())
}

fn unavailable(path: &Path, error: &redb::Error) -> LinkError {
    let path = path.display();
    match error {
        redb::Error::DatabaseAlreadyOpen => LinkError::Held(format!(
            "queue {path} is locked by another process: stop that, or give this host another data directory"
        )),
        error => LinkError::Unavailable(format!("queue {path} cannot be opened: {error}")),
    }
}
