//! Takes, renews and releases the lease: the task that owns it.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use tokio::sync::{oneshot, watch};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::task::AbortOnDropHandle;
use tracing::{debug, info, warn};
use trellis_lattice::error::{Error, ErrorKind, Result};
use trellis_lattice::message::lease::{LEASE_KEY, Lease};
use trellis_lattice::store::{Change, Expect, Key, Revision, SharedStore, Watch};

use super::turn::{Step, Turn};
use super::{Candidate, Fence, Grant, Overtaken};

/// How long one answer of the store is waited for.
const PATIENCE: Duration = Duration::from_millis(500);

/// The owner of the lease's task. Dropping it ends the task without releasing the lease.
#[derive(Debug)]
pub struct Keeper {
    fence: Fence,
    overtaken: Overtaken,
    stop: oneshot::Sender<()>,
    task: AbortOnDropHandle<()>,
}

impl Keeper {
    /// Begins to ask for the lease in `store`.
    pub fn start(store: SharedStore, candidate: Candidate) -> Self {
        let (grant, granted) = watch::channel(None);
        let (known, overtaken) = watch::channel(0);
        let (stop, stopped) = oneshot::channel();
        let reach = Reach {
            store,
            key: Key::parse(LEASE_KEY).expect("a valid key"),
            patience: candidate.timing.renew_every.min(PATIENCE),
        };
        let task = Task { reach, turn: Turn::new(candidate, Instant::now()), grant, overtaken };
        Self {
            fence: Fence(granted),
            overtaken: Overtaken(Arc::new(known)),
            stop,
            task: AbortOnDropHandle::new(tokio::spawn(task.run(stopped))),
        }
    }

    /// Whether this wadm may act.
    pub fn fence(&self) -> Fence {
        self.fence.clone()
    }

    /// Where to say that hosts know a higher token.
    pub fn overtaken(&self) -> Overtaken {
        self.overtaken.clone()
    }

    /// Lays the lease down, if it is held, so that another wadm acts at once.
    pub async fn stop(self) {
        let Self { stop, task, .. } = self;
        // A task that is over has nothing to lay down.
        let _ = stop.send(());
        let _ = task.await;
    }
}

struct Task {
    reach: Reach,
    turn: Turn,
    grant: watch::Sender<Option<Grant>>,
    overtaken: watch::Receiver<u64>,
}

/// The record in the store.
struct Reach {
    store: SharedStore,
    key: Key,
    patience: Duration,
}

impl Task {
    async fn run(mut self, mut stopped: oneshot::Receiver<()>) {
        loop {
            let mut watch = tokio::select! {
                biased;
                _ = &mut stopped => return self.release().await,
                watch = self.reach.watch() => watch,
            };
            self.reread().await;
            tokio::select! {
                biased;
                _ = &mut stopped => return self.release().await,
                () = self.follow(&mut watch) => {}
            }
        }
    }

    /// Takes steps until the watch ends.
    async fn follow(&mut self, watch: &mut Watch) {
        loop {
            let step = self.turn.step(Instant::now());
            self.publish();
            let at = match step {
                Step::Write(lease) => {
                    self.write(lease).await;
                    continue;
                }
                Step::Wait(at) => at,
            };
            tokio::select! {
                biased;
                change = watch.next() => match change {
                    Some(change) => self.hear(change),
                    None => return,
                },
                Ok(()) = self.overtaken.changed() => {
                    let token = *self.overtaken.borrow_and_update();
                    self.turn.overtaken(token);
                }
                () = sleep_until(at) => {}
            }
        }
    }

    fn hear(&mut self, change: Change) {
        match change {
            Change::Put(record) => self.turn.saw(record.revision, Lease::decode(&record.value), Instant::now()),
            Change::Delete(_) => self.turn.saw_nothing(Instant::now()),
            Change::Ready | Change::Restart => {}
        }
    }

    async fn write(&mut self, lease: Lease) {
        let begun = Instant::now();
        let was_acting = self.turn.grant().is_some();
        match self.reach.write(&lease, self.turn.expected()).await {
            Ok(revision) => {
                if !was_acting {
                    info!(token = lease.token, "lease taken");
                }
                self.turn.wrote(revision, lease, begun);
            }
            Err(error) => {
                debug!(%error, "lease not written");
                if error.kind() == ErrorKind::Conflict {
                    self.turn.conflicted(Instant::now());
                }
                // It may have been written all the same; and a store that answers from the past is not to be hurried.
                self.reread().await;
                tokio::time::sleep(self.reach.patience / 4).await;
            }
        }
        self.publish();
    }

    async fn reread(&mut self) {
        match self.reach.read().await {
            Ok(Some((revision, lease))) => self.turn.saw(revision, lease, Instant::now()),
            Ok(None) => self.turn.saw_nothing(Instant::now()),
            Err(error) => debug!(%error, "lease not read"),
        }
    }

    /// Tells the fence, if it is news.
    fn publish(&self) {
        let now = self.turn.grant();
        self.grant.send_if_modified(|grant| {
            let is_news = *grant != now;
            if grant.is_some() && now.is_none() {
                warn!("lease lost");
            }
            *grant = now;
            is_news
        });
    }

    /// Stops acting first, then says so.
    async fn release(mut self) {
        self.grant.send_replace(None);
        let Some(lease) = self.turn.release() else { return };
        match self.reach.write(&lease, self.turn.expected()).await {
            Ok(revision) => {
                info!(token = lease.token, "lease released");
                self.turn.wrote(revision, lease, Instant::now());
            }
            Err(error) => warn!(%error, "lease not released: it runs out"),
        }
    }
}

impl Reach {
    async fn within<T>(&self, answer: impl Future<Output = Result<T>>) -> Result<T> {
        let late = |_elapsed| Err(Error::new(ErrorKind::Timeout, "the store did not answer about the lease in time"));
        timeout(self.patience, answer).await.unwrap_or_else(late)
    }

    async fn read(&self) -> Result<Option<(Revision, Option<Lease>)>> {
        let record = self.within(self.store.get(&self.key)).await?;
        Ok(record.map(|record| (record.revision, Lease::decode(&record.value))))
    }

    async fn write(&self, lease: &Lease, expected: Option<Revision>) -> Result<Revision> {
        let expect = expected.map_or(Expect::Absent, Expect::At);
        self.within(self.store.put(&self.key, lease.encode().into(), expect)).await
    }

    /// Follows the record, as soon as the store lets us.
    async fn watch(&self) -> Watch {
        loop {
            match self.within(self.store.watch(LEASE_KEY)).await {
                Ok(watch) => return watch,
                Err(error) => debug!(%error, "lease not watched"),
            }
            tokio::time::sleep(self.patience).await;
        }
    }
}
