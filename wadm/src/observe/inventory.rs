//! A host's answer, in the words of planning.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use trellis_lattice::id::EntityId;
use trellis_lattice::message::command::StringMap;
use trellis_lattice::message::inventory::{
    ComponentEntry, HostInventory, LinkState, ProviderEntry, ProviderLink, Readiness as Said, ReadinessState,
};
use trellis_lattice::message::presence::Running;
use trellis_lattice::message::readiness::READINESS;

use super::{Actor, Capacity, Health, Inventory, Limits, LinkKey, LinkStanding, Owner, Provider, Readiness};

/// What a host says of itself.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Answer {
    pub(super) name: String,
    pub(super) labels: StringMap,
    pub(super) capacity: Capacity,
    pub(super) runs: Inventory,
    /// Its own words.
    pub(super) said: Arc<HostInventory>,
}

impl Answer {
    /// Reads an inventory.
    pub(super) fn of(inventory: HostInventory) -> Self {
        let capacity = inventory.capacity.map_or_else(Capacity::default, |capacity| Capacity {
            memory_bytes: Some(capacity.memory_bytes),
            cpu_millis: Some(capacity.cpu_millis),
            max_instances: Some(capacity.max_instances.into()),
        });
        Self {
            name: inventory.friendly_name.clone(),
            labels: inventory.labels.clone(),
            capacity,
            runs: runs_of(&inventory),
            said: Arc::new(inventory),
        }
    }

    /// The same, without what is not `running` any more.
    pub(super) fn only(&self, running: &[Running]) -> Self {
        let ids: BTreeSet<&EntityId> = running.iter().map(|running| &running.id).collect();
        let mut answer = self.clone();
        answer.runs.actors.retain(|id, _| ids.contains(id));
        answer.runs.providers.retain(|id, _| ids.contains(id));
        answer
    }

    /// The same, of a host that says that it runs `running` and not yet how: on what is not among that nobody may rely.
    pub(super) fn unconfirmed(&self, running: &[Running]) -> Self {
        let ids: BTreeSet<&EntityId> = running.iter().map(|running| &running.id).collect();
        let mut answer = self.clone();
        let actors = answer.runs.actors.iter_mut().map(|(id, actor)| (id, &mut actor.readiness));
        let providers = answer.runs.providers.iter_mut().map(|(id, provider)| (id, &mut provider.readiness));
        let doubtful = actors.chain(providers).filter(|(id, _)| !ids.contains(id));
        doubtful.for_each(|(_, readiness)| *readiness = Readiness::Starting);
        answer
    }

    /// Whether it runs something under that id.
    pub(super) fn runs(&self, id: &EntityId) -> bool {
        self.runs.actors.contains_key(id) || self.runs.providers.contains_key(id)
    }

    /// The ids of all that it runs.
    pub(crate) fn ids(&self) -> impl Iterator<Item = &EntityId> {
        self.runs.actors.keys().chain(self.runs.providers.keys())
    }

    /// What commands are being carried out for, as far as it says.
    pub(crate) fn underway(&self) -> impl Iterator<Item = &EntityId> {
        self.said.underway.iter().flatten()
    }

    /// Whether a command for `id` is being carried out; `None` when it does not say.
    pub(crate) fn is_underway(&self, id: &EntityId) -> Option<bool> {
        self.said.underway.as_ref().map(|underway| underway.contains(id))
    }

    /// The highest fencing token that it knows.
    pub(crate) fn fence(&self) -> u64 {
        self.said.fence.unwrap_or(0)
    }
}

/// What an inventory says that its host runs.
pub(crate) fn runs_of(inventory: &HostInventory) -> Inventory {
    Inventory {
        actors: inventory.components.iter().map(actor).collect(),
        providers: inventory.providers.iter().map(provider).collect(),
    }
}

fn actor(entry: &ComponentEntry) -> (EntityId, Actor) {
    let actor = Actor {
        reference: entry.image_ref.as_str().into(),
        digest: entry.digest.as_deref().map(Arc::from),
        max_instances: entry.max_instances,
        owner: owner(entry.annotations.as_ref()),
        limits: Some(Limits::of(entry.limits.as_ref())),
        config: None,
        readiness_rule: entry
            .annotations
            .as_ref()
            .and_then(|notes| notes.get(READINESS))
            .map(|text| text.as_str().into()),
        readiness: entry.readiness.as_ref().map_or(Readiness::Running, readiness),
        exports: None,
    };
    (entry.id.clone(), actor)
}

fn provider(entry: &ProviderEntry) -> (EntityId, Provider) {
    let provider = Provider {
        reference: entry.image_ref.as_deref().map(Arc::from),
        owner: owner(entry.annotations.as_ref()),
        config: None,
        readiness: Readiness::Running,
        links: entry.links.as_ref().map(|links| Arc::new(standings(links))),
    };
    (entry.id.clone(), provider)
}

fn readiness(said: &Said) -> Readiness {
    let reason = || said.reason.clone().unwrap_or_else(|| "its host does not say why it is not ready".to_owned());
    match said.state {
        ReadinessState::Ready => Readiness::Ready,
        ReadinessState::Starting => Readiness::Waiting { reason: reason() },
        ReadinessState::Failing => Readiness::Failing { reason: reason() },
    }
}

/// Of a link from a provider to itself, which has two entries, the worse one stands.
fn standings(links: &[ProviderLink]) -> BTreeMap<LinkKey, LinkStanding> {
    let mut standings: BTreeMap<LinkKey, LinkStanding> = BTreeMap::new();
    for link in links {
        let health = match link.state {
            LinkState::Up => Health::Established,
            LinkState::Pending => Health::Pending,
            LinkState::Failed => Health::Failed { reason: link.reason.clone().unwrap_or_default() },
        };
        let standing = LinkStanding { health, fingerprint: link.fingerprint.clone() };
        let known = standings.entry(key(link)).or_insert_with(|| standing.clone());
        if known.health < standing.health {
            *known = standing;
        }
    }
    standings
}

fn key(link: &ProviderLink) -> LinkKey {
    LinkKey {
        source: link.source_id.clone(),
        name: link.name.clone(),
        namespace: link.wit_namespace.clone(),
        package: link.wit_package.clone(),
        target: link.target.clone(),
    }
}

fn owner(annotations: Option<&StringMap>) -> Option<Arc<Owner>> {
    annotations.and_then(Owner::of).map(Arc::new)
}
