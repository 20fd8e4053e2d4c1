//! What may be gone from hosts although they did not say so: until an answer shows what came of a command, no more is
//! sure to be there than it leaves. Otherwise a plan that is made while one instance is being stopped would rely on it,
//! and stop another one.
//!
//! The commands of whoever acted before are not known. Of what was asked before that one was over, and of what a host is
//! still at work on, nothing is sure.

use std::collections::BTreeMap;

use tokio::time::Instant;
use trellis_lattice::error::Result;
use trellis_lattice::id::{EntityId, HostId};

use super::flight::Flight;
use super::is_unknown;
use super::validity::OVER;
use crate::observe::{Observed, SeenHost, Sight};
use crate::plan::{Action, Deed};

/// The commands whose outcome no answer of their host has shown yet.
#[derive(Debug, Default)]
pub(super) struct Leaving {
    commands: BTreeMap<HostId, BTreeMap<EntityId, Vec<Command>>>,
    /// Since when this wadm acts.
    acting: Option<Instant>,
}

/// A command that was sent.
#[derive(Debug)]
struct Command {
    flight: u64,
    /// How many instances it leaves.
    leaves: u32,
    pending: Pending,
}

/// How far a command is whose outcome its host has not shown yet.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pending {
    sent: Instant,
    /// When the host said that it took it.
    taken: Option<Instant>,
}

impl Pending {
    /// A command that is sent now.
    pub(super) fn sent(sent: Instant) -> Self {
        Self { sent, taken: None }
    }

    /// Its host says that it took it.
    pub(super) fn taken(&mut self) {
        self.taken = Some(Instant::now());
    }

    /// Whether what the host said last was asked when this was over, one way or the other. What was asked at the very
    /// moment at which the command was taken may have been asked before.
    pub(super) fn is_answered(&self, seen: &SeenHost, id: &EntityId) -> bool {
        let Some(asked) = seen.asked else { return false };
        let is_done = seen.inventory.as_ref().and_then(|answer| answer.is_underway(id)) == Some(false);
        asked >= self.sent + OVER || (is_done && self.taken.is_some_and(|taken| asked > taken))
    }
}

impl Leaving {
    /// A command is sent.
    pub(super) fn sent(&mut self, action: &Action, flight: u64, now: Instant) {
        let Some((host, id)) = Flight::place(action) else { return };
        let leaves = match &action.deed {
            Deed::ScaleActor(actor) | Deed::UpdateActor(actor) => actor.count,
            Deed::StopActor { .. } | Deed::StopProvider { .. } => 0,
            _ => return,
        };
        let command = Command { flight, leaves, pending: Pending::sent(now) };
        self.commands.entry(host.clone()).or_default().entry(id.clone()).or_default().push(command);
    }

    /// A command was acknowledged or not.
    pub(super) fn acknowledged(&mut self, flight: u64, result: &Result<()>) {
        match result {
            Ok(()) => {
                let commands = self.commands.values_mut().flat_map(BTreeMap::values_mut).flatten();
                commands.filter(|command| command.flight == flight).for_each(|command| command.pending.taken());
            }
            Err(error) if is_unknown(error) => {}
            Err(_) => self.retain(|_, _, command| command.flight != flight),
        }
    }

    /// Forgets what a look answers.
    pub(super) fn look(&mut self, sight: &Sight) {
        self.retain(|host, id, command| {
            sight.hosts.get(host).is_some_and(|seen| !command.pending.is_answered(seen, id))
        });
    }

    /// Somebody else acted until now.
    pub(super) fn take_over(&mut self, now: Instant) {
        self.acting = Some(now);
    }

    /// Adds it to a look.
    pub(super) fn complete(&self, observed: &mut Observed, sight: &Sight) {
        for (host, seen) in &sight.hosts {
            let left = self.left(host, seen);
            if !left.is_empty() {
                observed.leaving.insert(host.clone(), left);
            }
        }
    }

    /// How many of what a host runs are left at least, where that is not what it said.
    fn left(&self, host: &HostId, seen: &SeenHost) -> BTreeMap<EntityId, u32> {
        let Some(answer) = &seen.inventory else { return BTreeMap::new() };
        let is_old = |asked: Instant| self.acting.is_some_and(|acting| asked < acting);
        if seen.asked.is_none_or(is_old) {
            return answer.ids().map(|id| (id.clone(), 0)).collect();
        }
        let mut left: BTreeMap<EntityId, u32> = answer.underway().map(|id| (id.clone(), 0)).collect();
        for (id, commands) in self.commands.get(host).into_iter().flatten() {
            left.extend(commands.iter().map(|command| command.leaves).min().map(|least| (id.clone(), least)));
        }
        left
    }

    fn retain(&mut self, keeps: impl Fn(&HostId, &EntityId, &Command) -> bool) {
        self.commands.retain(|host, ids| {
            ids.retain(|id, commands| {
                commands.retain(|command| keeps(host, id, command));
                !commands.is_empty()
            });
            !ids.is_empty()
        });
    }
}
