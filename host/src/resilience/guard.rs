//! The guard of one link: its policy, and what this host has counted of its calls.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use trellis_lattice::error::{CallError, CallErrorKind};
use trellis_lattice::message::inventory::BreakerState;
use trellis_lattice::message::link::Link;
use trellis_lattice::policy::{Breaker as Rule, Policy};
use trellis_lattice::rpc::RetryBudget;

use super::breaker::{Breaker, End, Ticket};
use super::places::{Full, Place, Places};

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
    places: Arc<Places>,
}

impl Guard {
    /// A guard that has seen nothing yet.
    pub(super) fn new(link: &Link, policy: Policy) -> Self {
        Self {
            link: format!("{} of {}", link.name, link.source_id),
            policy,
            retries: RetryBudget::default(),
            breaker: policy.breaker.map(|rule| (rule, Mutex::default())),
            places: Places::new(policy.concurrency),
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

    /// Lets an attempt through that is to be over at `deadline`. Waits for a place for as long as the policy says, but
    /// not while the breaker is open. Cancel safe.
    ///
    /// # Errors
    /// `BreakerOpen`; `Overloaded` when too many calls are in flight.
    pub(crate) async fn admit(self: &Arc<Self>, deadline: Instant) -> Result<Permit, CallError> {
        self.with_breaker(|breaker| breaker.peek(Instant::now())).unwrap_or(Ok(())).map_err(|wait| self.open(wait))?;
        let place = self.places.enter(deadline).await.map_err(|full| self.full(&full))?;
        let admitted = self.with_breaker(|breaker| breaker.admit(Instant::now()));
        let ticket = admitted.transpose().map_err(|wait| self.open(wait))?;
        Ok(Permit { held: Some((Arc::clone(self), place)), ticket })
    }

    /// How its breaker stands, unless calls pass as usual.
    pub(super) fn trouble(&self, now: Instant) -> Option<BreakerState> {
        self.with_breaker(|breaker| breaker.trouble(now)).flatten()
    }

    /// How many calls are in flight, and how many may be.
    pub(super) fn in_flight(&self) -> (u32, Option<u32>) {
        (self.places.in_flight(), self.places.limit())
    }

    /// Whether a call may be tried again at all.
    pub(crate) fn retries(&self) -> bool {
        self.policy.retries.most > 0
    }

    /// How long to wait before a call that failed is tried again, after so many retries; `None` when it is not.
    /// `jitter` is any number. What may be repeated is repeated whatever the policy names; else only what had no
    /// effect.
    pub(crate) fn retry(&self, error: &CallError, nature: Nature, retried: u8, jitter: u32) -> Option<Duration> {
        let is_safe = error.is_retryable() || nature == Nature::Idempotent;
        let is_meant = is_safe && self.policy.retries.on.has(error.kind) && retried < self.policy.retries.most;
        if !is_meant || !self.retries.withdraw() {
            return None;
        }
        let wait = FIRST_WAIT.saturating_mul(1 << retried.min(7)).min(LONGEST_WAIT);
        // Between half of it and all of it, so that those who failed together do not come again together.
        let wait = wait / 2 + (wait / 2).mul_f64(f64::from(jitter) / f64::from(u32::MAX));
        Some(error.retry_after.map_or(wait, |after| after.max(wait)))
    }

    fn with_breaker<T>(&self, act: impl FnOnce(&mut Breaker) -> T) -> Option<T> {
        let (_, breaker) = self.breaker.as_ref()?;
        Some(act(&mut breaker.lock().unwrap_or_else(PoisonError::into_inner)))
    }

    fn open(&self, wait: Duration) -> CallError {
        let millis = wait.as_millis().max(1);
        CallError::breaker_open(format!("breaker of link {} is open, retry in {millis} ms", self.link), wait)
    }

    fn full(&self, full: &Full) -> CallError {
        let Full { limit, retry_after } = full;
        let message = format!("link {} has {limit} calls in flight, its most (`concurrency`)", self.link);
        CallError::overloaded(message, *retry_after)
    }

    fn ended(&self, ticket: Ticket, end: impl FnOnce(&Rule) -> End) {
        if let Some((rule, breaker)) = &self.breaker {
            let (now, end) = (Instant::now(), end(rule));
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
pub(crate) struct Permit {
    /// Taken when it ended.
    held: Option<(Arc<Guard>, Place)>,
    ticket: Option<Ticket>,
}

impl Permit {
    /// The attempt ended; its place is held for as long as its answer still comes.
    pub(crate) fn ended<T>(mut self, outcome: &Result<T, CallError>) -> Place {
        let (guard, place) = self.held.take().expect("a permit ends once");
        if let Some(ticket) = self.ticket.take() {
            guard.ended(ticket, |rule| end(rule, outcome.as_ref().err().map(|error| error.kind)));
        }
        place
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if let (Some((guard, _)), Some(ticket)) = (&self.held, self.ticket.take()) {
            guard.ended(ticket, |_| End::Nothing);
        }
    }
}

/// What counts against a target is what the rule names. What the caller did wrong, or was told by a target that did
/// its work, does not count for it either.
fn end(rule: &Rule, kind: Option<CallErrorKind>) -> End {
    match kind {
        None => End::Success,
        Some(kind) if rule.on.has(kind) => End::Failure,
        Some(_) => End::Nothing,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use tokio::time::Instant;
    use trellis_lattice::error::{CallError, CallErrorKind};
    use trellis_lattice::policy::Policy;

    use super::{Guard, Nature};
    use crate::links::tests::link;

    fn guard(pairs: &[(&str, &str)]) -> Arc<Guard> {
        let config = pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        let policy = Policy::parse(&config).expect("right");
        Arc::new(Guard::new(&link("cart", "default", "wasi:keyvalue/store", "kv"), policy))
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
    fn a_policy_says_after_which_errors_a_call_is_tried_again() {
        let guard = guard(&[("retries", "2"), ("retry_on", "deadline,provider")]);
        let retry = |kind, nature| guard.retry(&CallError::new(kind, ""), nature, 0, 0).is_some();
        for kind in [CallErrorKind::Deadline, CallErrorKind::Provider] {
            assert!(retry(kind, Nature::Idempotent), "{kind:?}");
            assert!(!retry(kind, Nature::Once), "{kind:?} may have had an effect");
        }
        for kind in [CallErrorKind::NoTarget, CallErrorKind::Overloaded, CallErrorKind::UnknownOutcome] {
            assert!(!retry(kind, Nature::Idempotent), "{kind:?} is not named");
        }
    }

    async fn fail(guard: &Arc<Guard>, kind: CallErrorKind) {
        let permit = guard.admit(Instant::now() + Duration::from_secs(1)).await.expect("closed");
        drop(permit.ended::<()>(&Err(CallError::new(kind, ""))));
    }

    #[tokio::test]
    async fn an_open_breaker_says_so_and_what_the_caller_does_wrong_opens_none() {
        let guard = guard(&[("breaker_failures", "2"), ("breaker_pause", "250s")]);
        let deadline = Instant::now() + Duration::from_secs(9);
        for _ in 0..5 {
            fail(&guard, CallErrorKind::Denied).await;
        }
        fail(&guard, CallErrorKind::Trap).await;
        drop(guard.admit(deadline).await.expect("a caller that leaves says nothing"));
        fail(&guard, CallErrorKind::Deadline).await;
        let error = guard.admit(deadline).await.expect_err("open");
        assert_eq!(error.kind, CallErrorKind::BreakerOpen);
        assert!(error.message.starts_with("breaker of link default of cart is open, retry in "), "{error}");
        assert!(error.retry_after.is_some_and(|after| after <= Duration::from_secs(250)));
        assert_eq!(guard.in_flight(), (0, None));
    }

    #[tokio::test]
    async fn a_policy_says_which_errors_are_failures_for_the_breaker() {
        let guard = guard(&[("breaker_failures", "2"), ("breaker_pause", "250s"), ("breaker_on", "deadline")]);
        for kind in [CallErrorKind::Trap, CallErrorKind::Provider, CallErrorKind::NoTarget, CallErrorKind::Deadline] {
            fail(&guard, kind).await;
        }
        assert_eq!(guard.trouble(Instant::now()), None, "one failure of those that count");
        fail(&guard, CallErrorKind::Deadline).await;
        assert!(guard.trouble(Instant::now()).is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn a_full_link_says_so_after_a_short_wait_and_an_open_breaker_at_once() {
        let pairs = [("concurrency", "2"), ("breaker_failures", "1"), ("breaker_pause", "250s")];
        let guard = guard(&pairs);
        let (began, deadline) = (Instant::now(), Instant::now() + Duration::from_secs(9));
        let held = guard.admit(deadline).await.expect("free");
        let failing = guard.admit(deadline).await.expect("free");
        assert_eq!(guard.in_flight(), (2, Some(2)));
        let error = guard.admit(deadline).await.expect_err("full");
        assert_eq!((error.kind, error.retry_after), (CallErrorKind::Overloaded, Some(Duration::from_millis(100))));
        assert!(error.message.starts_with("link default of cart has 2 calls in flight"), "{error}");
        assert_eq!(began.elapsed(), Duration::from_millis(100));
        let place = failing.ended::<()>(&Err(CallError::deadline("")));
        assert_eq!(guard.admit(deadline).await.expect_err("open").kind, CallErrorKind::BreakerOpen);
        assert_eq!(began.elapsed(), Duration::from_millis(100), "nobody waited for a place");
        drop((held, place));
        assert_eq!(guard.in_flight(), (0, Some(2)));
    }
}
