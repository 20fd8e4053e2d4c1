//! The one thread that writes. It takes all changes that wait, applies them in one transaction, and answers when that
//! is committed: many senders share one sync of the disk.

use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use redb::{Database, Durability, ReadableTable as _, Table, WriteTransaction};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tracing::error;
use trellis_interfaces::messaging::BrokerMessage;

use super::file::{File, MESSAGES, NEXT, QUEUES};
use super::queue::{Place, Queue};
use crate::subject::Pattern;

/// Changes that wait at once; more callers wait to hand theirs over.
const WAITING: usize = 1_024;

/// The most that one transaction takes.
const MAX_BATCH: usize = 512;
const MAX_BATCH_BYTES: usize = 16 << 20;

/// How long the removal of a handled message may be off the disk: a crash within makes it be handled again.
const SYNC_WITHIN: Duration = Duration::from_millis(500);

/// A change of the file.
pub(super) enum Change {
    /// Writes a message, encoded, to each of these queues.
    Put(Vec<Arc<Queue>>, Vec<u8>),
    /// Removes a message.
    Done(Place),
    /// Makes a queue, unless it is there.
    Add { group: String, pattern: Pattern },
    /// Removes a queue with all that is in it.
    Remove(Arc<Queue>),
}

impl Change {
    pub(super) fn put(queues: Vec<Arc<Queue>>, message: &BrokerMessage) -> Self {
        Self::Put(queues, rmp_serde::to_vec(message).expect("text and bytes have a wire form"))
    }

    fn bytes(&self) -> usize {
        match self {
            Self::Put(queues, record) => queues.len() * record.len(),
            _ => 0,
        }
    }

    fn is_urgent(&self) -> bool {
        !matches!(self, Self::Done(_))
    }
}

struct Job {
    change: Change,
    reply: oneshot::Sender<Result<(), String>>,
    _slot: OwnedSemaphorePermit,
}

/// The end that changes are handed to.
pub(super) struct Writer {
    /// Taken when it is closed. A lock because any task may write; held for a send that never blocks.
    jobs: Mutex<Option<SyncSender<Job>>>,
    slots: Arc<Semaphore>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Writer {
    /// Starts the thread.
    pub(super) fn start(file: Arc<File>) -> std::io::Result<Self> {
        let (jobs, receiver) = sync_channel(WAITING);
        let run = move || Loop { file, sync_at: None }.run(&receiver);
        let thread = std::thread::Builder::new().name("messaging-writer".to_owned()).spawn(run)?;
        let (jobs, thread) = (Mutex::new(Some(jobs)), Mutex::new(Some(thread)));
        Ok(Self { jobs, slots: Arc::new(Semaphore::new(WAITING)), thread })
    }

    /// Hands a change over and waits until it is committed. When the future is dropped, it may still happen.
    pub(super) async fn write(&self, change: Change) -> Result<(), String> {
        let closing = || "the queue is closing".to_owned();
        let slot = self.slots.clone().acquire_owned().await.map_err(|_| closing())?;
        let (reply, outcome) = oneshot::channel();
        let jobs = self.jobs.lock().unwrap_or_else(PoisonError::into_inner).clone().ok_or_else(closing)?;
        // A job holds a slot until it is answered, so that there is room.
        jobs.try_send(Job { change, reply, _slot: slot }).map_err(|_| closing())?;
        drop(jobs);
        outcome.await.unwrap_or_else(|_| Err(closing()))
    }

    /// Whether nothing will be written any more.
    pub(super) fn is_closed(&self) -> bool {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner).is_none()
    }

    /// Writes what waits, syncs, and gives the file back. Blocks.
    pub(super) fn close(&self) {
        drop(self.jobs.lock().unwrap_or_else(PoisonError::into_inner).take());
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            // A panic there was answered to every caller already: their replies are gone.
            let _ = thread.join();
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.close();
    }
}

struct Loop {
    file: Arc<File>,
    /// When what is committed and not on the disk has to be there.
    sync_at: Option<Instant>,
}

impl Loop {
    fn run(mut self, jobs: &Receiver<Job>) {
        loop {
            match self.next(jobs) {
                Ok(first) => self.write(gather(first, jobs)),
                Err(RecvTimeoutError::Timeout) => self.write(Vec::new()),
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        if self.sync_at.is_some() {
            self.write(Vec::new());
        }
        self.file.close();
    }

    fn next(&self, jobs: &Receiver<Job>) -> Result<Job, RecvTimeoutError> {
        match self.sync_at {
            Some(at) => jobs.recv_timeout(at.saturating_duration_since(Instant::now())),
            None => jobs.recv().map_err(|_| RecvTimeoutError::Disconnected),
        }
    }

    /// Nothing to write means that what was written is to be synced.
    fn write(&mut self, batch: Vec<Job>) {
        let now = Instant::now();
        let is_urgent = batch.is_empty()
            || batch.iter().any(|job| job.change.is_urgent())
            || self.sync_at.is_some_and(|at| at <= now);
        self.sync_at = if is_urgent { None } else { Some(self.sync_at.unwrap_or(now + SYNC_WITHIN)) };
        let durability = if is_urgent { Durability::Immediate } else { Durability::None };
        let written = self.file.database().and_then(|database| {
            commit(&database, &batch, durability).map_err(|failure| {
                drop(database);
                error!("queue was not written: {failure}");
                self.file.reopen();
                format!("nothing was written: {failure}")
            })
        });
        match written {
            Ok(effects) => {
                effects.into_iter().for_each(|effect| effect.show(&self.file));
                batch.into_iter().for_each(|job| drop(job.reply.send(Ok(()))));
            }
            Err(error) => batch.into_iter().for_each(|job| drop(job.reply.send(Err(error.clone())))),
        }
    }
}

fn gather(first: Job, jobs: &Receiver<Job>) -> Vec<Job> {
    let mut bytes = first.change.bytes();
    let mut batch = vec![first];
    while batch.len() < MAX_BATCH && bytes < MAX_BATCH_BYTES {
        let Ok(job) = jobs.try_recv() else { break };
        bytes += job.change.bytes();
        batch.push(job);
    }
    batch
}

/// What a committed change means for the queues in memory.
enum Effect {
    Grew(Arc<Queue>, u64),
    Shrank(u64, u64),
    Added(Arc<Queue>),
    Removed(Arc<Queue>),
}

impl Effect {
    fn show(self, file: &File) {
        match self {
            Self::Grew(queue, bytes) => queue.grew(bytes),
            Self::Shrank(id, bytes) => {
                if let Some(queue) = file.by_id(id) {
                    queue.shrank(bytes);
                }
            }
            Self::Added(queue) => file.set_queues(|queues| queues.push(queue)),
            Self::Removed(gone) => {
                gone.remove();
                file.set_queues(|queues| queues.retain(|queue| queue.id != gone.id));
            }
        }
    }
}

fn commit(database: &Database, batch: &[Job], durability: Durability) -> Result<Vec<Effect>, redb::Error> {
    let mut transaction = database.begin_write()?;
    transaction.set_durability(durability)?;
    let mut tables = Tables::open(&transaction)?;
    let mut effects = Vec::new();
    batch.iter().try_for_each(|job| tables.apply(&job.change, &mut effects))?;
    drop(tables);
    transaction.commit()?;
    Ok(effects)
}

struct Tables<'txn> {
    queues: Table<'txn, (&'static str, &'static str), u64>,
    messages: Table<'txn, (u64, u64), &'static [u8]>,
    next: Table<'txn, (), u64>,
}

impl<'txn> Tables<'txn> {
    fn open(transaction: &'txn WriteTransaction) -> Result<Self, redb::Error> {
        let (queues, messages) = (transaction.open_table(QUEUES)?, transaction.open_table(MESSAGES)?);
        Ok(Self { queues, messages, next: transaction.open_table(NEXT)? })
    }

    fn apply(&mut self, change: &Change, effects: &mut Vec<Effect>) -> Result<(), redb::Error> {
        match change {
            Change::Put(queues, record) => {
                for queue in queues.iter().filter(|queue| !queue.is_removed()) {
                    let number = self.number()?;
                    self.messages.insert((queue.id, number), record.as_slice())?;
                    effects.push(Effect::Grew(queue.clone(), record.len() as u64));
                }
            }
            Change::Done(place) => {
                if let Some(removed) = self.messages.remove(*place)? {
                    effects.push(Effect::Shrank(place.0, removed.value().len() as u64));
                }
            }
            Change::Add { group, pattern } => {
                let name = (group.as_str(), pattern.as_str());
                if self.queues.get(name)?.is_none() {
                    let id = self.number()?;
                    self.queues.insert(name, id)?;
                    effects.push(Effect::Added(Arc::new(Queue::new(id, group.clone(), pattern.clone()))));
                }
            }
            Change::Remove(queue) => {
                self.queues.remove((queue.group.as_str(), queue.pattern.as_str()))?;
                self.messages.retain_in((queue.id, 0)..=(queue.id, u64::MAX), |_, _| false)?;
                effects.push(Effect::Removed(queue.clone()));
            }
        }
        Ok(())
    }

    /// The next number, which nothing had before.
    fn number(&mut self) -> Result<u64, redb::Error> {
        let number = self.next.get(())?.map_or(0, |next| next.value());
        self.next.insert((), number + 1)?;
        Ok(number)
    }
}
