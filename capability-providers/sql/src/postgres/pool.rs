//! The connections of a link. One whose work was left in the middle is never used again: the server is told to stop,
//! and the connection is closed.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{timeout, timeout_at};
use tokio_postgres::{CancelToken, Config};
use tokio_util::task::TaskTracker;
use trellis_interfaces::sql::Error;

use super::Settings;
use super::connection::Connection;
use super::tls::Connector;
use super::{error, run::Phase};
use crate::deadline::{Deadline, over};

/// How long the server may take to be told to stop.
const CANCEL: Duration = Duration::from_secs(2);

/// Connections that are open and not in use, and the places for those that are.
pub(super) struct Pool {
    server: Config,
    connector: Connector,
    settings: Settings,
    slots: Arc<Semaphore>,
    /// A lock, held for a few instructions: connections come back when their users are dropped.
    idle: Mutex<Vec<Connection>>,
    /// Connections that are being ended.
    ending: TaskTracker,
}

/// A connection in use. Dropping it ends it; [`Lease::give_back`] keeps it.
pub(super) struct Lease {
    /// There until it is given back.
    held: Option<(Connection, OwnedSemaphorePermit)>,
    pool: Arc<Pool>,
}

/// Breaks off what the server does for a connection.
pub(super) struct Canceller {
    token: CancelToken,
    connector: Connector,
}

impl Canceller {
    /// Asks for it; says nothing of whether it helped.
    pub(super) async fn cancel(&self) {
        let _ = self.connector.cancel(&self.token).await;
    }
}

impl Pool {
    pub(super) fn new(mut server: Config, connector: Connector, settings: Settings) -> Self {
        server.application_name("trellis");
        let slots = Arc::new(Semaphore::new(settings.connections));
        Self { server, connector, settings, slots, idle: Mutex::default(), ending: TaskTracker::new() }
    }

    /// A connection, which is made if none is idle.
    pub(super) async fn lease(self: &Arc<Self>, deadline: Deadline) -> Result<Lease, Error> {
        let slot = timeout_at(deadline.stop, Arc::clone(&self.slots).acquire_owned()).await;
        let slot = slot.map_err(|_| over("all connections of the link (`max-connections`) were in use"))?;
        let slot = slot.map_err(|_| Error::Unavailable("the link is going down".to_owned()))?;
        let connection = match self.idle() {
            Some(connection) => connection,
            None => self.connect(deadline).await?,
        };
        Ok(Lease { held: Some((connection, slot)), pool: Arc::clone(self) })
    }

    fn idle(&self) -> Option<Connection> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        std::iter::from_fn(|| idle.pop()).find(|connection| !connection.client.is_closed())
    }

    async fn connect(&self, deadline: Deadline) -> Result<Connection, Error> {
        let Settings { timeout, idle, .. } = self.settings;
        let opened = timeout_at(deadline.stop, Connection::open(&self.server, &self.connector, timeout, idle)).await;
        let opened = opened.map_err(|_| Error::Unavailable("the server did not answer in time".to_owned()))?;
        opened.map_err(|error| match error::of(&error, Phase::Harmless) {
            known @ (Error::Denied(_) | Error::Unavailable(_)) => known,
            _ => Error::Unavailable(error.to_string()),
        })
    }
}

impl Lease {
    /// The connection.
    pub(super) fn connection(&mut self) -> &mut Connection {
        let (connection, _) = self.held.as_mut().expect("it is there until the lease is given back");
        connection
    }

    /// What breaks off its work.
    pub(super) fn canceller(&mut self) -> Canceller {
        Canceller { token: self.connection().client.cancel_token(), connector: self.pool.connector.clone() }
    }

    /// Keeps the connection for others: it is in order, and in no transaction.
    pub(super) fn give_back(mut self) {
        if let Some((connection, _slot)) = self.held.take() {
            self.pool.idle.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let Some((connection, slot)) = self.held.take() else { return };
        if connection.client.is_closed() {
            return;
        }
        let canceller = Canceller { token: connection.client.cancel_token(), connector: self.pool.connector.clone() };
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            let end = async move {
                let _ = timeout(CANCEL, canceller.cancel()).await;
                drop((connection, slot));
            };
            self.pool.ending.spawn_on(end, &runtime);
        }
    }
}
