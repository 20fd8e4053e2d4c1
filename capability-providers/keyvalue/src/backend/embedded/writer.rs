//! The one thread that writes. It takes all changes that wait, applies them in one transaction, and answers when that
//! is committed as durably as the most careful of them asks.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use redb::{Database, Durability};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, broadcast, oneshot};
use tracing::{error, info};
use trellis_interfaces::keyvalue::Error;

use super::change::{Change, Outcome, Tables};
use super::store::File;
use crate::config::Fsync;
use crate::scope::Bucket;

/// Changes that wait at once; more callers wait to hand theirs over.
const QUEUE: usize = 1_024;

/// The most that one transaction takes.
const MAX_BATCH_CHANGES: usize = 256;
const MAX_BATCH_BYTES: usize = 16 << 20;

/// When writes that nobody wants synced are synced, so that the file's free pages can be used again.
const HOUSEKEEPING: Duration = Duration::from_secs(60);

struct Job {
    change: Change,
    fsync: Fsync,
    reply: oneshot::Sender<Outcome>,
    _slot: OwnedSemaphorePermit,
}

/// The end that changes are handed to. Dropping it lets the thread finish what waits, sync, and end.
pub(crate) struct Writer {
    jobs: Option<SyncSender<Job>>,
    slots: Arc<Semaphore>,
    thread: Option<JoinHandle<()>>,
}

impl Writer {
    /// Starts the thread, which says in `touched` what it wrote.
    pub(crate) fn start(file: Arc<File>, touched: broadcast::Sender<(Bucket, String)>) -> std::io::Result<Self> {
        // A job holds a slot until it is answered, so that sending never blocks.
        let (jobs, receiver) = sync_channel(QUEUE);
        let run = move || Loop { file, touched, sync_at: None }.run(&receiver);
        let thread = std::thread::Builder::new().name("keyvalue-writer".to_owned()).spawn(run)?;
        Ok(Self { jobs: Some(jobs), slots: Arc::new(Semaphore::new(QUEUE)), thread: Some(thread) })
    }

    /// Hands a change over and waits for its outcome. When the future is dropped, the change may still happen.
    pub(crate) async fn write(&self, change: Change, fsync: Fsync) -> Outcome {
        let ended = || Error::Other("key-value store is closing".to_owned());
        let slot = self.slots.clone().acquire_owned().await.map_err(|_| ended())?;
        let (reply, outcome) = oneshot::channel();
        let jobs = self.jobs.as_ref().ok_or_else(ended)?;
        match jobs.try_send(Job { change, fsync, reply, _slot: slot }) {
            Ok(()) => outcome.await.unwrap_or_else(|_| Err(ended())),
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => Err(ended()),
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
            // A panic there was answered to every caller already: their replies are gone.
            let _ = thread.join();
        }
    }
}

struct Loop {
    file: Arc<File>,
    touched: broadcast::Sender<(Bucket, String)>,
    /// When what is committed and not on the disk has to be there.
    sync_at: Option<Instant>,
}

impl Loop {
    fn run(mut self, jobs: &Receiver<Job>) {
        loop {
            match self.next(jobs) {
                Ok(first) => self.write(gather(first, jobs)),
                Err(RecvTimeoutError::Timeout) => self.sync(),
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        if self.sync_at.is_some() {
            self.sync();
        }
    }

    fn next(&self, jobs: &Receiver<Job>) -> Result<Job, RecvTimeoutError> {
        match self.sync_at {
            Some(at) => jobs.recv_timeout(at.saturating_duration_since(Instant::now())),
            None => jobs.recv().map_err(|_| RecvTimeoutError::Disconnected),
        }
    }

    fn write(&mut self, batch: Vec<Job>) {
        let durability = self.plan(&batch);
        let outcomes = self.file.database().and_then(|database| {
            let outcomes = commit(&database, &batch, durability);
            self.committed(database, outcomes)
        });
        if matches!(durability, Durability::Immediate) && outcomes.is_ok() {
            self.sync_at = None;
        }
        match outcomes {
            Ok(outcomes) => batch.into_iter().zip(outcomes).for_each(|(job, outcome)| {
                self.tell(&job.change, &outcome);
                drop(job.reply.send(outcome));
            }),
            Err(error) => batch.into_iter().for_each(|job| drop(job.reply.send(Err(error.clone())))),
        }
    }

    fn tell(&self, change: &Change, outcome: &Outcome) {
        if self.touched.receiver_count() == 0 || outcome.as_ref().map_or(true, |made| *made == 0 && change.is_swap()) {
            return;
        }
        let (bucket, keys) = change.keys();
        // Nobody may listen any more.
        keys.into_iter().for_each(|key| drop(self.touched.send((bucket.clone(), key.to_owned()))));
    }

    /// What a batch needs now; notes what it needs later.
    fn plan(&mut self, batch: &[Job]) -> Durability {
        let now = Instant::now();
        let latest = |job: &Job| match job.fsync {
            Fsync::Always => now,
            Fsync::Interval(interval) => now + interval.min(HOUSEKEEPING),
            Fsync::Never => now + HOUSEKEEPING,
        };
        let due = batch.iter().map(latest).chain(self.sync_at).min();
        self.sync_at = due;
        if due.is_some_and(|due| due <= now) { Durability::Immediate } else { Durability::None }
    }

    fn sync(&mut self) {
        self.sync_at = None;
        let synced = self.file.database().and_then(|database| {
            let synced = commit(&database, &[], Durability::Immediate);
            self.committed(database, synced)
        });
        if synced.is_err() {
            error!("key-value writes that were to be synced later are lost");
        }
    }

    /// Readers see what was written before its writer is answered.
    fn committed<T>(&self, database: Arc<Database>, outcome: Result<T, redb::Error>) -> Result<T, Error> {
        match outcome {
            Ok(outcome) => {
                self.file.show(database);
                Ok(outcome)
            }
            Err(error) => {
                drop(database);
                Err(self.failed(&error))
            }
        }
    }

    /// After a failed write redb refuses everything until the file was opened again.
    fn failed(&self, failure: &redb::Error) -> Error {
        error!("key-value write failed: {failure}");
        match self.file.reopen() {
            Ok(()) => info!("key-value store is open again"),
            Err(error) => error!("key-value store cannot be opened again yet: {error}"),
        }
        Error::Other(format!("key-value write failed, nothing was written: {failure}"))
    }
}

fn gather(first: Job, jobs: &Receiver<Job>) -> Vec<Job> {
    let mut bytes = first.change.bytes();
    let mut batch = vec![first];
    while batch.len() < MAX_BATCH_CHANGES && bytes < MAX_BATCH_BYTES {
        let Ok(job) = jobs.try_recv() else { break };
        bytes += job.change.bytes();
        batch.push(job);
    }
    batch
}

fn commit(database: &Database, batch: &[Job], durability: Durability) -> Result<Vec<Outcome>, redb::Error> {
    let mut transaction = database.begin_write()?;
    transaction.set_durability(durability)?;
    let mut tables = Tables::open(&transaction)?;
    let outcomes = batch.iter().map(|job| tables.apply(&job.change)).collect::<Result<_, _>>()?;
    drop(tables);
    transaction.commit()?;
    Ok(outcomes)
}
