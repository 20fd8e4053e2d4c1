//! Which of the peers that run a target is called: near ones first, of two drawn at random the one with less to do,
//! and none that failed several times in a row. Decisions only; the clock and the dice come in as arguments.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

/// The most calls in flight to one peer.
pub(super) const MAX_IN_FLIGHT: u32 = 4096;

/// After so many failures in a row a peer is left out for a while.
const FAILURES: u32 = 3;

/// How long at first; it doubles with each further failure.
const FIRST_PAUSE: Duration = Duration::from_millis(500);

/// How long at most.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// How a peer does, as its callers on this peer see it.
#[derive(Debug, Default)]
pub(super) struct Load {
    in_flight: AtomicU32,
    failures: AtomicU32,
    paused_until_ms: AtomicU64,
    is_deaf: AtomicBool,
    /// Whether there were several calls in flight at the last look.
    was_crowded: AtomicBool,
}

impl Load {
    /// One more call in flight; none if that is too many.
    pub(super) fn enter(&self) -> Option<InFlight<'_>> {
        let before = self.in_flight.fetch_add(1, Ordering::Relaxed);
        let entered = InFlight(self);
        (before < MAX_IN_FLIGHT).then_some(entered)
    }

    /// Whether there is one call in flight at most. Not yet the first time after there were several: when their answers
    /// come together, the first call that follows them will not be alone for long.
    pub(super) fn is_light(&self) -> bool {
        if self.in_flight.load(Ordering::Relaxed) > 1 {
            self.was_crowded.store(true, Ordering::Relaxed);
            return false;
        }
        !self.was_crowded.swap(false, Ordering::Relaxed)
    }

    /// It answered.
    pub(super) fn answered(&self) {
        if self.failures.load(Ordering::Relaxed) != 0 {
            self.failures.store(0, Ordering::Relaxed);
            self.paused_until_ms.store(0, Ordering::Relaxed);
        }
    }

    /// It did not answer.
    pub(super) fn failed(&self, now_ms: u64) {
        let failures = self.failures.fetch_add(1, Ordering::Relaxed) + 1;
        if let Some(doublings) = failures.checked_sub(FAILURES) {
            let pause = FIRST_PAUSE.saturating_mul(1 << doublings.min(8)).min(LONGEST_PAUSE);
            let pause_ms = u64::try_from(pause.as_millis()).expect("a pause is a few seconds");
            self.paused_until_ms.store(now_ms + pause_ms, Ordering::Relaxed);
        }
    }

    /// Nobody listens at its inbox: it is not called until it says that it is there.
    pub(super) fn went_deaf(&self) {
        self.is_deaf.store(true, Ordering::Relaxed);
    }

    /// It said that it is there.
    pub(super) fn was_heard(&self) {
        self.is_deaf.store(false, Ordering::Relaxed);
    }

    fn fitness(&self, now_ms: impl Fn() -> u64) -> Fitness {
        let paused_until_ms = self.paused_until_ms.load(Ordering::Relaxed);
        if self.is_deaf.load(Ordering::Relaxed) {
            Fitness::Absent
        } else if self.in_flight.load(Ordering::Relaxed) >= MAX_IN_FLIGHT {
            Fitness::Full
        } else if paused_until_ms != 0 && paused_until_ms > now_ms() {
            Fitness::Paused
        } else {
            Fitness::Fit
        }
    }
}

/// A call in flight, for as long as this lives.
pub(super) struct InFlight<'a>(&'a Load);

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fitness {
    Fit,
    Paused,
    Full,
    Absent,
}

/// What has a load.
pub(super) trait Loaded {
    /// It.
    fn load(&self) -> &Load;
}

/// Who runs one target.
#[derive(Debug, Clone)]
pub(super) struct Targets<T> {
    /// At this peer's site.
    pub(super) near: Vec<T>,
    /// Elsewhere.
    pub(super) far: Vec<T>,
}

impl<T> Default for Targets<T> {
    fn default() -> Self {
        Self { near: Vec::new(), far: Vec::new() }
    }
}

/// Why none can be chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NoChoice {
    /// There is none that was not tried.
    Nobody,
    /// All have as many calls in flight as they may.
    AllFull,
}

impl<T: Loaded> Targets<T> {
    /// Chooses among those that `may` be called. Paused ones are chosen when there is nobody else: being wrong about
    /// all of them must not stop everything.
    pub(super) fn choose(
        &self,
        now_ms: impl Fn() -> u64,
        may: impl Fn(&T) -> bool,
        mut dice: impl FnMut() -> u32,
    ) -> Result<&T, NoChoice> {
        for wanted in [Fitness::Fit, Fitness::Paused] {
            for tier in [&self.near, &self.far] {
                let is_fit = |target: &&T| may(target) && target.load().fitness(&now_ms) == wanted;
                if let Some(chosen) = lighter_of_two(tier, is_fit, &mut dice) {
                    return Ok(chosen);
                }
            }
        }
        let mut all = self.near.iter().chain(&self.far);
        let is_full = all.any(|target| may(target) && target.load().fitness(&now_ms) == Fitness::Full);
        Err(if is_full { NoChoice::AllFull } else { NoChoice::Nobody })
    }
}

fn lighter_of_two<'a, T: Loaded>(
    tier: &'a [T],
    is_fit: impl Fn(&&'a T) -> bool,
    mut dice: impl FnMut() -> u32,
) -> Option<&'a T> {
    let fit = || tier.iter().filter(|target| is_fit(target));
    let count = fit().count();
    if count < 2 {
        return fit().next();
    }
    let mut roll = |sides: usize| usize::try_from(dice()).unwrap_or(0) % sides;
    let first = roll(count);
    let second = (first + 1 + roll(count - 1)) % count;
    // The number of fit ones may shrink between counting and taking.
    let (first, second) = (fit().nth(first), fit().nth(second));
    let weight = |target: &&T| target.load().in_flight.load(Ordering::Relaxed);
    first.into_iter().chain(second).min_by_key(weight)
}

/// What retries may cost: a fifth of the calls, and a few in reserve.
#[derive(Debug)]
pub struct RetryBudget(AtomicI64);

const RETRY: i64 = 1000;
const DEPOSIT: i64 = RETRY / 5;
const RESERVE: i64 = 10 * RETRY;

impl Default for RetryBudget {
    fn default() -> Self {
        Self(AtomicI64::new(RESERVE))
    }
}

impl RetryBudget {
    /// A call is made for the first time.
    pub fn deposit(&self) {
        if self.0.load(Ordering::Relaxed) < RESERVE {
            self.0.fetch_add(DEPOSIT, Ordering::Relaxed);
        }
    }

    /// Whether a retry may be made; if so, it is paid.
    pub fn withdraw(&self) -> bool {
        let paid = |saved: i64| (saved >= RETRY).then_some(saved - RETRY);
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, paid).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::{FAILURES, Load, Loaded, MAX_IN_FLIGHT, NoChoice, RetryBudget, Targets};

    struct Named(&'static str, Load);

    impl Loaded for Named {
        fn load(&self) -> &Load {
            &self.1
        }
    }

    fn targets(near: &[&'static str], far: &[&'static str]) -> Targets<Named> {
        let named = |names: &[&'static str]| names.iter().map(|name| Named(name, Load::default())).collect();
        Targets { near: named(near), far: named(far) }
    }

    fn choose(targets: &Targets<Named>, now_ms: u64) -> Result<&'static str, NoChoice> {
        let mut rolled = 0;
        let dice = || {
            rolled += 1;
            rolled
        };
        targets.choose(|| now_ms, |_| true, dice).map(|target| target.0)
    }

    #[test]
    fn near_ones_come_first() {
        assert_eq!(choose(&targets(&["near"], &["far"]), 0), Ok("near"));
        assert_eq!(choose(&targets(&[], &["far"]), 0), Ok("far"));
        assert_eq!(choose(&targets(&[], &[]), 0), Err(NoChoice::Nobody));
    }

    #[test]
    fn of_two_the_one_with_less_to_do_is_called() {
        let targets = targets(&["busy", "idle"], &[]);
        let _calls: Vec<_> = (0..3).map(|_| targets.near[0].1.enter()).collect();
        assert_eq!(choose(&targets, 0), Ok("idle"));
    }

    #[test]
    fn who_fails_in_a_row_is_left_out_for_a_while() {
        let targets = targets(&["bad", "good"], &[]);
        (0..FAILURES).for_each(|_| targets.near[0].1.failed(1_000));
        for _ in 0..20 {
            assert_eq!(choose(&targets, 1_001), Ok("good"));
        }
        (0..FAILURES).for_each(|_| targets.near[1].1.failed(1_000));
        assert!(choose(&targets, 1_001).is_ok(), "when all are bad, one is tried all the same");
        targets.near[0].1.answered();
        assert_eq!(choose(&targets, 1_001), Ok("bad"), "an answer makes it good again");
    }

    #[test]
    fn who_is_deaf_is_not_called_until_it_was_heard() {
        let targets = targets(&["one"], &[]);
        targets.near[0].1.went_deaf();
        assert_eq!(choose(&targets, 0), Err(NoChoice::Nobody));
        targets.near[0].1.was_heard();
        assert_eq!(choose(&targets, 0), Ok("one"));
    }

    #[test]
    fn calls_in_flight_are_bounded() {
        let targets = targets(&["one"], &[]);
        let calls: Vec<_> = (0..MAX_IN_FLIGHT).map(|_| targets.near[0].1.enter().expect("room")).collect();
        assert_eq!(choose(&targets, 0), Err(NoChoice::AllFull));
        assert!(targets.near[0].1.enter().is_none());
        drop(calls);
        assert_eq!(choose(&targets, 0), Ok("one"));
    }

    #[test]
    fn the_first_call_after_many_is_not_taken_for_a_lone_one() {
        let load = Load::default();
        let first = load.enter();
        assert!(load.is_light());
        let second = load.enter();
        assert!(!load.is_light());
        drop((first, second));
        let _third = load.enter();
        assert!(!load.is_light(), "others may follow it, as the last ones came together");
        assert!(load.is_light(), "none did");
    }

    #[test]
    fn retries_are_a_fifth_of_the_calls_after_the_reserve() {
        let budget = RetryBudget::default();
        while budget.withdraw() {}
        (0..100).for_each(|_| budget.deposit());
        let retries = std::iter::repeat_with(|| budget.withdraw()).take_while(|paid| *paid).count();
        assert!((10..=20).contains(&retries), "{retries}");
    }
}
