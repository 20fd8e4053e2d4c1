//! The connections of a link, and work on blocking threads that ends when nobody waits for it.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use rusqlite::Connection;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout_at;
use trellis_interfaces::sql::Error;

use super::{Settings, connection, error};
use crate::deadline::{Deadline, over};

/// Steps of SQLite's machine between two looks at the clock: some tens of microseconds.
const STEPS: std::ffi::c_int = 2_000;

/// Connections that are open and not in use, and the places for those that are.
pub(super) struct Pool {
    path: PathBuf,
    settings: Settings,
    slots: Arc<Semaphore>,
    /// A lock, held for a few instructions: connections come back from any thread.
    idle: Mutex<Vec<Connection>>,
}

/// A connection in use.
pub(super) struct Lease {
    pub(super) connection: Connection,
    pool: Arc<Pool>,
    _slot: OwnedSemaphorePermit,
}

impl Pool {
    pub(super) fn new(path: PathBuf, settings: Settings) -> Self {
        let slots = Arc::new(Semaphore::new(settings.connections));
        Self { path, settings, slots, idle: Mutex::default() }
    }

    /// Runs `job` on a connection, on a blocking thread.
    pub(super) async fn work<T: Send + 'static>(
        self: &Arc<Self>,
        deadline: Deadline,
        job: impl FnOnce(&Connection) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let slot = self.slot(deadline).await?;
        let pool = Arc::clone(self);
        blocking(deadline, move |leave| {
            let mut lease = pool.lease(slot)?;
            lease.arm(deadline, leave)?;
            let result = job(&lease.connection);
            lease.give_back();
            result
        })
        .await
    }

    /// A place for a connection.
    pub(super) async fn slot(&self, deadline: Deadline) -> Result<OwnedSemaphorePermit, Error> {
        let slot = timeout_at(deadline.stop, Arc::clone(&self.slots).acquire_owned()).await;
        let slot = slot.map_err(|_| over("all connections of the link (`max-connections`) were in use"))?;
        slot.map_err(|_| Error::Unavailable("the link is going down".to_owned()))
    }

    /// A connection; opens one if none is idle, which blocks.
    pub(super) fn lease(self: &Arc<Self>, slot: OwnedSemaphorePermit) -> Result<Lease, Error> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let connection = match idle {
            Some(connection) => connection,
            None => connection::open_for(&self.path, self.settings).map_err(error::of)?,
        };
        Ok(Lease { connection, pool: Arc::clone(self), _slot: slot })
    }
}

impl Lease {
    /// From now on statements are broken off by `deadline`, or when `leave` becomes true.
    pub(super) fn arm(&mut self, deadline: Deadline, leave: Arc<AtomicBool>) -> Result<(), Error> {
        let stop = deadline.stop.into_std();
        let is_over = move || leave.load(Ordering::Relaxed) || Instant::now() >= stop;
        self.connection.busy_timeout(deadline.remaining()).map_err(error::of)?;
        self.connection.progress_handler(STEPS, Some(is_over)).map_err(error::of)
    }

    /// Gives the connection back, unless a transaction was left open on it.
    pub(super) fn give_back(self) {
        if self.connection.is_autocommit() {
            self.pool.idle.lock().unwrap_or_else(PoisonError::into_inner).push(self.connection);
        }
    }
}

/// Runs `work` on a blocking thread. When this future is dropped, the flag that `work` is given becomes true.
pub(super) async fn blocking<T: Send + 'static>(
    deadline: Deadline,
    work: impl FnOnce(Arc<AtomicBool>) -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    let leave = Leave(Arc::default());
    let flag = Arc::clone(&leave.0);
    let handle = tokio::task::spawn_blocking(move || work(flag));
    match timeout_at(deadline.answer, handle).await {
        Ok(Ok(result)) => result,
        Ok(Err(_panic)) => Err(Error::Unavailable("the database failed inside".to_owned())),
        // The disk is slow: what is being committed now cannot be called back.
        Err(_) => Err(Error::UnknownOutcome("the disk did not answer in time".to_owned())),
    }
}

/// Tells the blocking thread that nobody waits any more.
struct Leave(Arc<AtomicBool>);

impl Drop for Leave {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
