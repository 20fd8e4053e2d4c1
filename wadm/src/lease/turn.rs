//! Whose turn it is, as a state machine: what was seen of the record, and what follows from it. No clock of its own,
//! and never anybody else's.

use std::time::Duration;

use tokio::time::Instant;
use trellis_lattice::message::lease::{Lease, LeaseState};
use trellis_lattice::store::Revision;

use super::{Candidate, Grant, Rivals};

/// What this wadm knows of the lease.
#[derive(Debug)]
pub(super) struct Turn {
    candidate: Candidate,
    seen: Seen,
    /// When the record last changed, as far as this wadm saw; when it began to look, before that.
    changed: Instant,
    /// No token up to this one is taken again.
    highest: u64,
    held: Option<Held>,
}

/// The record as it was last seen.
#[derive(Debug)]
enum Seen {
    /// Nothing was ever there.
    Nothing,
    /// It was there, and was deleted or changed under our hands.
    Lost,
    /// It was there; without a lease if it could not be read as one.
    There(Revision, Option<Lease>),
}

/// The lease is ours.
#[derive(Debug)]
struct Held {
    token: u64,
    /// When the write of the last renewal that is known to have succeeded was begun.
    renewed: Instant,
}

/// What to do now.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Nothing before this instant, unless the record changes.
    Wait(Instant),
    /// Write this record over the one that was seen.
    Write(Lease),
}

impl Turn {
    pub(super) fn new(candidate: Candidate, now: Instant) -> Self {
        let highest = candidate.lowest_token.saturating_sub(1);
        Self { candidate, seen: Seen::Nothing, changed: now, highest, held: None }
    }

    /// What a write must find.
    pub(super) fn expected(&self) -> Option<Revision> {
        match &self.seen {
            Seen::There(revision, _) => Some(*revision),
            Seen::Nothing | Seen::Lost => None,
        }
    }

    /// The record was read. Older revisions than one that was seen are ignored: stores may answer from the past.
    pub(super) fn saw(&mut self, revision: Revision, lease: Option<Lease>, now: Instant) {
        if self.expected().is_some_and(|known| revision <= known) {
            return;
        }
        self.highest = self.highest.max(lease.as_ref().map_or(0, |lease| lease.token));
        if lease.as_ref().is_none_or(|lease| !self.is_ours(lease)) && self.held.take().is_some() {
            // Whatever the settings say: there is somebody else.
            self.candidate.rivals = Rivals::Possible;
        }
        self.seen = Seen::There(revision, lease);
        self.changed = now;
    }

    /// There is no record, although there may have been one: whoever held it wrote it again or is gone.
    pub(super) fn saw_nothing(&mut self, now: Instant) {
        if matches!(self.seen, Seen::There(..)) {
            self.seen = Seen::Lost;
            self.changed = now;
        }
    }

    /// A write that was begun at `begun` has succeeded.
    pub(super) fn wrote(&mut self, revision: Revision, lease: Lease, begun: Instant) {
        let token = lease.token;
        self.highest = self.highest.max(token);
        let is_held = lease.state == LeaseState::Held;
        self.seen = Seen::There(revision, Some(lease));
        self.changed = begun;
        self.held = is_held.then_some(Held { token, renewed: begun });
    }

    /// A write found another record than the one that was seen. Until it is read, its holder is given its time; and
    /// as a store that lost its records counts revisions anew, any revision is news.
    pub(super) fn conflicted(&mut self, now: Instant) {
        self.seen = Seen::Lost;
        self.changed = now;
    }

    /// Hosts know a higher token: ours is worth nothing.
    pub(super) fn overtaken(&mut self, token: u64) {
        if token > self.highest {
            self.highest = token;
        }
        if self.held.as_ref().is_some_and(|held| held.token < token) {
            self.held = None;
        }
    }

    /// The right to act, if there is one.
    pub(super) fn grant(&self) -> Option<Grant> {
        let timing = self.candidate.timing;
        let held = self.held.as_ref()?;
        Some(Grant { token: held.token, until: held.renewed + timing.duration.saturating_sub(timing.margin) })
    }

    /// What to do at `now`.
    pub(super) fn step(&mut self, now: Instant) -> Step {
        let timing = self.candidate.timing;
        if self.held.as_ref().is_some_and(|held| now >= held.renewed + timing.duration) {
            self.held = None;
        }
        if let Some(held) = &self.held {
            let due = held.renewed + timing.renew_every;
            return if now >= due { Step::Write(self.renewal()) } else { Step::Wait(due) };
        }
        let free = self.free_at();
        if now >= free { Step::Write(self.claim()) } else { Step::Wait(free) }
    }

    /// The record that lays the lease down, if it is ours.
    pub(super) fn release(&self) -> Option<Lease> {
        self.held.as_ref()?;
        Some(Lease { state: LeaseState::Released, ..self.renewal() })
    }

    /// When the lease may be taken, if nothing changes.
    fn free_at(&self) -> Instant {
        if self.candidate.rivals == Rivals::Impossible {
            return self.changed;
        }
        match &self.seen {
            Seen::Nothing => self.changed,
            // Whoever has just lost its record gets a full term as well.
            Seen::Lost | Seen::There(_, None) => self.changed + self.candidate.timing.duration,
            Seen::There(_, Some(lease)) if lease.state == LeaseState::Released || self.is_ours(lease) => self.changed,
            Seen::There(_, Some(lease)) => self.changed + Duration::from_millis(lease.duration_ms).min(LONGEST),
        }
    }

    fn is_ours(&self, lease: &Lease) -> bool {
        lease.holder == self.candidate.holder
    }

    fn claim(&self) -> Lease {
        let duration_ms = u64::try_from(self.candidate.timing.duration.as_millis()).unwrap_or(u64::MAX);
        Lease {
            holder: self.candidate.holder.clone(),
            token: self.highest + 1,
            duration_ms,
            renewal: 0,
            state: LeaseState::Held,
        }
    }

    fn renewal(&self) -> Lease {
        let token = self.held.as_ref().map_or(self.highest, |held| held.token);
        let renewal = match &self.seen {
            Seen::There(_, Some(lease)) => lease.renewal + 1,
            _ => 1,
        };
        Lease { token, renewal, ..self.claim() }
    }
}

/// No record keeps others out for longer, whatever it says.
const LONGEST: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::Instant;
    use trellis_lattice::message::lease::{Lease, LeaseState};
    use trellis_lattice::store::Revision;

    use super::{Step, Turn};
    use crate::lease::{Candidate, Rivals, Timing};

    fn turn(holder: &str, rivals: Rivals, now: Instant) -> Turn {
        let candidate = Candidate { holder: holder.to_owned(), timing: Timing::default(), rivals, lowest_token: 1 };
        Turn::new(candidate, now)
    }

    fn lease(holder: &str, token: u64, state: LeaseState) -> Lease {
        Lease { holder: holder.to_owned(), token, duration_ms: 2_000, renewal: 0, state }
    }

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn a_held_lease_is_taken_a_full_term_after_it_last_changed_and_not_before() {
        let start = Instant::now();
        let mut turn = turn("b", Rivals::Possible, start);
        turn.saw(Revision(1), Some(lease("a", 4, LeaseState::Held)), start + ms(100));
        assert_eq!(turn.step(start + ms(2_099)), Step::Wait(start + ms(2_100)));
        turn.saw(Revision(2), Some(lease("a", 4, LeaseState::Held)), start + ms(2_099));
        assert_eq!(turn.step(start + ms(2_100)), Step::Wait(start + ms(4_099)));
        assert_eq!(turn.step(start + ms(4_099)), Step::Write(lease("b", 5, LeaseState::Held)));
    }

    #[test]
    fn a_released_lease_is_taken_at_once_with_a_higher_token() {
        let start = Instant::now();
        let mut turn = turn("b", Rivals::Possible, start);
        turn.saw(Revision(1), Some(lease("a", 4, LeaseState::Released)), start);
        assert_eq!(turn.step(start), Step::Write(lease("b", 5, LeaseState::Held)));
    }

    #[test]
    fn an_earlier_run_of_the_only_wadm_holds_nothing_up() {
        let start = Instant::now();
        let mut turn = turn("b", Rivals::Impossible, start);
        turn.saw(Revision(1), Some(lease("a", 4, LeaseState::Held)), start);
        assert_eq!(turn.step(start), Step::Write(lease("b", 5, LeaseState::Held)));
    }

    #[test]
    fn who_loses_the_lease_to_a_rival_believes_that_there_is_one() {
        let start = Instant::now();
        let mut turn = turn("b", Rivals::Impossible, start);
        turn.wrote(Revision(1), lease("b", 1, LeaseState::Held), start);
        turn.saw(Revision(2), Some(lease("a", 2, LeaseState::Held)), start);
        assert_eq!(turn.step(start), Step::Wait(start + ms(2_000)));
    }

    #[test]
    fn a_renewal_keeps_the_token_and_the_grant_ends_a_margin_before_the_lease() {
        let start = Instant::now();
        let mut turn = turn("a", Rivals::Possible, start);
        turn.wrote(Revision(1), lease("a", 3, LeaseState::Held), start);
        let grant = turn.grant().expect("held");
        assert_eq!((grant.token, grant.until), (3, start + ms(1_500)));
        assert_eq!(turn.step(start), Step::Wait(start + ms(500)));
        let Step::Write(renewed) = turn.step(start + ms(500)) else { panic!("a renewal") };
        assert_eq!((renewed.token, renewed.renewal), (3, 1));
    }

    #[test]
    fn who_cannot_renew_steps_down_and_takes_a_new_token() {
        let start = Instant::now();
        let mut turn = turn("a", Rivals::Possible, start);
        turn.wrote(Revision(1), lease("a", 3, LeaseState::Held), start);
        let Step::Write(claimed) = turn.step(start + ms(2_000)) else { panic!("a claim") };
        assert_eq!((turn.grant(), claimed.token), (None, 4));
    }

    #[test]
    fn the_past_is_not_believed() {
        let start = Instant::now();
        let mut turn = turn("b", Rivals::Possible, start);
        turn.saw(Revision(9), Some(lease("a", 4, LeaseState::Held)), start);
        turn.saw(Revision(3), Some(lease("c", 2, LeaseState::Released)), start + ms(10));
        assert_eq!(turn.step(start + ms(10)), Step::Wait(start + ms(2_000)));
    }

    #[test]
    fn where_nobody_ever_held_it_it_is_taken_at_once() {
        let start = Instant::now();
        let mut turn = turn("b", Rivals::Possible, start);
        turn.saw_nothing(start);
        assert_eq!(turn.step(start), Step::Write(lease("b", 1, LeaseState::Held)));
    }

    #[test]
    fn a_conflict_makes_any_revision_news() {
        let start = Instant::now();
        let mut turn = turn("b", Rivals::Possible, start);
        turn.saw(Revision(9), Some(lease("a", 4, LeaseState::Held)), start);
        turn.conflicted(start + ms(10));
        turn.saw(Revision(1), Some(lease("c", 5, LeaseState::Held)), start + ms(20));
        assert_eq!(turn.expected(), Some(Revision(1)));
        assert_eq!(turn.step(start + ms(20)), Step::Wait(start + ms(2_020)));
    }

    #[test]
    fn a_lost_record_gives_its_holder_a_term_and_does_not_reset_tokens() {
        let start = Instant::now();
        let mut turn = turn("b", Rivals::Possible, start);
        turn.saw(Revision(9), Some(lease("a", 4, LeaseState::Held)), start);
        turn.saw_nothing(start + ms(100));
        assert_eq!(turn.step(start + ms(100)), Step::Wait(start + ms(2_100)));
        assert_eq!(turn.step(start + ms(2_100)), Step::Write(lease("b", 5, LeaseState::Held)));
    }

    #[test]
    fn a_token_that_hosts_know_better_is_given_up() {
        let start = Instant::now();
        let mut turn = turn("a", Rivals::Possible, start);
        turn.wrote(Revision(1), lease("a", 3, LeaseState::Held), start);
        turn.overtaken(40);
        assert_eq!(turn.grant(), None);
        assert_eq!(turn.step(start), Step::Write(lease("a", 41, LeaseState::Held)));
    }
}
