//! The look at the lattice, indexed for planning: hosts by number, who runs what, and what is used up.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use trellis_lattice::id::{EntityId, HostId};
use trellis_lattice::message::command::StringMap;

use super::desired::{Component, Desired, Needs};
use crate::intent::AppName;
use crate::manifest::{Kind, Patience};
use crate::observe::{Actor, Attempt, Host, Observed, Provider, Seen, View};

/// How long a silent host is waited for unless the manifest says otherwise. One that may be cut off is waited for for ever.
const PATIENCE: Duration = Duration::from_millis(2_500);

/// A host by its number in [`World::hosts`].
pub(super) type HostIndex = u32;

/// The look at the lattice, and what the plan so far adds to it.
pub(super) struct World<'a> {
    pub(super) observed: &'a Observed,
    pub(super) now: Duration,
    /// By id.
    pub(super) hosts: Vec<Entry<'a>>,
    actors: HashMap<&'a EntityId, Vec<(HostIndex, &'a Actor)>>,
    providers: HashMap<&'a EntityId, Vec<(HostIndex, &'a Provider)>>,
    owned: HashMap<&'a AppName, OwnedIds<'a>>,
    by_label: HashMap<(&'a str, &'a str), Vec<HostIndex>>,
    /// Where a command to start something is under way or is tried again, by kind and id.
    starts: HashMap<(Kind, &'a str), Vec<(HostIndex, &'a Attempt)>>,
    /// Hosts that say that they run something and have not said how.
    hearsay: HashMap<&'a EntityId, Vec<HostIndex>>,
    /// Where components that others keep apart from were placed by this plan.
    pub(super) placed: HashMap<EntityId, Vec<HostIndex>>,
}

/// The ids of what runs for an application.
#[derive(Default)]
pub(super) struct OwnedIds<'a> {
    pub(super) actors: BTreeSet<&'a EntityId>,
    pub(super) providers: BTreeSet<&'a EntityId>,
}

/// A host.
pub(super) struct Entry<'a> {
    pub(super) id: &'a HostId,
    pub(super) host: &'a Host,
    /// Decides where nothing else does.
    pub(super) tie: u64,
    /// What is used of it: by what it runs, and by what the plan so far puts there.
    pub(super) used: Used,
}

/// What is used of a host.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Used {
    pub(super) instances: u64,
    pub(super) memory_bytes: u64,
    pub(super) cpu_millis: u64,
}

impl<'a> World<'a> {
    /// Indexes a look; `desired` tells what things need.
    pub(super) fn new(observed: &'a Observed, desired: &Desired, now: Duration) -> Self {
        let components = desired.apps.iter().flat_map(|app| &app.components);
        let needs: HashMap<&EntityId, Needs> = components.map(|component| (&component.id, component.needs)).collect();
        let mut world = Self {
            observed,
            now,
            hosts: Vec::with_capacity(observed.hosts.len()),
            actors: HashMap::new(),
            providers: HashMap::new(),
            owned: HashMap::new(),
            by_label: HashMap::new(),
            starts: HashMap::new(),
            hearsay: HashMap::new(),
            placed: HashMap::new(),
        };
        for (id, host) in &observed.hosts {
            world.add(id, host, &needs);
        }
        world.index_starts();
        world
    }

    /// The keys of commands that start something are `actor/<host>/<id>` and `provider/<host>/<id>`.
    fn index_starts(&mut self) {
        for (key, attempt) in &self.observed.attempts {
            let mut parts = key.as_str().splitn(3, '/');
            let kind = match parts.next() {
                Some("actor") => Kind::Actor,
                Some("provider") => Kind::Provider,
                _ => continue,
            };
            let (Some(host), Some(id)) = (parts.next(), parts.next()) else { continue };
            if let Ok(index) = self.hosts.binary_search_by(|entry| entry.id.as_str().cmp(host)) {
                let index = HostIndex::try_from(index).expect("fewer hosts than 2^32");
                self.starts.entry((kind, id)).or_default().push((index, attempt));
            }
        }
    }

    fn add(&mut self, id: &'a HostId, host: &'a Host, needs: &HashMap<&EntityId, Needs>) {
        let index = HostIndex::try_from(self.hosts.len()).expect("fewer hosts than 2^32");
        let mut used = Used::default();
        for (id, actor) in host.inventory.iter().flat_map(|inventory| &inventory.actors) {
            used.add(actor.max_instances, needs.get(id).copied().unwrap_or_default());
            self.actors.entry(id).or_default().push((index, actor));
            if let Some(owner) = &actor.owner {
                self.owned.entry(&owner.app).or_default().actors.insert(id);
            }
        }
        for (id, provider) in host.inventory.iter().flat_map(|inventory| &inventory.providers) {
            used.add(1, needs.get(id).copied().unwrap_or_default());
            self.providers.entry(id).or_default().push((index, provider));
            if let Some(owner) = &provider.owner {
                self.owned.entry(&owner.app).or_default().providers.insert(id);
            }
        }
        for id in &host.hearsay {
            self.hearsay.entry(id).or_default().push(index);
        }
        for (key, value) in &host.labels {
            self.by_label.entry((key, value)).or_default().push(index);
        }
        self.hosts.push(Entry { id, host, tie: tie(id.as_str()), used });
    }

    pub(super) fn entry(&self, index: HostIndex) -> &Entry<'a> {
        &self.hosts[index as usize]
    }

    /// Where an actor runs, or ran when its host was last heard.
    pub(super) fn actors(&self, id: &EntityId) -> &[(HostIndex, &'a Actor)] {
        self.actors.get(id).map_or(&[], Vec::as_slice)
    }

    /// Where a provider runs, or ran when its host was last heard.
    pub(super) fn providers(&self, id: &EntityId) -> &[(HostIndex, &'a Provider)] {
        self.providers.get(id).map_or(&[], Vec::as_slice)
    }

    /// Hosts that say that they run something, and have not said how.
    pub(super) fn hearsay(&self, id: &EntityId) -> &[HostIndex] {
        self.hearsay.get(id).map_or(&[], Vec::as_slice)
    }

    /// How many of `count` instances on a host are not being stopped.
    pub(super) fn sure(&self, host: HostIndex, id: &EntityId, count: u32) -> u32 {
        let leaving = self.observed.leaving.get(self.entry(host).id);
        leaving.and_then(|left| left.get(id)).map_or(count, |left| count.min(*left))
    }

    /// How many instances commands that are under way may bring to a host.
    pub(super) fn coming(&self, host: HostIndex, id: &EntityId) -> u32 {
        let coming = self.observed.coming.get(self.entry(host).id);
        coming.and_then(|coming| coming.get(id)).copied().unwrap_or(0)
    }

    /// The ids of all that runs for an application.
    pub(super) fn owned(&self, app: &AppName) -> Option<&OwnedIds<'a>> {
        self.owned.get(app)
    }

    /// What came so far of starting a component of an application's `generation`, and where.
    pub(super) fn starts<'w>(
        &'w self,
        component: &'w Component,
        generation: u64,
    ) -> impl Iterator<Item = (HostIndex, &'a Attempt)> + use<'w, 'a> {
        let starts = self.starts.get(&(component.kind, component.id.as_str()));
        starts.into_iter().flatten().copied().filter(move |(_, attempt)| attempt.generation == generation)
    }

    /// The hosts that have all of `requirements` as labels, in order.
    pub(super) fn labelled(&self, requirements: &StringMap) -> Vec<HostIndex> {
        let lists = requirements.iter().map(|(key, value)| self.by_label.get(&(key.as_str(), value.as_str())));
        let Some(lists) = lists.collect::<Option<Vec<_>>>() else { return Vec::new() };
        let Some(shortest) = lists.into_iter().min_by_key(|list| list.len()) else {
            return (0..self.hosts.len()).map(|index| index as HostIndex).collect();
        };
        let fits = |index: &HostIndex| has_labels(self.entry(*index).host, requirements);
        shortest.iter().copied().filter(fits).collect()
    }

    /// Whether the look may be believed when it says that something is gone.
    pub(super) fn is_settled(&self) -> bool {
        self.observed.view == View::Settled
    }

    /// How long a host has been silent.
    pub(super) fn silence(&self, index: HostIndex) -> Option<Duration> {
        match self.entry(index).host.seen {
            Seen::Silent { since } | Seen::CutOff { since } => Some(self.now.saturating_sub(since)),
            Seen::Present | Seen::Leaving => None,
        }
    }

    /// How long a silent host is waited for before what it runs of a component is started elsewhere.
    pub(super) fn patience(&self, index: HostIndex, component: &Component) -> Patience {
        component.patience.unwrap_or_else(|| match self.entry(index).host.seen {
            Seen::CutOff { .. } => Patience::Forever,
            Seen::Present | Seen::Leaving | Seen::Silent { .. } => Patience::For(PATIENCE),
        })
    }

    /// Whether a host has been silent for so long that what it runs of a component counts as lost.
    pub(super) fn is_lost(&self, index: HostIndex, component: &Component) -> bool {
        match (self.silence(index), self.patience(index, component)) {
            (Some(silence), Patience::For(limit)) => self.is_settled() && silence >= limit,
            (None, _) | (_, Patience::Forever) => false,
        }
    }

    /// How many instances of `component` fit on a host in all, those that are there already included.
    pub(super) fn room(&self, index: HostIndex, component: &Component, current: u32) -> u32 {
        let Entry { host, used, .. } = self.entry(index);
        let count = u64::from(current);
        let fit = |capacity: Option<u64>, used: u64, need: u64| match capacity {
            Some(capacity) if need > 0 => capacity.saturating_sub(used - (need * count).min(used)) / need,
            _ => u64::MAX,
        };
        let instances = if component.kind == Kind::Actor { host.capacity.max_instances } else { None };
        let room = fit(instances, used.instances, 1)
            .min(fit(host.capacity.memory_bytes, used.memory_bytes, component.needs.memory_bytes))
            .min(fit(host.capacity.cpu_millis, used.cpu_millis, component.needs.cpu_millis));
        u32::try_from(room).unwrap_or(u32::MAX).min(component.most_on_host.unwrap_or(u32::MAX))
    }

    /// Counts what the plan puts on a host beyond what is there.
    pub(super) fn take(&mut self, index: HostIndex, more: u32, needs: Needs) {
        self.hosts[index as usize].used.add(more, needs);
    }

    /// How busy a host is, for its weight: the least busy gets what is new.
    pub(super) fn load(&self, index: HostIndex) -> u64 {
        let entry = self.entry(index);
        entry.used.instances.saturating_mul(1_000_000) / u64::from(entry.host.weight().max(1))
    }

    /// The place that a host is in, by a label; a host without the label is a place of its own.
    pub(super) fn place(&self, index: HostIndex, topology: Option<&str>) -> &'a str {
        let Entry { id, host, .. } = self.entry(index);
        topology.and_then(|label| host.labels.get(label)).map_or(id.as_str(), String::as_str)
    }
}

impl Used {
    fn add(&mut self, count: u32, needs: Needs) {
        let count = u64::from(count);
        self.instances = self.instances.saturating_add(count);
        self.memory_bytes = self.memory_bytes.saturating_add(needs.memory_bytes.saturating_mul(count));
        self.cpu_millis = self.cpu_millis.saturating_add(needs.cpu_millis.saturating_mul(count));
    }
}

/// Whether a host has all of `requirements` as labels.
pub(super) fn has_labels(host: &Host, requirements: &BTreeMap<String, String>) -> bool {
    requirements.iter().all(|(key, value)| host.labels.get(key) == Some(value))
}

/// FNV-1a, then mixed, so that ids that differ in one letter are far apart.
fn tie(text: &str) -> u64 {
    let hash = text
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    let mixed = (hash ^ (hash >> 32)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed ^ (mixed >> 29)
}
