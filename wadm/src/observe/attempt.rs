//! What came of a command, and when it may be sent again.

use std::time::Duration;

/// What came of sending one action so far. Whoever executes plans keeps one for each key until the action is no longer
/// planned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    /// The application's generation it was for; a later generation begins anew.
    pub generation: u64,
    /// How often it failed.
    pub failures: u32,
    /// What the last failure said, for people.
    pub last_error: Option<String>,
    /// Whether it may be sent now.
    pub state: AttemptState,
}

/// Whether a command may be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AttemptState {
    /// It was sent and its effect is awaited; leads to `Failed` when it is not seen in time.
    Sent {
        /// How long it is awaited.
        until: Duration,
    },
    /// It failed and is sent again later.
    Failed {
        /// When, on the clock of [`plan`](crate::plan::plan)'s `now`.
        again_at: Duration,
    },
    /// It failed too often: only a new generation, or somebody who asks for it, begins anew.
    GivenUp,
}

/// How failures are answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    /// The pause after the first failure; it doubles with each further one.
    pub first: Duration,
    /// The longest pause.
    pub longest: Duration,
    /// After so many failures it is given up.
    pub give_up_after: u32,
}

impl Default for Backoff {
    /// 250 ms, doubling up to 30 s, given up after 12 failures (some three minutes).
    fn default() -> Self {
        Self { first: Duration::from_millis(250), longest: Duration::from_secs(30), give_up_after: 12 }
    }
}

impl Attempt {
    /// A command that was just sent and is awaited until `until`, after what `earlier` tells of the same key.
    pub fn sent(earlier: Option<&Self>, generation: u64, until: Duration) -> Self {
        let earlier = earlier.filter(|attempt| attempt.generation == generation);
        Self {
            generation,
            failures: earlier.map_or(0, |attempt| attempt.failures),
            last_error: earlier.and_then(|attempt| attempt.last_error.clone()),
            state: AttemptState::Sent { until },
        }
    }

    /// The same after a failure at `now`.
    #[must_use]
    pub fn failed(self, error: impl Into<String>, now: Duration, backoff: Backoff) -> Self {
        let failures = self.failures.saturating_add(1);
        let state = if failures >= backoff.give_up_after {
            AttemptState::GivenUp
        } else {
            let pause = backoff.first.saturating_mul(1 << (failures - 1).min(20)).min(backoff.longest);
            AttemptState::Failed { again_at: now + pause }
        };
        Self { failures, last_error: Some(error.into()), state, ..self }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Attempt, AttemptState, Backoff};

    #[test]
    fn pauses_double_up_to_a_bound_and_then_it_is_given_up() {
        let backoff = Backoff { first: Duration::from_secs(1), longest: Duration::from_secs(3), give_up_after: 4 };
        let mut attempt = Attempt::sent(None, 7, Duration::ZERO);
        let mut seen = Vec::new();
        for _ in 0..4 {
            attempt = attempt.failed("no such file", Duration::ZERO, backoff);
            seen.push(attempt.state);
        }
        let again = |secs| AttemptState::Failed { again_at: Duration::from_secs(secs) };
        assert_eq!(seen, [again(1), again(2), again(3), AttemptState::GivenUp]);
    }

    #[test]
    fn a_new_generation_begins_anew_and_the_same_one_goes_on_counting() {
        let first = Attempt::sent(None, 1, Duration::ZERO).failed("x", Duration::ZERO, Backoff::default());
        assert_eq!(Attempt::sent(Some(&first), 1, Duration::ZERO).failures, 1);
        assert_eq!(Attempt::sent(Some(&first), 2, Duration::ZERO).failures, 0);
    }
}
