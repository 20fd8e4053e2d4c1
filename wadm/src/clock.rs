//! The clock that plans are made by: time since an arbitrary start, on this process's monotonic clock.

use std::time::Duration;

use tokio::time::Instant;

/// Where the clock stands when it is started, so that what was before has a place on it too.
const OFFSET: Duration = Duration::from_secs(365 * 24 * 3_600);

/// Turns instants into times that `plan` can reckon with, and back.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock {
    start: Instant,
}

impl Clock {
    /// A clock that is started now.
    pub(crate) fn start() -> Self {
        Self { start: Instant::now() }
    }

    /// Now.
    pub(crate) fn now(self) -> Duration {
        self.at(Instant::now())
    }

    /// The time of an instant. What is more than a year before the start is a year before it.
    pub(crate) fn at(self, instant: Instant) -> Duration {
        let after = instant.saturating_duration_since(self.start);
        (OFFSET + after).saturating_sub(self.start.saturating_duration_since(instant))
    }

    /// The instant of a time; the start for times before it.
    pub(crate) fn instant(self, time: Duration) -> Instant {
        // Times that no clock reaches are never: a century is far enough, and can be added.
        self.start + time.saturating_sub(OFFSET).min(100 * OFFSET)
    }
}
