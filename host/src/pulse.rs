//! Whether this process was stopped in the middle for a while, by SIGSTOP or with its whole machine: what it had taken on
//! before may have been given up by then.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::task::AbortOnDropHandle;
use trellis_lattice::message::fence::Terms;

/// How often the pulse beats.
const BEAT: Duration = Duration::from_millis(200);

/// A pulse that misses for so long means that the process was stopped.
const GAP: Duration = Duration::from_millis(1_500);

/// Beats as long as the process goes on. Dropping it ends its task.
#[derive(Debug)]
pub(crate) struct Pulse {
    beats: Arc<Beats>,
    _task: AbortOnDropHandle<()>,
}

/// In milliseconds since `start`.
#[derive(Debug)]
struct Beats {
    start: Instant,
    last: AtomicU64,
    gap_ended: AtomicU64,
}

/// When a command was taken, and on which terms.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Taken {
    terms: Terms,
    at: Instant,
}

impl Taken {
    /// Now, on these terms.
    pub(crate) fn now(terms: Terms) -> Self {
        Self { terms, at: Instant::now() }
    }

    /// On which terms.
    pub(crate) fn terms(&self) -> Terms {
        self.terms
    }
}

impl Pulse {
    /// Begins to beat. To be called in a Tokio runtime.
    pub(crate) fn start() -> Self {
        let beats = Arc::new(Beats::new(Instant::now()));
        let task = AbortOnDropHandle::new(tokio::spawn(keep_beating(Arc::clone(&beats))));
        Self { beats, _task: task }
    }

    /// Whether a command that was taken earlier still counts now. However long carrying it out takes, it does, unless
    /// the process was stopped meanwhile.
    ///
    /// # Errors
    /// Says how late it is.
    pub(crate) fn check(&self, taken: &Taken) -> Result<(), String> {
        if self.beats.was_stopped_since(taken.at, Instant::now()) { taken.terms.check_time(now_ms()) } else { Ok(()) }
    }
}

async fn keep_beating(beats: Arc<Beats>) {
    let mut ticks = interval(BEAT);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        beats.beat(Instant::now());
    }
}

impl Beats {
    fn new(start: Instant) -> Self {
        Self { start, last: AtomicU64::new(0), gap_ended: AtomicU64::new(0) }
    }

    fn ms(&self, at: Instant) -> u64 {
        u64::try_from(at.saturating_duration_since(self.start).as_millis()).unwrap_or(u64::MAX)
    }

    fn beat(&self, now: Instant) {
        if self.is_late(now) {
            self.gap_ended.store(self.ms(now), Ordering::Relaxed);
        }
        self.last.store(self.ms(now), Ordering::Relaxed);
    }

    fn is_late(&self, now: Instant) -> bool {
        let missed = self.ms(now).saturating_sub(self.last.load(Ordering::Relaxed));
        u128::from(missed) > GAP.as_millis()
    }

    /// Who asks may be the first to run after a gap, before the next beat.
    fn was_stopped_since(&self, at: Instant, now: Instant) -> bool {
        let gap_ended = self.gap_ended.load(Ordering::Relaxed);
        (gap_ended > 0 && gap_ended >= self.ms(at)) || self.is_late(now)
    }
}

/// What the clock of this host shows, in milliseconds since 1970.
pub(crate) fn now_ms() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::Instant;

    use super::Beats;

    #[test]
    fn a_gap_is_seen_before_and_after_the_next_beat_and_only_by_what_was_taken_before_it() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let beats = Beats::new(start);
        for ms in (0..2_000).step_by(200) {
            beats.beat(at(ms));
        }
        assert!(!beats.was_stopped_since(at(0), at(2_000)));
        assert!(beats.was_stopped_since(at(1_900), at(9_000)), "before the next beat");
        beats.beat(at(9_000));
        assert!(beats.was_stopped_since(at(1_900), at(9_100)), "after it");
        assert!(!beats.was_stopped_since(at(9_050), at(9_100)), "taken after it");
    }
}
