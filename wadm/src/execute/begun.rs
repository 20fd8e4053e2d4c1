//! What was begun on hosts and may run there although they did not say so: one that falls silent after it was sent a
//! start may have carried it out. Until it is asked again it counts as running there, or it would be started elsewhere
//! as well, however little the view is to be trusted.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::time::Instant;
use trellis_lattice::error::Result;
use trellis_lattice::id::{EntityId, HostId};
use trellis_lattice::message::inventory::{ComponentEntry, HostInventory, ProviderEntry};

use super::command::annotations;
use super::flight::Flight;
use super::inherited::{self, Inherited};
use super::is_unknown;
use super::leaving::Pending;
use crate::observe::{Actor, Inventory, News, Observed, Provider, Readiness, Sight, Told};
use crate::plan::{Action, ActionKey, Deed, ScaleActor, StartProvider};

/// The starts whose outcome no answer of their host has shown yet.
#[derive(Debug, Default)]
pub(crate) struct Begun {
    starts: BTreeMap<HostId, BTreeMap<EntityId, Start>>,
    /// Those of whoever acted before.
    inherited: Inherited,
    /// What hosts said last.
    said: BTreeMap<HostId, Arc<HostInventory>>,
}

/// A start that was sent.
#[derive(Debug)]
struct Start {
    key: ActionKey,
    deed: Deed,
    pending: Pending,
    /// When the host was last seen to be silent.
    silent: Option<Instant>,
}

impl Begun {
    /// A command is sent.
    pub(super) fn sent(&mut self, action: &Action, now: Instant) {
        let Some((host, id)) = Flight::place(action) else { return };
        match action.deed {
            Deed::ScaleActor(_) | Deed::UpdateActor(_) | Deed::StartProvider(_) | Deed::UpdateProvider(_) => {
                let (key, deed) = (action.key.clone(), action.deed.clone());
                let start = Start { key, deed, pending: Pending::sent(now), silent: None };
                self.starts.entry(host.clone()).or_default().insert(id.clone(), start);
            }
            _ => self.retain(|on, start, _| on != host || start != id),
        }
    }

    /// Somebody else acted until now, and wrote down what hosts would run.
    pub(super) fn take_over(&mut self, written: &[HostInventory], token: u64, now: Instant) {
        self.inherited.take_over(written, token, now);
    }

    /// What `host` said last, with what was begun there since; `None` when nothing was.
    pub(crate) fn completed(&self, host: &HostId) -> Option<HostInventory> {
        let (starts, written) = (self.starts.get(host), self.inherited.written(host));
        if starts.is_none() && written.is_none() {
            return None;
        }
        let mut inventory = HostInventory::clone(self.said.get(host)?);
        written.into_iter().for_each(|written| inherited::add(&mut inventory, written));
        starts.into_iter().flat_map(BTreeMap::values).for_each(|start| add_entry(&mut inventory, &start.deed));
        Some(inventory)
    }

    /// The same, if `action` starts something that its host did not say that it runs: that has to be written down before.
    pub(super) fn foretold(&self, action: &Action) -> Option<HostInventory> {
        let (host, id) = Flight::place(action)?;
        let is_start = self.starts.get(host)?.contains_key(id);
        let said = self.said.get(host)?;
        let is_known =
            said.components.iter().any(|entry| entry.id == *id) || said.providers.iter().any(|entry| entry.id == *id);
        (is_start && !is_known).then(|| self.completed(host)).flatten()
    }

    fn retain(&mut self, mut keeps: impl FnMut(&HostId, &EntityId, &mut Start) -> bool) {
        self.starts.retain(|host, starts| {
            starts.retain(|id, start| keeps(host, id, start));
            !starts.is_empty()
        });
    }

    /// A command was acknowledged or not.
    pub(super) fn acknowledged(&mut self, key: &ActionKey, result: &Result<()>) {
        match result {
            Ok(()) => {
                let starts = self.starts.values_mut().flat_map(BTreeMap::values_mut).filter(|start| start.key == *key);
                starts.for_each(|start| start.pending.taken());
            }
            Err(error) if is_unknown(error) => {}
            Err(_) => self.retain(|_, _, start| start.key != *key),
        }
    }

    /// A host told something.
    pub(super) fn told(&mut self, told: &Told) {
        let (News::ScaleFailed { actor: id, .. } | News::ProviderFailed { provider: id, .. }) = &told.news else {
            return;
        };
        self.retain(|host, start, _| *host != told.host || start != id);
    }

    /// Forgets what a look answers.
    pub(super) fn look(&mut self, sight: &Sight) {
        self.said = sight.said().map(|(host, said)| (host.clone(), Arc::clone(said))).collect();
        self.inherited.look(sight);
        self.retain(|host, id, start| {
            let Some(seen) = sight.hosts.get(host) else { return false };
            if seen.is_silent() {
                start.silent = Some(sight.at);
            }
            let is_underway = seen.inventory.as_ref().and_then(|answer| answer.is_underway(id)) == Some(true);
            is_underway || !start.pending.is_answered(seen, id)
        });
    }

    /// Adds what may come, and what may run on hosts that are or were silent.
    pub(crate) fn complete(&self, observed: &mut Observed, sight: &Sight) {
        self.inherited.complete(observed);
        let all = self.starts.iter().flat_map(|(host, starts)| starts.iter().map(move |(id, start)| (host, id, start)));
        for (host, id, start) in all {
            if let Deed::ScaleActor(actor) | Deed::UpdateActor(actor) = &start.deed {
                observed.coming.entry(host.clone()).or_default().insert(id.clone(), actor.count);
            }
            let asked = sight.hosts.get(host).and_then(|seen| seen.asked);
            if start.silent.is_none_or(|silent| asked.is_some_and(|asked| asked > silent)) {
                continue;
            }
            if let Some(inventory) = observed.hosts.get_mut(host).and_then(|host| host.inventory.as_mut()) {
                let sure = add(inventory, id, &start.deed);
                let left = observed.leaving.entry(host.clone()).or_default().entry(id.clone()).or_insert(sure);
                *left = sure.min(*left);
            }
        }
    }
}

/// Adds what may run; gives how many of it its host said that it runs.
fn add(inventory: &mut Inventory, id: &EntityId, deed: &Deed) -> u32 {
    match deed {
        Deed::ScaleActor(actor) | Deed::UpdateActor(actor) => {
            let Some(known) = inventory.actors.get_mut(id) else {
                inventory.actors.insert(id.clone(), as_actor(actor));
                return 0;
            };
            let sure = known.max_instances;
            known.max_instances = sure.max(actor.count);
            sure
        }
        Deed::StartProvider(provider) | Deed::UpdateProvider(provider) => {
            let sure = u32::from(inventory.providers.contains_key(id));
            inventory.providers.entry(id.clone()).or_insert_with(|| as_provider(provider));
            sure
        }
        _ => 0,
    }
}

fn add_entry(inventory: &mut HostInventory, deed: &Deed) {
    match deed {
        Deed::ScaleActor(actor) | Deed::UpdateActor(actor) => {
            let is_it = |entry: &&mut ComponentEntry| entry.id == actor.id;
            match inventory.components.iter_mut().find(is_it) {
                Some(entry) => entry.max_instances = entry.max_instances.max(actor.count),
                None => inventory.components.push(ComponentEntry {
                    id: actor.id.clone(),
                    image_ref: actor.reference.to_string(),
                    digest: actor.digest.as_deref().map(str::to_owned),
                    name: None,
                    annotations: Some(annotations(actor)),
                    revision: 0,
                    max_instances: actor.count,
                    limits: actor.limits.to_command(),
                    readiness: None,
                }),
            }
        }
        Deed::StartProvider(provider) | Deed::UpdateProvider(provider)
            if inventory.providers.iter().all(|entry| entry.id != provider.id) =>
        {
            inventory.providers.push(ProviderEntry {
                id: provider.id.clone(),
                image_ref: Some(provider.reference.to_string()),
                name: None,
                revision: 0,
                annotations: Some(provider.owner.annotations()),
                links: Some(Vec::new()),
                unhealthy: None,
            });
        }
        _ => {}
    }
}

fn as_actor(actor: &ScaleActor) -> Actor {
    Actor {
        reference: actor.reference.clone(),
        digest: actor.digest.clone(),
        max_instances: actor.count,
        owner: Some(actor.owner.clone()),
        limits: Some(actor.limits),
        config: Some(actor.config.to_vec()),
        readiness_rule: actor.readiness.clone(),
        readiness: Readiness::Starting,
        exports: None,
    }
}

/// Its host may be able to replace it while it runs; one that is not refuses, and what runs goes on.
fn as_provider(provider: &StartProvider) -> Provider {
    Provider {
        reference: Some(provider.reference.clone()),
        owner: Some(provider.owner.clone()),
        config: Some(provider.config.to_vec()),
        readiness: Readiness::Starting,
        links: Some(Arc::default()),
    }
}
