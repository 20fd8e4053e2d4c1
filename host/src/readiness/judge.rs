//! Whether an actor is ready, from when it was started and what it answered. Pure.

use std::time::Duration;

use tokio::time::Instant;
use trellis_lattice::message::inventory::{Readiness, ReadinessState};
use trellis_lattice::message::readiness::{HttpProbe, Rule};

/// So many failures in a row are one of an actor that was ready.
const FAILURES: u32 = 3;

/// The pause after the first probe; it doubles with each that fails, until the actor was ready once.
const FIRST_PAUSE: Duration = Duration::from_millis(50);

/// How often an actor is asked again while it fails.
const RETRY: Duration = Duration::from_secs(1);

/// What was seen of an actor.
#[derive(Debug)]
pub(super) struct Judge {
    rule: Rule,
    started: Instant,
    /// Since when all is well.
    well: Option<Instant>,
    /// When it was ready first.
    was_ready: bool,
    failures: u32,
    /// What it answered last, when that was not well.
    reason: Option<String>,
    asked: Option<Instant>,
}

impl Judge {
    /// Of an actor that was started at `now`.
    pub(super) fn new(rule: Rule, now: Instant) -> Self {
        let well = rule.http.is_none().then_some(now);
        Self { rule, started: now, well, was_ready: false, failures: 0, reason: None, asked: None }
    }

    /// What is to be asked now, if anything.
    pub(super) fn due(&self, now: Instant) -> Option<&HttpProbe> {
        let probe = self.rule.http.as_ref()?;
        self.asked.is_none_or(|asked| now >= asked + self.pause(probe)).then_some(probe)
    }

    /// What came of asking.
    pub(super) fn answered(&mut self, answer: Result<(), String>, now: Instant) {
        self.was_ready |= self.is_ready(now);
        self.asked = Some(now);
        match answer {
            Ok(()) => {
                self.well.get_or_insert(now);
                (self.failures, self.reason) = (0, None);
            }
            Err(reason) => {
                self.failures = self.failures.saturating_add(1);
                self.reason = Some(format!("not ready: {reason}"));
                if !self.was_ready || self.failures >= FAILURES {
                    self.well = None;
                }
            }
        }
    }

    /// How it stands.
    pub(super) fn standing(&self, now: Instant) -> Readiness {
        if self.is_ready(now) {
            return Readiness { state: ReadinessState::Ready, reason: None };
        }
        let is_late = self.was_ready || now >= self.started + Duration::from_millis(self.rule.deadline_ms);
        let state = match self.well {
            None if is_late => ReadinessState::Failing,
            _ => ReadinessState::Starting,
        };
        let reason = self.reason.clone().unwrap_or_else(|| match self.well {
            Some(_) => format!("not ready: it has to be well for {} ms", self.rule.settle_ms),
            None => "not ready: it was not asked yet".to_owned(),
        });
        Readiness { state, reason: Some(reason) }
    }

    /// When there is something to ask or to tell again; `None` when nothing changes any more.
    pub(super) fn next(&self, now: Instant) -> Option<Instant> {
        let probe = self.rule.http.as_ref().map(|probe| self.asked.map_or(now, |asked| asked + self.pause(probe)));
        let settled = self.well.map(|well| well + self.settle()).filter(|at| *at > now);
        let late = Some(self.started + Duration::from_millis(self.rule.deadline_ms)).filter(|at| *at > now);
        let late = late.filter(|_| self.well.is_none());
        [probe, settled, late].into_iter().flatten().min()
    }

    fn is_ready(&self, now: Instant) -> bool {
        self.well.is_some_and(|well| now >= well + self.settle())
    }

    fn settle(&self) -> Duration {
        Duration::from_millis(self.rule.settle_ms)
    }

    fn pause(&self, probe: &HttpProbe) -> Duration {
        let every = Duration::from_millis(probe.every_ms);
        match (self.well, self.was_ready) {
            (Some(_), _) if self.failures == 0 => every,
            (_, true) => every.min(RETRY),
            _ => FIRST_PAUSE.saturating_mul(1 << self.failures.min(10)).min(every).min(RETRY),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::Instant;
    use trellis_lattice::message::inventory::ReadinessState;
    use trellis_lattice::message::readiness::{HttpProbe, Rule};

    use super::Judge;

    fn rule(settle_ms: u64) -> Rule {
        let path = "/healthz".to_owned();
        let http = HttpProbe { path, host: None, status: None, every_ms: 5_000, timeout_ms: 1_000 };
        Rule { http: Some(http), settle_ms, deadline_ms: 10_000 }
    }

    fn unwell() -> Result<(), String> {
        Err("GET /healthz answered 503".to_owned())
    }

    /// What the judge says after answers at times in milliseconds, and at the time asked for.
    fn check(rule: Rule, answers: &[(u64, bool)], at: u64, expected: ReadinessState) {
        let start = Instant::now();
        let after = |ms| start + Duration::from_millis(ms);
        let mut judge = Judge::new(rule, start);
        for (ms, is_well) in answers {
            judge.answered(if *is_well { Ok(()) } else { unwell() }, after(*ms));
        }
        let standing = judge.standing(after(at));
        assert_eq!(standing.state, expected, "{answers:?} at {at}: {standing:?}");
        assert_eq!(standing.reason.is_none(), expected == ReadinessState::Ready);
    }

    #[test]
    fn it_is_ready_with_the_first_answer_and_fails_when_none_comes_in_time() {
        check(rule(0), &[], 5, ReadinessState::Starting);
        check(rule(0), &[(10, false)], 9_999, ReadinessState::Starting);
        check(rule(0), &[(10, false)], 10_000, ReadinessState::Failing);
        check(rule(0), &[(10, false), (60, true)], 60, ReadinessState::Ready);
        check(rule(0), &[(11_000, false), (12_000, true)], 12_000, ReadinessState::Ready);
    }

    #[test]
    fn three_failures_in_a_row_make_one_that_was_ready_fail() {
        check(rule(0), &[(10, true), (20, false), (30, false)], 40, ReadinessState::Ready);
        check(rule(0), &[(10, true), (20, false), (30, false), (40, false)], 40, ReadinessState::Failing);
        check(rule(0), &[(10, true), (20, false), (30, true), (40, false), (50, false)], 50, ReadinessState::Ready);
    }

    #[test]
    fn what_has_to_settle_is_ready_after_that_without_a_break() {
        check(rule(500), &[(10, true)], 509, ReadinessState::Starting);
        check(rule(500), &[(10, true)], 510, ReadinessState::Ready);
        check(rule(500), &[(10, true), (400, false), (450, true)], 900, ReadinessState::Starting);
        let only_settle = Rule { http: None, ..rule(500) };
        check(only_settle.clone(), &[], 499, ReadinessState::Starting);
        check(only_settle, &[], 500, ReadinessState::Ready);
    }

    #[test]
    fn it_is_asked_often_until_it_was_ready_and_then_at_its_pace() {
        let start = Instant::now();
        let mut judge = Judge::new(rule(0), start);
        assert!(judge.due(start).is_some());
        judge.answered(unwell(), start);
        let pause = |judge: &Judge| judge.next(start).map(|at| at - start);
        assert_eq!(pause(&judge), Some(Duration::from_millis(100)));
        judge.answered(unwell(), start);
        assert_eq!(pause(&judge), Some(Duration::from_millis(200)));
        judge.answered(Ok(()), start);
        assert_eq!(pause(&judge), Some(Duration::from_secs(5)));
        assert!(judge.due(start).is_none());
    }

    #[test]
    fn what_only_settles_is_looked_at_no_more_once_it_has() {
        let start = Instant::now();
        let judge = Judge::new(Rule { http: None, ..rule(500) }, start);
        let settled = start + Duration::from_millis(500);
        assert_eq!((judge.next(start), judge.next(settled)), (Some(settled), None));
    }
}
