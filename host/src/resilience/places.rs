//! How many calls are in flight over a link, and the short wait of those that are too many.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;
use trellis_lattice::policy::Concurrency;

/// What a call that found no place is told at least, of when to come again.
const RETRY_AFTER: Duration = Duration::from_millis(100);

/// The places of one link.
#[derive(Debug)]
pub(super) struct Places {
    in_flight: AtomicU32,
    room: Option<Room>,
}

#[derive(Debug)]
struct Room {
    rule: Concurrency,
    free: Arc<Semaphore>,
    waiting: AtomicU32,
}

/// The place of one call, for as long as this lives.
#[derive(Debug)]
pub(crate) struct Place {
    places: Arc<Places>,
    _permit: Option<OwnedSemaphorePermit>,
}

/// That there was no place, and when to come again.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Full {
    pub(super) limit: u32,
    pub(super) retry_after: Duration,
}

impl Places {
    /// As many as `rule` says, else any number.
    pub(super) fn new(rule: Option<Concurrency>) -> Arc<Self> {
        let room = |rule: Concurrency| Room {
            rule,
            free: Arc::new(Semaphore::new(rule.limit as usize)),
            waiting: AtomicU32::new(0),
        };
        Arc::new(Self { in_flight: AtomicU32::new(0), room: rule.map(room) })
    }

    /// Takes a place; waits for one as long as the rule says, and not beyond `deadline`. Cancel safe.
    ///
    /// # Errors
    /// `Full` when as many wait already as may be in flight, or none became free in that time.
    pub(super) async fn enter(self: &Arc<Self>, deadline: Instant) -> Result<Place, Full> {
        let permit = match &self.room {
            None => None,
            Some(room) => Some(room.enter(deadline).await?),
        };
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        Ok(Place { places: Arc::clone(self), _permit: permit })
    }

    /// How many are in flight.
    pub(super) fn in_flight(&self) -> u32 {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// How many may be, if that is limited.
    pub(super) fn limit(&self) -> Option<u32> {
        self.room.as_ref().map(|room| room.rule.limit)
    }
}

impl Room {
    async fn enter(&self, deadline: Instant) -> Result<OwnedSemaphorePermit, Full> {
        if let Ok(permit) = Arc::clone(&self.free).try_acquire_owned() {
            return Ok(permit);
        }
        let waiting = Waiting(&self.waiting);
        if self.waiting.fetch_add(1, Ordering::Relaxed) >= self.rule.limit {
            return Err(self.full());
        }
        let until = deadline.min(Instant::now() + self.rule.wait);
        let waited = tokio::time::timeout_at(until, Arc::clone(&self.free).acquire_owned()).await;
        drop(waiting);
        waited.map_err(|_| self.full())?.map_err(|_| self.full())
    }

    fn full(&self) -> Full {
        Full { limit: self.rule.limit, retry_after: self.rule.wait.max(RETRY_AFTER) }
    }
}

/// Counts one that waits for as long as it is there.
struct Waiting<'a>(&'a AtomicU32);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.places.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use futures::FutureExt as _;
    use tokio::time::Instant;
    use trellis_lattice::policy::Concurrency;

    use super::{Full, Places};

    fn places(limit: u32, wait_ms: u64) -> Arc<Places> {
        Places::new(Some(Concurrency { limit, wait: Duration::from_millis(wait_ms) }))
    }

    fn in_seconds(seconds: u64) -> Instant {
        Instant::now() + Duration::from_secs(seconds)
    }

    #[tokio::test(start_paused = true)]
    async fn one_too_many_waits_a_short_while_and_is_told_when_to_come_again() {
        let places = places(2, 300);
        let first = places.enter(in_seconds(9)).await.expect("free");
        let _second = places.enter(in_seconds(9)).await.expect("free");
        let began = Instant::now();
        let full = Full { limit: 2, retry_after: Duration::from_millis(300) };
        assert_eq!(places.enter(in_seconds(9)).await.expect_err("full"), full);
        assert_eq!(began.elapsed(), Duration::from_millis(300), "the clock is paused: it waited so long");
        assert_eq!((places.in_flight(), places.limit()), (2, Some(2)));
        let waits = places.enter(in_seconds(9));
        drop(first);
        let _third = waits.await.expect("one left");
        assert_eq!(places.in_flight(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn as_many_wait_as_may_be_in_flight_and_no_more() {
        let places = places(1, 1_000);
        let held = places.enter(in_seconds(9)).await.expect("free");
        let mut waits = Box::pin(places.enter(in_seconds(9)));
        assert!(waits.as_mut().now_or_never().is_none());
        assert!(places.enter(in_seconds(9)).now_or_never().expect("at once").is_err());
        drop(held);
        drop(waits.await.expect("its turn"));
        assert_eq!(places.in_flight(), 0);
        drop(Box::pin(places.enter(in_seconds(9))));
        places.enter(in_seconds(9)).await.expect("one that leaves while it waits keeps no place");
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_waits_beyond_the_deadline() {
        let places = places(1, 60_000);
        let _held = places.enter(in_seconds(9)).await.expect("free");
        let began = Instant::now();
        places.enter(in_seconds(1)).await.expect_err("over");
        assert_eq!(began.elapsed(), Duration::from_secs(1));
    }

    #[tokio::test]
    async fn without_a_limit_calls_are_counted_only() {
        let places = Places::new(None);
        let _held: Vec<_> = futures::future::join_all((0..100).map(|_| places.enter(in_seconds(9)))).await;
        assert_eq!((places.in_flight(), places.limit()), (100, None));
    }
}
