//! When a process is started again, and when no more. Pure.

use tokio::time::Instant;

use crate::config::Restarts;

/// How a process is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// It is being started. Leads out: it is ready, or it ends.
    Starting { failures: u32 },
    /// It answers. Leads out: it ends.
    Running { failures: u32, since: Instant },
    /// It ended, and waits to be started again. Leads out: the time comes.
    BackingOff { failures: u32, until: Instant },
    /// It ended too often. Nothing leads out but the order to start it anew.
    GivenUp,
}

/// What happens to it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Input {
    /// It said that it is ready, and took its links.
    Ready(Instant),
    /// It ended, or could not be started. With a number from 0 to 1 that spreads the restarts of many.
    Ended(Instant, f64),
    /// The time has come to start it.
    Due,
}

/// The state after `input`.
pub(super) fn step(state: State, input: Input, restarts: &Restarts) -> State {
    match (state, input) {
        (State::Starting { failures }, Input::Ready(now)) => State::Running { failures, since: now },
        (State::Starting { failures }, Input::Ended(now, jitter)) => failed(failures, (now, jitter), restarts),
        (State::Running { failures, since }, Input::Ended(now, jitter)) => {
            let is_stable = now.saturating_duration_since(since) >= restarts.stable;
            failed(if is_stable { 0 } else { failures }, (now, jitter), restarts)
        }
        (State::BackingOff { failures, .. }, Input::Due) => State::Starting { failures },
        (state, _) => state,
    }
}

fn failed(failures_before: u32, (now, jitter): (Instant, f64), restarts: &Restarts) -> State {
    let failures = failures_before + 1;
    if failures >= restarts.max_failures {
        return State::GivenUp;
    }
    let doubled = restarts.first_wait.saturating_mul(1 << (failures - 1).min(16));
    let wait = doubled.min(restarts.last_wait);
    State::BackingOff { failures, until: now + wait.mul_f64(1.0 + jitter.clamp(0.0, 1.0) / 4.0) }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::Instant;

    use super::{Input, Restarts, State};

    fn step(state: State, input: Input) -> State {
        super::step(state, input, &Restarts::default())
    }

    /// The starts within `span` of a process that runs `lifetime` each time, and the state at the end.
    fn starts(lifetime: Duration, span: Duration, jitter: f64) -> (u32, State) {
        let begin = Instant::now();
        let (mut now, mut starts, mut state) = (begin, 0, State::Starting { failures: 0 });
        while now < begin + span && state != State::GivenUp {
            starts += 1;
            state = step(state, Input::Ready(now));
            now += lifetime;
            state = step(state, Input::Ended(now, jitter));
            if let State::BackingOff { until, .. } = state {
                now = until;
                state = step(state, Input::Due);
            }
        }
        (starts, state)
    }

    #[test]
    fn a_crash_loop_is_slow_and_has_an_end() {
        for jitter in [0.0, 0.5, 1.0] {
            let (starts, state) = starts(Duration::from_millis(10), Duration::from_mins(10), jitter);
            assert!(starts <= 12, "{starts} starts in ten minutes");
            assert_eq!((starts, state), (Restarts::default().max_failures, State::GivenUp));
        }
    }

    #[test]
    fn a_process_that_was_stable_begins_anew() {
        let (_, state) = starts(Restarts::default().stable, Duration::from_hours(1), 0.0);
        assert_eq!(state, State::Starting { failures: 1 });
    }

    #[test]
    fn waits_double_up_to_a_minute() {
        let now = Instant::now();
        let wait = |failures| match step(State::Starting { failures }, Input::Ended(now, 0.0)) {
            State::BackingOff { until, .. } => (until - now).as_secs(),
            state => panic!("{state:?}"),
        };
        assert_eq!([0, 1, 2, 5, 6, 8].map(wait), [1, 2, 4, 32, 60, 60]);
    }
}
