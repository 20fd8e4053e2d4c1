//! SQLite: files in the provider's data directory.
//!
//! Writers of one file take turns before they touch it, in order of arrival; readers never wait for them (WAL).
//! Everything that blocks runs on tokio's blocking threads, on connections of the link.

mod connection;
mod error;
mod migrate;
mod pool;
mod run;
mod session;
mod value;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use async_trait::async_trait;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout_at;
use trellis_interfaces::sql::{Error, Fault, Isolation, Outcome, Step};
use trellis_provider_sdk::LinkError;

use crate::config;
use crate::database::{Database, Session, Statement};
use crate::deadline::Deadline;
use crate::migration::Migration;
use crate::result::{Budget, Limits};
use crate::statement::{Access, Kind};

use self::pool::Pool;

/// The files that links of this provider have open, by path.
#[derive(Debug, Default)]
pub(crate) struct Files {
    /// A lock, held for a few instructions, because links come and go on any thread.
    open: Mutex<HashMap<PathBuf, Weak<File>>>,
}

/// A file. All of its links in this process share it.
#[derive(Debug)]
pub(crate) struct File {
    path: PathBuf,
    writing: Arc<Semaphore>,
}

/// The permission to write to a file.
pub(crate) type Turn = OwnedSemaphorePermit;

impl Files {
    /// The file at `path`.
    pub(crate) fn get(&self, path: PathBuf) -> Arc<File> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.retain(|_, file| file.strong_count() > 0);
        if let Some(file) = open.get(&path).and_then(Weak::upgrade) {
            return file;
        }
        let file = Arc::new(File { path: path.clone(), writing: Arc::new(Semaphore::new(1)) });
        open.insert(path, Arc::downgrade(&file));
        file
    }
}

impl File {
    fn path(&self) -> &Path {
        &self.path
    }

    /// Waits for the turn to write.
    async fn turn(&self, deadline: Deadline) -> Result<Turn, Error> {
        match timeout_at(deadline.stop, Arc::clone(&self.writing).acquire_owned()).await {
            Ok(turn) => turn.map_err(|_| Error::Unavailable("the file is closed".to_owned())),
            Err(_) => Err(Error::Conflict(Fault {
                message: "other transactions were writing all the time".to_owned(),
                code: Some("40001".to_owned()),
                step: None,
            })),
        }
    }
}

/// How a link uses its file.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Settings {
    /// What its actor may do.
    pub(crate) access: Access,
    /// When changes are on the disk.
    pub(crate) fsync: config::Fsync,
    /// Limits of results.
    pub(crate) limits: Limits,
    /// Connections at once.
    pub(crate) connections: usize,
}

/// The database of one link.
pub(crate) struct Sqlite {
    file: Arc<File>,
    settings: Settings,
    pool: Arc<Pool>,
}

impl Sqlite {
    /// Opens `file`, making it if it is not there, and runs `migrations` that were not run yet.
    ///
    /// # Errors
    /// When the file cannot be opened, or a migration is refused.
    pub(crate) async fn open(
        file: Arc<File>,
        settings: Settings,
        migrations: Vec<Migration>,
        deadline: Deadline,
    ) -> Result<Self, LinkError> {
        let unavailable = |error: &dyn std::fmt::Display| {
            LinkError::Unavailable(format!("database {}: {error}", file.path().display()))
        };
        let turn = file.turn(deadline).await.map_err(|error| unavailable(&error))?;
        let path = file.path().to_owned();
        let migrate = move || {
            let _turn = turn;
            migrate::migrate(&path, settings.fsync, migrations, deadline)
        };
        tokio::task::spawn_blocking(migrate).await.map_err(|error| unavailable(&error))??;
        let pool = Arc::new(Pool::new(file.path().to_owned(), settings));
        let database = Self { file, settings, pool };
        // What is wrong with the file shows now rather than with the first call.
        let probe = database.pool.work(deadline, run::probe).await;
        probe.map_err(|error| LinkError::Unavailable(error.to_string()))?;
        Ok(database)
    }

    async fn turn(&self, kind: Kind, deadline: Deadline) -> Result<Option<Turn>, Error> {
        if kind == Kind::Read || self.settings.access == Access::Read {
            return Ok(None);
        }
        self.file.turn(deadline).await.map(Some)
    }
}

#[async_trait]
impl Database for Sqlite {
    async fn run(&self, statement: Statement, deadline: Deadline) -> Result<Outcome, Error> {
        let turn = self.turn(statement.kind, deadline).await?;
        let mut budget = Budget::new(self.settings.limits);
        let job = move |connection: &rusqlite::Connection| match turn {
            Some(turn) => run::in_transaction(connection, turn, || run::statement(connection, &statement, &mut budget)),
            None => run::statement(connection, &statement, &mut budget),
        };
        self.pool.work(deadline, job).await
    }

    async fn transaction(&self, steps: &[Step], _: Isolation, deadline: Deadline) -> Result<Vec<Outcome>, Error> {
        let turn = self.turn(Kind::Write, deadline).await?;
        let (mut budget, steps) = (Budget::new(self.settings.limits), steps.to_vec());
        let job = move |connection: &rusqlite::Connection| {
            run::in_transaction(connection, turn, || run::steps(connection, &steps, &mut budget))
        };
        self.pool.work(deadline, job).await
    }

    async fn begin(&self, _: Isolation, deadline: Deadline) -> Result<Box<dyn Session>, Error> {
        let turn = self.turn(Kind::Write, deadline).await?;
        session::begin(&self.pool, turn, self.settings.limits, deadline).await
    }
}
