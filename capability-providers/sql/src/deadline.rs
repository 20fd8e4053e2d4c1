//! By when a call is answered: a little before its caller gives up, so that it is told what happened.

use std::time::Duration;

use tokio::time::Instant;
use trellis_interfaces::sql::Error;
use trellis_provider_sdk::Context;

/// The moments by which a call is broken off and answered.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Deadline {
    /// When the database is told to stop.
    pub(crate) stop: Instant,
    /// When the caller is answered, whatever the database says.
    pub(crate) answer: Instant,
}

impl Deadline {
    /// For a call with `context`, that may take no more than `limit`.
    pub(crate) fn of(context: &Context, limit: Duration) -> Self {
        Self::within(Instant::now(), context.remaining().min(limit))
    }

    /// `budget` from `now`.
    pub(crate) fn within(now: Instant, budget: Duration) -> Self {
        let answer = budget - (budget / 10).min(Duration::from_millis(100));
        let stop = answer - (answer / 5).min(Duration::from_millis(300));
        Self { stop: now + stop, answer: now + answer }
    }

    /// The time left until the database is told to stop.
    pub(crate) fn remaining(&self) -> Duration {
        self.stop.saturating_duration_since(Instant::now())
    }
}

/// The error of a call whose time was over while `what` was going on.
pub(crate) fn over(what: &str) -> Error {
    Error::Timeout(format!("while {what}"))
}

#[cfg(test)]
mod tests {
    use super::Deadline;
    use std::time::Duration;
    use tokio::time::Instant;

    #[test]
    fn the_database_stops_before_the_answer_and_that_is_before_the_caller_gives_up() {
        let now = Instant::now();
        for budget in [Duration::ZERO, Duration::from_millis(1), Duration::from_secs(1), Duration::from_hours(1)] {
            let deadline = Deadline::within(now, budget);
            assert!(now <= deadline.stop && deadline.stop <= deadline.answer && deadline.answer <= now + budget);
        }
        let deadline = Deadline::within(now, Duration::from_secs(10));
        assert_eq!(
            (deadline.stop, deadline.answer),
            (now + Duration::from_millis(9_600), now + Duration::from_millis(9_900))
        );
    }
}
