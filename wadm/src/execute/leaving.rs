//! What may be gone from hosts although they did not say so: until an answer shows what came of a command, no more is
//! sure to be there than it leaves. Otherwise a plan that is made while one instance is being stopped would rely on it,
//! and stop another one.

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
pub(super) struct Leaving(BTreeMap<HostId, BTreeMap<EntityId, Vec<Command>>>);

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
        self.0.entry(host.clone()).or_default().entry(id.clone()).or_default().push(command);
    }

    /// A command was acknowledged or not.
    pub(super) fn acknowledged(&mut self, flight: u64, result: &Result<()>) {
        match result {
            Ok(()) => {
                let commands = self.0.values_mut().flat_map(BTreeMap::values_mut).flatten();
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

    /// Adds it to a look.
    pub(super) fn complete(&self, observed: &mut Observed) {
        let least = |commands: &Vec<Command>| commands.iter().map(|command| command.leaves).min();
        for (host, ids) in &self.0 {
            let left = ids.iter().filter_map(|(id, commands)| Some((id.clone(), least(commands)?))).collect();
            observed.leaving.insert(host.clone(), left);
        }
    }

    fn retain(&mut self, keeps: impl Fn(&HostId, &EntityId, &Command) -> bool) {
        self.0.retain(|host, ids| {
            ids.retain(|id, commands| {
                commands.retain(|command| keeps(host, id, command));
                !commands.is_empty()
            });
            !ids.is_empty()
        });
    }
}
