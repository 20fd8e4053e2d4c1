//! What a timer does next: decided from the record that all instances share, the schedule and the time. Pure.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::clock::UnixMs;
use crate::schedule::Schedule;

/// What the instances share of one timer: the last firing, and how far it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Record {
    /// The schedule that it is about; another one begins anew.
    pub(crate) schedule: String,
    /// When the last firing was due; at first, when the timer was made.
    pub(crate) scheduled_ms: UnixMs,
    /// Firings before that one that were left out since the last that was not.
    pub(crate) missed: u32,
    /// How far it is.
    pub(crate) state: State,
}

/// How far a firing is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum State {
    /// Over, well or not. Leads to `Held` with the next firing.
    Done {
        /// Since when: what became due before that did so while it went on.
        ended_ms: UnixMs,
    },
    /// An instance is at it. Leads to `Done`, or to another holder when it is not heard of any more.
    Held {
        /// The instance.
        holder: String,
        /// Which attempt it is, from 1.
        attempt: u32,
    },
}

/// What happens to a firing for which nobody was there in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Missed {
    /// It is left out.
    Skip,
    /// The last one is made up for.
    Once,
}

/// What happens to a firing that becomes due while the one before goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Overlap {
    /// It is left out.
    Skip,
    /// The last one happens right afterwards.
    Queue,
}

/// What decides between them.
#[derive(Debug, Clone)]
pub(crate) struct Policy {
    /// What makes the schedule another one.
    pub(crate) text: String,
    /// When it is due.
    pub(crate) schedule: Schedule,
    /// When nobody was there.
    pub(crate) missed: Missed,
    /// When the one before goes on.
    pub(crate) overlap: Overlap,
    /// How late a firing may be and still be in time.
    pub(crate) grace: Duration,
    /// By how much firings are put off at most.
    pub(crate) jitter: Duration,
}

/// What an instance does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Decision {
    /// Nothing until this time.
    Wait(UnixMs),
    /// Nothing, ever: the schedule has come to its end.
    Never,
    /// Write this, and look again.
    Note(Record),
    /// Write this, and if nobody else was first, call the actor.
    Fire(Record),
    /// Another instance is at it.
    Watch,
}

impl Policy {
    /// What the instance `me` does at `now`, given the record.
    pub(crate) fn decide(&self, record: Option<&Record>, me: &str, now: UnixMs) -> Decision {
        let Some(record) = record.filter(|record| record.schedule == self.text) else {
            return Decision::Note(self.record(now, 0, State::Done { ended_ms: now }));
        };
        let State::Done { ended_ms } = record.state else { return Decision::Watch };
        let Some(due) = self.schedule.next(record.scheduled_ms) else { return Decision::Never };
        let begins = due.saturating_add(self.put_off(due));
        if now < begins {
            return Decision::Wait(begins);
        }
        let last = self.schedule.last(now).unwrap_or(due).max(due);
        let missed = record.missed.saturating_add(self.schedule.count(record.scheduled_ms, last));
        let fires = if last <= ended_ms {
            self.overlap == Overlap::Queue
        } else {
            self.is_in_time(last, now) || self.missed == Missed::Once
        };
        if fires {
            Decision::Fire(self.record(last, missed, held(me, 1)))
        } else {
            Decision::Note(self.record(last, missed.saturating_add(1), State::Done { ended_ms }))
        }
    }

    /// What the instance `me` does when the holder of `record` is not heard of any more: another attempt, unless the
    /// next firing is due.
    pub(crate) fn take_over(&self, record: &Record, me: &str, now: UnixMs) -> Decision {
        let State::Held { attempt, .. } = &record.state else { return Decision::Watch };
        if self.is_next_due(record, now) {
            let ended_ms = record.scheduled_ms;
            return Decision::Note(Record { missed: 0, state: State::Done { ended_ms }, ..record.clone() });
        }
        Decision::Fire(Record { state: held(me, attempt.saturating_add(1)), ..record.clone() })
    }

    /// Whether the firing after that of `record` is due at `now`.
    pub(crate) fn is_next_due(&self, record: &Record, now: UnixMs) -> bool {
        self.schedule.next(record.scheduled_ms).is_some_and(|next| next <= now)
    }

    fn record(&self, scheduled_ms: UnixMs, missed: u32, state: State) -> Record {
        Record { schedule: self.text.clone(), scheduled_ms, missed, state }
    }

    /// What became due is in time for as long as `grace`, but no longer than half of the time to the next.
    fn is_in_time(&self, due: UnixMs, now: UnixMs) -> bool {
        let half = self.schedule.next(due).map_or(u64::MAX, |next| (next - due) / 2);
        let grace = u64::try_from(self.grace.as_millis()).unwrap_or(u64::MAX);
        now.saturating_sub(due).saturating_sub(self.put_off(due)) <= grace.min(half)
    }

    /// By how much a firing is put off: another time for each, the same on all hosts.
    fn put_off(&self, due: UnixMs) -> u64 {
        let most = u64::try_from(self.jitter.as_millis()).unwrap_or(u64::MAX);
        // A multiplier that mixes well (SplitMix64's); the timer's text sets timers of one schedule apart.
        let seed = self.text.bytes().fold(due, |seed, byte| seed.rotate_left(5) ^ u64::from(byte));
        let mixed = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15);
        ((u128::from(mixed) * u128::from(most)) >> 64) as u64
    }
}

/// Held by `me`.
fn held(me: &str, attempt: u32) -> State {
    State::Held { holder: me.to_owned(), attempt }
}

#[cfg(test)]
mod tests {
    use super::{Decision, Missed, Overlap, Policy, Record, State, held};
    use crate::schedule::Schedule;
    use std::time::Duration;

    /// Due at every whole 10 s.
    fn policy(missed: Missed, overlap: Overlap) -> Policy {
        Policy {
            text: "every 10s".into(),
            schedule: Schedule::Every(Duration::from_secs(10)),
            missed,
            overlap,
            grace: Duration::from_secs(2),
            jitter: Duration::ZERO,
        }
    }

    fn record(scheduled_ms: u64, missed: u32, state: State) -> Record {
        Record { schedule: "every 10s".into(), scheduled_ms, missed, state }
    }

    fn done(scheduled_ms: u64, ended_ms: u64) -> Record {
        record(scheduled_ms, 0, State::Done { ended_ms })
    }

    fn fire(scheduled_ms: u64, missed: u32) -> Decision {
        Decision::Fire(record(scheduled_ms, missed, held("me", 1)))
    }

    #[test]
    fn a_timer_begins_with_the_first_time_after_it_was_made() {
        let policy = policy(Missed::Once, Overlap::Queue);
        let made = Decision::Note(done(25_000, 25_000));
        assert_eq!(policy.decide(None, "me", 25_000), made);
        assert_eq!(policy.decide(Some(&done(25_000, 25_000)), "me", 25_000), Decision::Wait(30_000));
        assert_eq!(policy.decide(Some(&done(25_000, 25_000)), "me", 30_000), fire(30_000, 0));
        let other = Record { schedule: "every 7s".into(), ..done(0, 0) };
        assert_eq!(policy.decide(Some(&other), "me", 25_000), made, "a schedule that changed begins anew");
    }

    #[test]
    fn what_is_in_time_fires_once() {
        let policy = policy(Missed::Skip, Overlap::Skip);
        for late in [0, 1, 2_000] {
            assert_eq!(policy.decide(Some(&done(20_000, 20_100)), "me", 30_000 + late), fire(30_000, 0));
        }
        assert_eq!(policy.decide(Some(&done(30_000, 30_100)), "me", 30_200), Decision::Wait(40_000));
        let held = record(30_000, 0, held("other", 1));
        assert_eq!(policy.decide(Some(&held), "me", 30_000), Decision::Watch);
    }

    #[test]
    fn what_was_missed_is_left_out_or_made_up_for_once() {
        let known = done(20_000, 20_100);
        let skip = policy(Missed::Skip, Overlap::Skip);
        assert_eq!(
            skip.decide(Some(&known), "me", 55_000),
            Decision::Note(record(50_000, 3, State::Done { ended_ms: 20_100 }))
        );
        assert_eq!(policy(Missed::Once, Overlap::Skip).decide(Some(&known), "me", 55_000), fire(50_000, 2));
        assert_eq!(skip.decide(Some(&known), "me", 51_000), fire(50_000, 2), "the last one is in time");
        let counted = record(50_000, 3, State::Done { ended_ms: 20_100 });
        assert_eq!(skip.decide(Some(&counted), "me", 60_000), fire(60_000, 3), "and tells of those before");
    }

    #[test]
    fn what_became_due_meanwhile_is_left_out_or_comes_right_afterwards() {
        let known = done(20_000, 45_000);
        let left_out = Decision::Note(record(40_000, 2, State::Done { ended_ms: 45_000 }));
        assert_eq!(policy(Missed::Once, Overlap::Skip).decide(Some(&known), "me", 45_000), left_out);
        assert_eq!(policy(Missed::Skip, Overlap::Queue).decide(Some(&known), "me", 45_000), fire(40_000, 1));
    }

    #[test]
    fn a_firing_whose_holder_is_gone_is_tried_again_until_the_next_is_due() {
        let policy = policy(Missed::Skip, Overlap::Skip);
        let lost = record(30_000, 4, held("other", 1));
        let again = Decision::Fire(record(30_000, 4, held("me", 2)));
        assert_eq!(policy.take_over(&lost, "me", 39_999), again);
        assert_eq!(policy.take_over(&lost, "me", 40_000), Decision::Note(done(30_000, 30_000)));
        assert_eq!(policy.decide(Some(&done(30_000, 30_000)), "me", 40_000), fire(40_000, 0));
    }

    #[test]
    fn jitter_puts_off_by_the_same_time_everywhere() {
        let policy = Policy { jitter: Duration::from_secs(4), ..policy(Missed::Skip, Overlap::Skip) };
        let mut delays = std::collections::BTreeSet::new();
        for due in (1..50).map(|number| number * 10_000) {
            let Decision::Wait(begins) = policy.decide(Some(&done(due - 10_000, due - 10_000)), "me", due - 1) else {
                panic!("{due} is put off");
            };
            assert!((due..due + 4_000).contains(&begins));
            assert_eq!(policy.decide(Some(&done(due - 10_000, due - 10_000)), "you", begins), {
                Decision::Fire(record(due, 0, held("you", 1)))
            });
            delays.insert(begins - due);
        }
        assert!(delays.len() > 20, "{delays:?}");
    }

    #[test]
    fn a_schedule_may_have_an_end() {
        let never = crate::schedule::parse_cron("0 0 30 2 *").expect("is well formed");
        let schedule = Schedule::Cron(Box::new(never), jiff::tz::TimeZone::UTC);
        let policy = Policy { schedule, ..policy(Missed::Skip, Overlap::Skip) };
        assert_eq!(policy.decide(Some(&done(0, 0)), "me", 1), Decision::Never);
    }
}
