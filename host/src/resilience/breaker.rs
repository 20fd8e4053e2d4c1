//! Whether calls to a target that keeps failing are tried. Pure: the clock comes in as an argument.

use std::time::Duration;

use tokio::time::Instant;
use trellis_lattice::message::inventory::BreakerState;
use trellis_lattice::policy::Breaker as Rule;

/// When a call is to come again while another one finds out how the target does.
const PROBING: Duration = Duration::from_millis(100);

/// What becomes of calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// They pass; so many in a row have failed. Leads out: as many failures as the rule says.
    Closed { failures: u32 },
    /// They are refused. Leads out: the first call after that time, which tries.
    Open { until: Instant },
    /// One is under way, all others are refused. Leads out: its end.
    HalfOpen,
}

/// A breaker: its state, and how often that changed its kind.
#[derive(Debug)]
pub(super) struct Breaker {
    state: State,
    round: u64,
}

/// What a call that was let through holds until it ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ticket {
    round: u64,
}

/// How a call ended, for the breaker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// The target did its work.
    Success,
    /// It did not.
    Failure,
    /// In a way that says nothing of the target, e.g. its caller left.
    Nothing,
}

impl Default for Breaker {
    fn default() -> Self {
        Self { state: State::Closed { failures: 0 }, round: 0 }
    }
}

impl Breaker {
    /// Lets a call through, or says after what time it may come again.
    pub(super) fn admit(&mut self, now: Instant) -> Result<Ticket, Duration> {
        match self.state {
            State::Closed { .. } => {}
            State::Open { until } if now < until => return Err(until - now),
            State::Open { .. } => self.turn(State::HalfOpen),
            State::HalfOpen => return Err(PROBING),
        }
        Ok(Ticket { round: self.round })
    }

    /// Says after what time a call may come again, if it would be refused now. Lets nothing through.
    pub(super) fn peek(&self, now: Instant) -> Result<(), Duration> {
        match self.state {
            State::Open { until } if now < until => Err(until - now),
            _ => Ok(()),
        }
    }

    /// How it stands at `now`, unless calls pass as usual.
    pub(super) fn trouble(&self, now: Instant) -> Option<BreakerState> {
        match self.state {
            State::Closed { .. } => None,
            State::Open { until } if now < until => Some(BreakerState::Open),
            State::Open { .. } | State::HalfOpen => Some(BreakerState::HalfOpen),
        }
    }

    /// A call that was let through ended. Those of an earlier round count no more.
    pub(super) fn ended(&mut self, rule: Rule, ticket: Ticket, end: End, now: Instant) {
        if ticket.round != self.round {
            return;
        }
        match (self.state, end) {
            (State::Closed { .. }, End::Success) => self.state = State::Closed { failures: 0 },
            (State::Closed { failures }, End::Failure) if failures + 1 < rule.failures => {
                self.state = State::Closed { failures: failures + 1 };
            }
            (_, End::Failure) => self.turn(State::Open { until: now + rule.pause }),
            (State::HalfOpen, End::Success) => self.turn(State::Closed { failures: 0 }),
            (State::HalfOpen, End::Nothing) => self.turn(State::Open { until: now }),
            (State::Closed { .. }, End::Nothing) | (State::Open { .. }, End::Success | End::Nothing) => {}
        }
    }

    fn turn(&mut self, state: State) {
        self.state = state;
        self.round += 1;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::Instant;

    use trellis_lattice::policy::Classes;

    use super::{Breaker, BreakerState, End, PROBING, Rule};

    const RULE: Rule = Rule { failures: 3, pause: Duration::from_secs(1), on: Classes::FAILURES };

    /// A breaker and its clock.
    struct Played {
        breaker: Breaker,
        start: Instant,
    }

    impl Played {
        fn new() -> Self {
            Self { breaker: Breaker::default(), start: Instant::now() }
        }

        /// A call at `millis` that ends so at once; else when it may come again.
        fn call(&mut self, millis: u64, end: End) -> Result<(), u128> {
            let now = self.start + Duration::from_millis(millis);
            let ticket = self.breaker.admit(now).map_err(|wait| wait.as_millis())?;
            self.breaker.ended(RULE, ticket, end, now);
            Ok(())
        }

        fn open(mut self) -> Self {
            assert_eq!([0, 0, 0].map(|at| self.call(at, End::Failure)), [Ok(()); 3]);
            self
        }
    }

    #[test]
    fn it_opens_after_failures_in_a_row_only() {
        let mut played = Played::new();
        for end in [End::Failure, End::Failure, End::Success, End::Failure, End::Nothing, End::Failure] {
            assert_eq!(played.call(0, end), Ok(()));
        }
        assert_eq!(played.call(0, End::Failure), Ok(()), "the third in a row");
        assert_eq!(played.call(10, End::Success), Err(990));
        let trouble = |at| played.breaker.trouble(played.start + Duration::from_millis(at));
        assert_eq!([999, 1_000].map(trouble), [Some(BreakerState::Open), Some(BreakerState::HalfOpen)]);
        assert_eq!(Played::new().breaker.trouble(played.start), None);
    }

    #[test]
    fn after_the_pause_one_call_tries() {
        let mut played = Played::new().open();
        let after = played.start + Duration::from_secs(1);
        let probe = played.breaker.admit(after).expect("the pause is over");
        assert_eq!(played.breaker.admit(after), Err(PROBING), "one only");
        played.breaker.ended(RULE, probe, End::Failure, after);
        assert_eq!(played.call(1_500, End::Success), Err(500), "it failed: another pause");
        assert_eq!(played.call(2_000, End::Success), Ok(()));
        assert_eq!([2_000, 2_000].map(|at| played.call(at, End::Failure)), [Ok(()); 2], "it begins anew");
    }

    #[test]
    fn a_call_that_tries_and_leaves_makes_room_for_the_next() {
        let mut played = Played::new().open();
        assert_eq!(played.call(1_000, End::Nothing), Ok(()));
        assert_eq!(played.call(1_000, End::Success), Ok(()));
    }

    #[test]
    fn what_began_before_it_opened_says_nothing_any_more() {
        let mut played = Played::new();
        let early = played.breaker.admit(played.start).expect("closed");
        let mut played = played.open();
        played.breaker.ended(RULE, early, End::Success, played.start);
        assert_eq!(played.call(500, End::Success), Err(500));
    }
}
