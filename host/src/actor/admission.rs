//! Who may run now: so many instances at once, a bounded queue behind them, and an end to it all.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use trellis_lattice::error::CallError;
use trellis_lattice::id::EntityId;

use crate::runtime::Limits;

/// When a caller that found the queue full should come again.
const RETRY_AFTER: Duration = Duration::from_millis(200);

/// How often one that was replaced is looked at.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// The room that an actor has.
#[derive(Debug)]
pub(super) struct Room {
    actor: EntityId,
    max_queue: u32,
    /// One permit for each instance that may start now.
    free: Arc<Semaphore>,
    queued: AtomicU32,
    running: AtomicU32,
    /// Permits that are to vanish when they come back, because the maximum was lowered.
    owed: AtomicU32,
    /// Locked while the maximum changes, never across an await.
    max_instances: Mutex<u32>,
    closed: AtomicBool,
    idle: Notify,
    ended: CancellationToken,
}

/// The right to run one instance. Held until the call is over, the body of its answer included.
#[derive(Debug)]
pub(crate) struct Permit {
    permit: Option<OwnedSemaphorePermit>,
    room: Arc<Room>,
}

impl Room {
    pub(super) fn new(actor: EntityId, limits: &Limits) -> Arc<Self> {
        Arc::new(Self {
            actor,
            max_queue: limits.max_queue,
            free: Arc::new(Semaphore::new(permits(limits.max_instances))),
            queued: AtomicU32::new(0),
            running: AtomicU32::new(0),
            owed: AtomicU32::new(0),
            max_instances: Mutex::new(limits.max_instances),
            closed: AtomicBool::new(false),
            idle: Notify::new(),
            ended: CancellationToken::new(),
        })
    }

    /// Enters if there is room now.
    ///
    /// # Errors
    /// `NoTarget` when it is closed.
    pub(super) fn try_enter(self: &Arc<Self>) -> Option<Result<Permit, CallError>> {
        let permit = Arc::clone(&self.free).try_acquire_owned().ok()?;
        Some(self.admit(permit))
    }

    /// Waits for room, at most until `deadline`, if the queue is not full.
    ///
    /// # Errors
    /// `NoTarget` when it is closed, `Overloaded` when the queue is full, `Deadline`.
    pub(super) async fn enter(self: &Arc<Self>, deadline: Instant) -> Result<Permit, CallError> {
        if let Some(permit) = self.try_enter() {
            return permit;
        }
        if self.closed.load(Ordering::Acquire) {
            return Err(self.stopped());
        }
        let _place = self.queue()?;
        match tokio::time::timeout_at(deadline, Arc::clone(&self.free).acquire_owned()).await {
            Ok(Ok(permit)) => self.admit(permit),
            Ok(Err(_)) => Err(self.stopped()),
            Err(_) => {
                Err(CallError::deadline(format!("{} was busy until the deadline; raise its max_instances", self.actor)))
            }
        }
    }

    fn admit(self: &Arc<Self>, permit: OwnedSemaphorePermit) -> Result<Permit, CallError> {
        self.running.fetch_add(1, Ordering::AcqRel);
        let permit = Permit { permit: Some(permit), room: Arc::clone(self) };
        // Checked after it counts as running, so that `drain` cannot miss it.
        if self.closed.load(Ordering::Acquire) { Err(self.stopped()) } else { Ok(permit) }
    }

    fn queue(&self) -> Result<Place<'_>, CallError> {
        let place = Place(&self.queued);
        if self.queued.fetch_add(1, Ordering::AcqRel) >= self.max_queue {
            let message = format!("{} is busy and {} calls wait already", self.actor, self.max_queue);
            return Err(CallError::overloaded(message, RETRY_AFTER));
        }
        Ok(place)
    }

    fn stopped(&self) -> CallError {
        CallError::no_target(format!("{} is being stopped on this host", self.actor))
    }

    /// Changes how many may run at once; those that run go on.
    pub(super) fn set_max_instances(&self, max_instances: u32) {
        let mut now = self.max_instances.lock().unwrap_or_else(PoisonError::into_inner);
        let (old, new) = (permits(*now), permits(max_instances));
        *now = max_instances;
        if new < old {
            let gone = self.free.forget_permits(old - new);
            self.owed.fetch_add(count(old - new - gone), Ordering::AcqRel);
        } else {
            let wanted = count(new - old);
            let owed =
                self.owed.fetch_update(Ordering::AcqRel, Ordering::Acquire, |owed| Some(owed.saturating_sub(wanted)));
            let forgiven = owed.unwrap_or_default().min(wanted);
            self.free.add_permits((wanted - forgiven) as usize);
        }
    }

    /// Takes no new calls, waits for those that run, at most for `limit`, then ends them.
    pub(super) async fn drain(&self, limit: Duration) {
        self.closed.store(true, Ordering::Release);
        self.free.close();
        let deadline = Instant::now() + limit;
        while self.running.load(Ordering::Acquire) > 0 {
            let idle = self.idle.notified();
            if self.running.load(Ordering::Acquire) == 0 {
                break;
            }
            if tokio::time::timeout_at(deadline, idle).await.is_err() {
                break;
            }
        }
        self.ended.cancel();
    }

    /// Waits until nobody runs or waits any more, at most for `limit`; then ends those that still do. Whoever still
    /// comes in that time is let in: it asked before the successor was there.
    pub(super) async fn retire(&self, limit: Duration) {
        let deadline = Instant::now() + limit;
        while self.is_used() && Instant::now() < deadline {
            // Looks again although nobody may say so: between leaving the queue and running, a call is neither.
            let look = deadline.min(Instant::now() + LOOK_AGAIN);
            let _ = tokio::time::timeout_at(look, self.idle.notified()).await;
        }
        if self.is_used() {
            self.drain(Duration::ZERO).await;
        }
    }

    fn is_used(&self) -> bool {
        self.running.load(Ordering::Acquire) > 0 || self.queued.load(Ordering::Acquire) > 0
    }

    /// Whether anything runs.
    #[cfg(test)]
    pub(super) fn is_busy(&self) -> bool {
        self.running.load(Ordering::Acquire) > 0
    }

    /// Completes when calls that still run are to end.
    pub(super) async fn ended(&self) {
        self.ended.cancelled().await;
    }
}

/// At least one, so that an actor is not silently dead; at most what a semaphore takes.
fn permits(max_instances: u32) -> usize {
    (max_instances.max(1) as usize).min(Semaphore::MAX_PERMITS)
}

fn count(permits: usize) -> u32 {
    u32::try_from(permits).expect("came from a u32")
}

struct Place<'a>(&'a AtomicU32);

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Permit {
    /// Completes when the call is to end although it is not over: its actor was stopped and the drain took too long.
    pub(crate) fn ended(&self) -> impl Future<Output = ()> + Send + use<> {
        self.room.ended.clone().cancelled_owned()
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let owed = self.room.owed.fetch_update(Ordering::AcqRel, Ordering::Acquire, |owed| owed.checked_sub(1));
        if let (Ok(_), Some(permit)) = (owed, self.permit.take()) {
            permit.forget();
        }
        if self.room.running.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.room.idle.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use tokio::time::Instant;
    use trellis_lattice::error::CallErrorKind;

    use super::{Limits, Permit, Room};

    fn room(max_instances: u32, max_queue: u32) -> Arc<Room> {
        let limits = Limits { max_instances, max_queue, ..Limits::default() };
        Room::new("actor".parse().expect("valid"), &limits)
    }

    fn soon() -> Instant {
        Instant::now() + Duration::from_millis(20)
    }

    async fn refused(room: &Arc<Room>) -> CallErrorKind {
        room.enter(soon()).await.expect_err("no room").kind
    }

    async fn enter(room: &Arc<Room>) -> Permit {
        room.enter(Instant::now() + Duration::from_secs(5)).await.expect("room")
    }

    #[tokio::test]
    async fn beyond_the_queue_calls_are_overloaded() {
        let room = room(1, 1);
        let first = enter(&room).await;
        let waiting = tokio::spawn({
            let room = Arc::clone(&room);
            async move { enter(&room).await }
        });
        while room.queued.load(std::sync::atomic::Ordering::Acquire) == 0 {
            tokio::task::yield_now().await;
        }
        let error = room.enter(soon()).await.expect_err("the queue is full");
        assert_eq!(error.kind, CallErrorKind::Overloaded);
        assert!(error.retry_after.is_some());
        drop(first);
        drop(waiting.await.expect("ends"));
        drop(enter(&room).await);
    }

    #[tokio::test]
    async fn a_place_in_the_queue_is_given_back_at_the_deadline() {
        let room = room(1, 1);
        let _first = enter(&room).await;
        assert_eq!(refused(&room).await, CallErrorKind::Deadline);
        assert_eq!(refused(&room).await, CallErrorKind::Deadline);
    }

    #[tokio::test]
    async fn the_maximum_changes_while_calls_run() {
        let room = room(3, 4);
        let three = [enter(&room).await, enter(&room).await, enter(&room).await];
        room.set_max_instances(1);
        let [first, second, third] = three;
        drop(first);
        drop(second);
        assert_eq!(refused(&room).await, CallErrorKind::Deadline, "one still runs");
        room.set_max_instances(2);
        let fourth = enter(&room).await;
        assert_eq!(refused(&room).await, CallErrorKind::Deadline, "two run");
        drop((third, fourth));
        let _two = (enter(&room).await, enter(&room).await);
        assert_eq!(refused(&room).await, CallErrorKind::Deadline);
    }

    #[tokio::test]
    async fn a_drain_waits_and_then_ends_what_runs() {
        let room = room(2, 1);
        let permit = enter(&room).await;
        let ended = permit.ended();
        room.drain(Duration::from_millis(10)).await;
        ended.await;
        assert_eq!(refused(&room).await, CallErrorKind::NoTarget);
        drop(permit);
        room.drain(Duration::from_secs(60)).await;
    }
}
