//! What whoever acted before wrote down that hosts would run. One that took a command of it just now, or takes it only
//! now, did not say so yet; and if it falls silent before it does, what it runs would be started elsewhere as well.
//! Until it says that this is over, what was written down counts as starting there.

use std::collections::BTreeMap;

use tokio::time::Instant;
use trellis_lattice::id::{EntityId, HostId};
use trellis_lattice::message::inventory::HostInventory;

use super::validity::OVER;
use crate::observe::{Actor, Inventory, Observed, Provider, Readiness, SeenHost, Sight, runs_of};

/// What is not known yet of what was taken over.
#[derive(Debug, Default)]
pub(super) struct Inherited(BTreeMap<HostId, Legacy>);

/// What was written down of one host.
#[derive(Debug)]
struct Legacy {
    written: HostInventory,
    runs: Inventory,
    /// When it was taken over, and with which token.
    since: Instant,
    token: u64,
}

impl Legacy {
    /// Whether what the host said last was after all that it was told: it refuses the one before, or that one's commands
    /// count no more, and it is at work on none of them.
    fn is_answered(&self, seen: &SeenHost) -> bool {
        let Some(answer) = &seen.inventory else { return false };
        let is_over = seen.asked.is_some_and(|asked| asked >= self.since + OVER);
        let mut ids = self.runs.actors.keys().chain(self.runs.providers.keys());
        (is_over || answer.fence() >= self.token) && ids.all(|id| answer.is_underway(id) != Some(true))
    }
}

impl Inherited {
    /// Somebody else acted until now, and wrote that down.
    pub(super) fn take_over(&mut self, written: &[HostInventory], token: u64, since: Instant) {
        let legacy =
            |written: &HostInventory| Legacy { written: written.clone(), runs: runs_of(written), since, token };
        self.0 = written.iter().map(|written| (written.host_id.clone(), legacy(written))).collect();
    }

    /// Forgets what a look answers.
    pub(super) fn look(&mut self, sight: &Sight) {
        self.0.retain(|host, legacy| sight.hosts.get(host).is_some_and(|seen| !legacy.is_answered(seen)));
    }

    /// Adds what may run by now.
    pub(super) fn complete(&self, observed: &mut Observed) {
        for (host, legacy) in &self.0 {
            let Some(inventory) = observed.hosts.get_mut(host).and_then(|host| host.inventory.as_mut()) else {
                continue;
            };
            let actors = legacy.runs.actors.iter().filter_map(|(id, actor)| add_actor(inventory, id, actor));
            let mut sure: Vec<_> = actors.collect();
            sure.extend(
                legacy.runs.providers.iter().filter_map(|(id, provider)| add_provider(inventory, id, provider)),
            );
            let leaving = observed.leaving.entry(host.clone()).or_default();
            for (id, sure) in sure {
                let left = leaving.entry(id).or_insert(sure);
                *left = sure.min(*left);
            }
        }
    }

    /// What was written down of `host` and is not known yet.
    pub(super) fn written(&self, host: &HostId) -> Option<&HostInventory> {
        self.0.get(host).map(|legacy| &legacy.written)
    }
}

/// Adds what was written down to what a host said last.
pub(super) fn add(inventory: &mut HostInventory, written: &HostInventory) {
    for entry in &written.components {
        match inventory.components.iter_mut().find(|known| known.id == entry.id) {
            Some(known) => known.max_instances = known.max_instances.max(entry.max_instances),
            None => inventory.components.push(entry.clone()),
        }
    }
    for entry in &written.providers {
        if inventory.providers.iter().all(|known| known.id != entry.id) {
            inventory.providers.push(entry.clone());
        }
    }
}

/// Adds what may run; gives how many of it its host said that it runs, if that is less.
fn add_actor(inventory: &mut Inventory, id: &EntityId, actor: &Actor) -> Option<(EntityId, u32)> {
    let Some(known) = inventory.actors.get_mut(id) else {
        inventory.actors.insert(id.clone(), Actor { readiness: Readiness::Starting, ..actor.clone() });
        return Some((id.clone(), 0));
    };
    let sure = known.max_instances;
    known.max_instances = sure.max(actor.max_instances);
    (sure < actor.max_instances).then(|| (id.clone(), sure))
}

fn add_provider(inventory: &mut Inventory, id: &EntityId, provider: &Provider) -> Option<(EntityId, u32)> {
    if inventory.providers.contains_key(id) {
        return None;
    }
    inventory.providers.insert(id.clone(), Provider { readiness: Readiness::Starting, ..provider.clone() });
    Some((id.clone(), 0))
}
