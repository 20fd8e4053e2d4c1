//! The actions that were sent, and what came of them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use tokio::time::Instant;
use tracing::warn;
use trellis_lattice::error::Result;
use trellis_lattice::id::{BootId, HostId};

use super::OUTCOME;
use super::flight::{Flight, Phase, Verdict};
use super::queue::Hold;
use crate::clock::Clock;
use crate::intent::AppName;
use crate::observe::{Attempt, AttemptState, Backoff, Sight, Told};
use crate::plan::{Action, ActionKey, Plan, Stage};

/// All flights, and the attempts that planning is told of.
pub(super) struct Ledger {
    clock: Clock,
    dice: StdRng,
    backoff: Backoff,
    entries: BTreeMap<ActionKey, Entry>,
    /// The keys of actions on each host.
    by_host: BTreeMap<HostId, BTreeSet<ActionKey>>,
    /// How many of each stage of an application are not acknowledged, and how many failed.
    holds: BTreeMap<AppName, BTreeMap<Stage, Counts>>,
    /// The runs of hosts as of the last look.
    boots: BTreeMap<HostId, BootId>,
    flights: u64,
}

struct Entry {
    flight: Flight,
    attempt: Attempt,
    /// The last look came after it was done.
    is_due: bool,
}

#[derive(Default)]
struct Counts {
    unacknowledged: usize,
    failed: usize,
}

impl Counts {
    fn of(&mut self, phase: Phase) -> Option<&mut usize> {
        match phase {
            Phase::Commanding => Some(&mut self.unacknowledged),
            Phase::Resting => Some(&mut self.failed),
            Phase::Taken { .. } | Phase::Done { .. } => None,
        }
    }
}

impl Ledger {
    pub(super) fn new(clock: Clock, seed: u64) -> Self {
        Self {
            clock,
            dice: StdRng::seed_from_u64(seed),
            backoff: Backoff::default(),
            entries: BTreeMap::new(),
            by_host: BTreeMap::new(),
            holds: BTreeMap::new(),
            boots: BTreeMap::new(),
            flights: 0,
        }
    }

    pub(super) fn attempts(&self) -> BTreeMap<ActionKey, Attempt> {
        self.entries.iter().map(|(key, entry)| (key.clone(), entry.attempt.clone())).collect()
    }

    pub(super) fn clear(&mut self) {
        self.entries.clear();
        self.by_host.clear();
        self.holds.clear();
    }

    /// Whether `action` is under way. What was taken for something else of the same key, as of an earlier generation,
    /// does not hold it up; a command that nobody acknowledged yet does.
    pub(super) fn is_under_way(&self, action: &Action) -> bool {
        self.entries.get(&action.key).is_some_and(|entry| match entry.flight.phase {
            Phase::Commanding => true,
            Phase::Taken { .. } | Phase::Done { .. } => entry.flight.action == *action,
            Phase::Resting => false,
        })
    }

    /// How often what has `key` failed.
    pub(super) fn failures(&self, key: &ActionKey) -> u32 {
        self.entries.get(key).map_or(0, |entry| entry.attempt.failures)
    }

    /// What keeps `app` from going on.
    pub(super) fn hold(&self, app: &AppName) -> Hold {
        let stages = || self.holds.get(app).into_iter().flatten();
        Hold {
            unacknowledged: stages().find(|(_, counts)| counts.unacknowledged > 0).map(|(stage, _)| *stage),
            failed: stages().find(|(_, counts)| counts.failed > 0).map(|(stage, _)| *stage),
        }
    }

    /// An action is sent; gives the number of its flight.
    pub(super) fn sent(&mut self, action: &Action) -> u64 {
        self.flights += 1;
        let boot = Flight::place(action).and_then(|(host, _)| self.boots.get(host).copied());
        let earlier = self.remove(&action.key).map(|entry| entry.attempt);
        let attempt = Attempt::sent(earlier.as_ref(), action.generation, self.clock.now() + OUTCOME);
        let flight = Flight::new(self.flights, action.clone(), boot);
        self.insert(Entry { flight, attempt, is_due: false });
        self.flights
    }

    fn insert(&mut self, entry: Entry) {
        let action = &entry.flight.action;
        if let Some((host, _)) = Flight::place(action) {
            self.by_host.entry(host.clone()).or_default().insert(action.key.clone());
        }
        let counts = self.holds.entry(action.app.clone()).or_default().entry(action.stage).or_default();
        if let Some(count) = counts.of(entry.flight.phase) {
            *count += 1;
        }
        self.entries.insert(action.key.clone(), entry);
    }

    fn remove(&mut self, key: &ActionKey) -> Option<Entry> {
        let entry = self.entries.remove(key)?;
        let action = &entry.flight.action;
        if let Some((host, _)) = Flight::place(action)
            && let Some(keys) = self.by_host.get_mut(host)
        {
            keys.remove(key);
            if keys.is_empty() {
                let host = host.clone();
                self.by_host.remove(&host);
            }
        }
        let counts = self.holds.get_mut(&action.app).and_then(|stages| stages.get_mut(&action.stage));
        if let Some(count) = counts.and_then(|counts| counts.of(entry.flight.phase)) {
            *count -= 1;
        }
        Some(entry)
    }

    /// Takes an entry out, and puts it back as `change` leaves it.
    fn change(&mut self, key: &ActionKey, change: impl FnOnce(&mut Entry)) {
        if let Some(mut entry) = self.remove(key) {
            change(&mut entry);
            self.insert(entry);
        }
    }

    /// A command was acknowledged or not; whether that is a failure.
    pub(super) fn acknowledged(&mut self, key: &ActionKey, flight: u64, result: Result<()>) -> bool {
        let now = Instant::now();
        let known = self.entries.get(key).map(|entry| &entry.flight).filter(|known| known.number == flight);
        let Some(known) = known.filter(|known| known.phase == Phase::Commanding) else { return false };
        let is_on_host = Flight::place(&known.action).is_some();
        match result {
            Ok(()) => {
                let phase = if is_on_host { Phase::Taken { since: now } } else { Phase::Done { since: now } };
                self.change(key, |entry| entry.flight.phase = phase);
                false
            }
            Err(error) => {
                self.fail(key, &error.to_string());
                true
            }
        }
    }

    /// A host told something; whether that is a failure.
    pub(super) fn told(&mut self, told: &Told) -> bool {
        let about = self.by_host.get(&told.host).into_iter().flatten();
        let verdicts = about.filter_map(|key| Some((key.clone(), self.entries.get(key)?.flight.told(told))));
        let verdicts: Vec<_> = verdicts.filter(|(_, verdict)| *verdict != Verdict::Open).collect();
        let is_failure = verdicts.iter().any(|(_, verdict)| matches!(verdict, Verdict::Failed(_)));
        self.apply(verdicts);
        is_failure
    }

    /// What a look says.
    pub(super) fn look(&mut self, sight: &Sight) {
        let verdicts = self.entries.iter().map(|(key, entry)| (key.clone(), entry.flight.look(sight)));
        let verdicts = verdicts.filter(|(_, verdict)| *verdict != Verdict::Open).collect();
        self.apply(verdicts);
        self.boots = sight.hosts.iter().filter_map(|(host, seen)| Some((host.clone(), seen.boot?))).collect();
    }

    /// Drops what `plan`, made from the last look, no longer asks for, and what it still asks for has failed if it
    /// should have been seen.
    pub(super) fn compare(&mut self, plan: &Plan) {
        let actions = plan.actions.iter().map(|action| &action.key);
        let waits = plan.waits.iter().filter_map(|wait| wait.key.as_ref());
        let planned: BTreeSet<&ActionKey> = actions.chain(waits).collect();
        let is_over =
            |key: &ActionKey, entry: &Entry| !planned.contains(key) && entry.flight.phase != Phase::Commanding;
        let over = self.entries.iter().filter(|(key, entry)| is_over(key, entry)).map(|(key, _)| key.clone());
        for key in over.collect::<Vec<_>>() {
            self.remove(&key);
        }
        let due: Vec<_> = self.entries.iter().filter(|(_, entry)| entry.is_due).map(|(key, _)| key.clone()).collect();
        for key in due {
            self.fail(&key, "it was done, they said, and it is not to be seen");
        }
    }

    /// When a look is due after `now`, if nothing happens until then. What was due before waits for something else than
    /// time.
    pub(super) fn next_due(&self, now: Instant) -> Option<Instant> {
        let looks = self.entries.values().filter(|entry| !entry.is_due).filter_map(|entry| entry.flight.due());
        let again = self.entries.values().filter_map(|entry| match entry.attempt.state {
            AttemptState::Failed { again_at } => Some(self.clock.instant(again_at)),
            _ => None,
        });
        looks.chain(again).filter(|due| *due > now).min()
    }

    fn apply(&mut self, verdicts: Vec<(ActionKey, Verdict)>) {
        for (key, verdict) in verdicts {
            match verdict {
                Verdict::Open => {}
                Verdict::Done => {
                    let phase = Phase::Done { since: Instant::now() };
                    self.change(&key, |entry| entry.flight.phase = phase);
                }
                Verdict::Due => self.change(&key, |entry| entry.is_due = true),
                Verdict::Failed(why) => self.fail(&key, &why),
            }
        }
    }

    fn fail(&mut self, key: &ActionKey, why: &str) {
        let now = self.clock.now();
        let Some(attempt) = self.entries.get(key).map(|entry| entry.attempt.clone()) else { return };
        let mut attempt = attempt.failed(why, now, self.backoff);
        if let AttemptState::Failed { again_at } = &mut attempt.state {
            let pause = again_at.saturating_sub(now);
            *again_at += jitter(&mut self.dice, pause);
        }
        warn!(key = %key, failures = attempt.failures, error = why, "action failed");
        self.change(key, |entry| {
            entry.flight.phase = Phase::Resting;
            entry.is_due = false;
            entry.attempt = attempt;
        });
    }
}

/// Up to a quarter of the pause, so that what failed together does not come again together.
fn jitter(dice: &mut StdRng, pause: Duration) -> Duration {
    pause.mul_f64(dice.random_range(0.0..0.25))
}
