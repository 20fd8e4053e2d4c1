//! The transactions of one link that stay open between calls: each is owned by a task of its own, which ends it when
//! nobody calls for too long.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout_at};
use trellis_interfaces::sql::{Error, Outcome};
use uuid::Uuid;

use crate::database::{Session, Statement};
use crate::deadline::{Deadline, over};

/// How long the database may take to undo what nobody waits for.
const ROLLBACK: Duration = Duration::from_secs(2);

enum Command {
    Run(Statement),
    Commit,
    Rollback,
}

struct Request {
    command: Command,
    deadline: Deadline,
    reply: oneshot::Sender<Result<Outcome, Error>>,
}

/// By name. A lock, because tasks leave the table by themselves; it is held for a few instructions.
type Table = Arc<Mutex<HashMap<String, mpsc::Sender<Request>>>>;

/// The open transactions of a link. Dropping it undoes them.
pub(crate) struct Open {
    table: Table,
    slots: Arc<Semaphore>,
    most: usize,
    idle: Duration,
    /// A lock for the same reason.
    tasks: Mutex<JoinSet<()>>,
}

impl Open {
    /// At most `most` at once, each idle for at most `idle`.
    pub(crate) fn new(most: usize, idle: Duration) -> Self {
        let slots = Arc::new(Semaphore::new(most));
        Self { table: Table::default(), slots, most, idle, tasks: Mutex::default() }
    }

    /// A place for one more.
    ///
    /// # Errors
    /// `Limit` when there is none.
    pub(crate) fn reserve(&self) -> Result<OwnedSemaphorePermit, Error> {
        Arc::clone(&self.slots).try_acquire_owned().map_err(|_| {
            Error::Limit(format!(
                "{} transactions are open already, as many as `max-transactions` of the link",
                self.most
            ))
        })
    }

    /// Keeps `session` open; its name.
    pub(crate) fn keep(&self, session: Box<dyn Session>, slot: OwnedSemaphorePermit) -> String {
        // Random, so that nobody guesses the name of another's.
        let name = Uuid::new_v4().to_string();
        let (sender, requests) = mpsc::channel(1);
        self.table.lock().unwrap_or_else(PoisonError::into_inner).insert(name.clone(), sender);
        let entry = Entry { table: Arc::clone(&self.table), name: name.clone(), _slot: slot };
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        while tasks.try_join_next().is_some() {}
        tasks.spawn(own(session, requests, self.idle, entry));
        name
    }

    /// Runs a statement in the transaction `name`.
    pub(crate) async fn run(&self, name: &str, statement: Statement, deadline: Deadline) -> Result<Outcome, Error> {
        self.ask(name, Command::Run(statement), deadline).await
    }

    /// Commits the transaction `name`.
    pub(crate) async fn commit(&self, name: &str, deadline: Deadline) -> Result<(), Error> {
        self.ask(name, Command::Commit, deadline).await.map(drop)
    }

    /// Undoes the transaction `name`.
    pub(crate) async fn rollback(&self, name: &str, deadline: Deadline) -> Result<(), Error> {
        self.ask(name, Command::Rollback, deadline).await.map(drop)
    }

    async fn ask(&self, name: &str, command: Command, deadline: Deadline) -> Result<Outcome, Error> {
        let sender = self.table.lock().unwrap_or_else(PoisonError::into_inner).get(name).cloned();
        let sender = sender.ok_or(Error::NoTransaction)?;
        let (reply, outcome) = oneshot::channel();
        let sent = timeout_at(deadline.stop, sender.send(Request { command, deadline, reply })).await;
        sent.map_err(|_| over("another call used this transaction"))?.map_err(|_| Error::NoTransaction)?;
        outcome.await.map_err(|_| Error::NoTransaction)?
    }
}

/// Its place in the table, given back when it ends however that is.
struct Entry {
    table: Table,
    name: String,
    _slot: OwnedSemaphorePermit,
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.table.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.name);
    }
}

/// Owns a transaction until it ends. Its place is free when the caller is told.
async fn own(mut session: Box<dyn Session>, mut requests: mpsc::Receiver<Request>, idle: Duration, entry: Entry) {
    loop {
        let request = tokio::select! {
            request = requests.recv() => request,
            () = sleep_until(Instant::now() + idle) => None,
        };
        let Some(Request { command, deadline, mut reply }) = request else {
            let _ = session.rollback(Deadline::within(Instant::now(), ROLLBACK)).await;
            return;
        };
        let end = match command {
            Command::Run(statement) => {
                let outcome = tokio::select! {
                    outcome = session.run(statement, deadline) => outcome,
                    // The caller has left and may never come back; dropping the session undoes it.
                    () = reply.closed() => return,
                };
                let Err(error) = outcome else {
                    let _ = reply.send(outcome);
                    continue;
                };
                let _ = session.rollback(Deadline::within(Instant::now(), ROLLBACK)).await;
                Err(error)
            }
            Command::Commit => session.commit(deadline).await,
            Command::Rollback => session.rollback(deadline).await,
        };
        drop(entry);
        let _ = reply.send(end.map(|()| Outcome::default()));
        return;
    }
}
