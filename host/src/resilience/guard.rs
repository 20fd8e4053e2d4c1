//! The guard of one link: its policy, and what this host has counted of its calls.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use trellis_lattice::error::{CallError, CallErrorKind};
use trellis_lattice::message::inventory::BreakerState;
use trellis_lattice::message::link::Link;
use trellis_lattice::rpc::RetryBudget;

use super::breaker::{Breaker, End, Rule, Ticket};
use super::policy::Policy;

/// The wait before the first retry; it doubles with each further one.
const FIRST_WAIT: Duration = Duration::from_millis(10);
/// The longest wait.
const LONGEST_WAIT: Duration = Duration::from_secs(1);

/// The guard of one link.
#[derive(Debug)]
pub(crate) struct Guard {
    /// E.g. `default of cart`, for people.
    link: String,
    policy: Policy,
    /// Its retries, of which there are at most a fifth of its calls.
    retries: RetryBudget,
    /// Locked for a few instructions, twice a call; a target that has many callers has them wait for it, not for this.
    breaker: Option<(Rule, Mutex<Breaker>)>,
}

impl Guard {
    /// A guard that has seen nothing yet.
    pub(super) fn new(link: &Link, policy: Policy) -> Self {
        Self {
            link: format!("{} of {}", link.name, link.source_id),
            policy,
            retries: RetryBudget::default(),
            breaker: policy.breaker.map(|rule| (rule, Mutex::default())),
        }
    }

    pub(super) fn policy(&self) -> &Policy {
        &self.policy
    }

    /// A call begins; when it is to be over, if it was to be over at `deadline` anyway.
    pub(crate) fn begin(&self, deadline: Instant, now: Instant) -> Instant {
        self.retries.deposit();
        self.policy.timeout.map_or(deadline, |timeout| deadline.min(now + timeout))
    }

    /// Lets an attempt through.
    ///
    /// # Errors
    /// `Overloaded` while the breaker is open.
    pub(crate) fn admit(&self, now: Instant) -> Result<Permit<'_>, CallError> {
        let Some((_, breaker)) = &self.breaker else { return Ok(Permit { guard: self, ticket: None }) };
        let admitted = breaker.lock().unwrap_or_else(PoisonError::into_inner).admit(now);
        match admitted {
            Ok(ticket) => Ok(Permit { guard: self, ticket: Some(ticket) }),
            Err(wait) => {
                let millis = wait.as_millis().max(1);
                let message = format!("breaker of link {} is open, retry in {millis} ms", self.link);
                Err(CallError::overloaded(message, wait))
            }
        }
    }

    /// How its breaker stands, unless calls pass as usual.
    pub(super) fn trouble(&self, now: Instant) -> Option<BreakerState> {
        let (_, breaker) = self.breaker.as_ref()?;
        breaker.lock().unwrap_or_else(PoisonError::into_inner).trouble(now)
    }

    /// Whether a call may be tried again at all: whoever asks keeps a copy.
    pub(crate) fn retries(&self) -> bool {
        self.policy.retries > 0
    }

    /// How long to wait before a call that failed is tried again, after so many retries; `None` when it is not.
    /// `jitter` is any number. What may be repeated is repeated although its outcome is not known; else only what had
    /// no effect.
    pub(crate) fn retry(&self, error: &CallError, nature: Nature, retried: u8, jitter: u32) -> Option<Duration> {
        let is_unknown = error.kind == CallErrorKind::UnknownOutcome;
        let is_safe = error.is_retryable() || (nature == Nature::Idempotent && is_unknown);
        if !is_safe || retried >= self.policy.retries || !self.retries.withdraw() {
            return None;
        }
        let wait = FIRST_WAIT.saturating_mul(1 << retried.min(7)).min(LONGEST_WAIT);
        // Between half of it and all of it, so that those who failed together do not come again together.
        let wait = wait / 2 + (wait / 2).mul_f64(f64::from(jitter) / f64::from(u32::MAX));
        Some(error.retry_after.map_or(wait, |after| after.max(wait)))
    }

    fn ended(&self, ticket: Ticket, end: End) {
        if let Some((rule, breaker)) = &self.breaker {
            let now = Instant::now();
            breaker.lock().unwrap_or_else(PoisonError::into_inner).ended(*rule, ticket, end, now);
        }
    }
}

/// Whether a call may be carried out twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Nature {
    /// It may.
    Idempotent,
    /// Nobody says so.
    Once,
}

/// An attempt that was let through. Dropped without an end, as when its caller leaves, it says nothing of the target.
#[derive(Debug)]
pub(crate) struct Permit<'a> {
    guard: &'a Guard,
    ticket: Option<Ticket>,
}

impl Permit<'_> {
    /// The attempt ended.
    pub(crate) fn ended<T>(mut self, outcome: &Result<T, CallError>) {
        if let Some(ticket) = self.ticket.take() {
            self.guard.ended(ticket, end(outcome.as_ref().err().map(|error| error.kind)));
        }
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket.take() {
            self.guard.ended(ticket, End::Nothing);
        }
    }
}

/// What counts against a target: that it is not there, not in time, full, or broken. What the caller did wrong does not.
fn end(kind: Option<CallErrorKind>) -> End {
    match kind {
        None => End::Success,
        Some(
            CallErrorKind::NoTarget
            | CallErrorKind::Deadline
            | CallErrorKind::Overloaded
            | CallErrorKind::Trap
            | CallErrorKind::UnknownOutcome
            | CallErrorKind::Provider,
        ) => End::Failure,
        Some(CallErrorKind::Denied | CallErrorKind::Contract | CallErrorKind::TooLarge | CallErrorKind::Cancelled) => {
            End::Nothing
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::Instant;
    use trellis_lattice::error::{CallError, CallErrorKind};

    use super::{Guard, Nature};
    use crate::links::tests::link;
    use crate::resilience::Policy;

    fn guard(pairs: &[(&str, &str)]) -> Guard {
        let config = pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        let policy = Policy::parse(&config).expect("right").expect("says something");
        Guard::new(&link("cart", "default", "wasi:keyvalue/store", "kv"), policy)
    }

    #[test]
    fn a_timeout_shortens_a_deadline_and_never_lengthens_it() {
        let (guard, now) = (guard(&[("timeout", "2s")]), Instant::now());
        let after = |seconds| now + Duration::from_secs(seconds);
        assert_eq!(guard.begin(after(10), now), after(2));
        assert_eq!(guard.begin(after(1), now), after(1));
    }

    #[test]
    fn only_what_had_no_effect_or_may_be_repeated_is_tried_again() {
        let guard = guard(&[("retries", "2")]);
        let retry = |kind, nature, retried| guard.retry(&CallError::new(kind, ""), nature, retried, 0);
        assert!(retry(CallErrorKind::NoTarget, Nature::Once, 0).is_some());
        assert!(retry(CallErrorKind::NoTarget, Nature::Once, 1).is_some());
        assert_eq!(retry(CallErrorKind::NoTarget, Nature::Once, 2), None, "two only");
        assert_eq!(retry(CallErrorKind::UnknownOutcome, Nature::Once, 0), None);
        assert!(retry(CallErrorKind::UnknownOutcome, Nature::Idempotent, 0).is_some());
        for kind in [CallErrorKind::Trap, CallErrorKind::Deadline, CallErrorKind::Provider, CallErrorKind::Denied] {
            assert_eq!(retry(kind, Nature::Idempotent, 0), None, "{kind:?}");
        }
        let full = CallError::overloaded("", Duration::from_millis(300));
        assert_eq!(guard.retry(&full, Nature::Once, 0, 0), Some(Duration::from_millis(300)));
    }

    #[test]
    fn retries_are_at_most_a_fifth_of_the_calls_in_the_long_run() {
        let (guard, now) = (guard(&[("retries", "10")]), Instant::now());
        let error = CallError::no_target("");
        let call = || {
            guard.begin(now, now);
            (0..10).filter(|retried| guard.retry(&error, Nature::Once, *retried, 0).is_some()).count()
        };
        let retries: usize = (0..1_000).map(|_| call()).sum();
        assert!((200..=220).contains(&retries), "{retries}");
    }

    #[test]
    fn an_open_breaker_says_so_and_what_the_caller_does_wrong_opens_none() {
        let guard = guard(&[("breaker_failures", "2"), ("breaker_pause", "250ms")]);
        let now = Instant::now();
        let fail = |kind| guard.admit(now).expect("closed").ended::<()>(&Err(CallError::new(kind, "")));
        [CallErrorKind::Denied; 5].into_iter().for_each(fail);
        fail(CallErrorKind::Trap);
        drop(guard.admit(now).expect("a caller that leaves says nothing"));
        fail(CallErrorKind::Deadline);
        let error = guard.admit(Instant::now()).expect_err("open");
        assert_eq!(error.kind, CallErrorKind::Overloaded);
        assert!(error.message.starts_with("breaker of link default of cart is open, retry in "), "{error}");
        assert!(error.retry_after.is_some_and(|after| after <= Duration::from_millis(250)));
    }
}
