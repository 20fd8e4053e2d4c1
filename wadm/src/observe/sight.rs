//! One look at the lattice: a snapshot of what was seen, and the [`Observed`] that it makes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use trellis_lattice::id::{BootId, ConfigName, EntityId, HostId};
use trellis_lattice::message::command::StringMap;
use trellis_lattice::message::inventory::HostInventory;
use trellis_lattice::message::link::Link;
use trellis_lattice::message::presence::State;

use super::inventory::Answer;
use super::presence::SUSPECT;
use super::{Attempt, Capacity, Host, LatePuts, LinkKey, Observed, Owned, Rollout, Seen, View};
use crate::clock::Clock;
use crate::intent::AppName;
use crate::plan::ActionKey;

/// Everything that is seen at one moment.
#[derive(Debug, Clone)]
pub(crate) struct Sight {
    pub(crate) at: Instant,
    pub(crate) hosts: BTreeMap<HostId, SeenHost>,
    pub(super) links: Option<BTreeMap<LinkKey, Link>>,
    pub(super) configs: Option<BTreeMap<ConfigName, StringMap>>,
    pub(super) owned: Option<BTreeMap<AppName, Owned>>,
    /// Why nothing is to be concluded from what is not seen, if so.
    pub(super) doubt: Option<String>,
}

/// A host as it is seen.
#[derive(Debug, Clone)]
pub(crate) struct SeenHost {
    /// Which run of it; `None` when it was not heard since this wadm started.
    pub(crate) boot: Option<BootId>,
    pub(super) state: State,
    pub(super) heard: Instant,
    /// What its clock showed then, in milliseconds since 1970; `None` when it was not heard.
    pub(super) clock_ms: Option<u64>,
    pub(crate) silent: Duration,
    /// What it said when it was asked; `None` as long as this run of it has not answered.
    pub(crate) inventory: Option<Arc<Answer>>,
    /// When that question was sent.
    pub(crate) asked: Option<Instant>,
    /// How long the answer took.
    pub(super) distance: Option<Duration>,
    /// What it says it runs while it has not said how.
    pub(super) hearsay: BTreeSet<EntityId>,
}

impl SeenHost {
    /// Whether nothing was heard of it for so long that it may be gone.
    pub(crate) fn is_silent(&self) -> bool {
        self.silent >= SUSPECT
    }

    /// The broker that it said it is connected to, if wadm is at another one.
    fn broker(&self) -> Option<&str> {
        self.inventory.as_ref()?.said.broker.as_deref()
    }
}

impl Sight {
    /// What the clocks of hosts that are heard showed, and when they said so.
    pub(crate) fn clocks(&self) -> impl Iterator<Item = (&HostId, u64, Instant)> {
        let heard = self.hosts.iter().filter(|(_, seen)| !seen.is_silent());
        heard.filter_map(|(host, seen)| Some((host, seen.clock_ms?, seen.heard)))
    }

    /// How long a host takes to answer; `None` when it takes no commands.
    pub(crate) fn distance(&self, host: &HostId) -> Option<Duration> {
        self.hosts.get(host).filter(|seen| seen.state == State::Ready)?.distance
    }

    /// What planning is told, with what is known of rollouts and commands.
    pub(crate) fn observed(
        &self,
        clock: Clock,
        rollouts: BTreeMap<AppName, Rollout>,
        attempts: BTreeMap<ActionKey, Attempt>,
    ) -> Observed {
        let view = match &self.doubt {
            None => View::Settled,
            Some(why) => View::Unsettled { why: why.clone() },
        };
        let heard = self.hosts.values().filter(|seen| !seen.is_silent());
        let reached: BTreeSet<&str> = heard.filter_map(SeenHost::broker).collect();
        let is_cut_off = |seen: &SeenHost| seen.broker().is_some_and(|broker| !reached.contains(broker));
        let hosts = self.hosts.iter().map(|(id, seen)| (id.clone(), host(id, seen, clock, is_cut_off)));
        Observed {
            view,
            hosts: hosts.collect(),
            links: self.links.clone(),
            configs: self.configs.clone(),
            owned: self.owned.clone(),
            rollouts,
            attempts,
            late_puts: LatePuts::default(),
            leaving: BTreeMap::new(),
            coming: BTreeMap::new(),
        }
    }

    /// The highest fencing token that any host knows.
    pub(crate) fn fence(&self) -> u64 {
        self.hosts.values().filter_map(|seen| Some(seen.inventory.as_ref()?.fence())).max().unwrap_or(0)
    }

    /// What the hosts said last.
    pub(crate) fn said(&self) -> impl Iterator<Item = (&HostId, &Arc<HostInventory>)> {
        self.hosts.iter().filter_map(|(host, seen)| Some((host, &seen.inventory.as_ref()?.said)))
    }
}

fn host(id: &HostId, seen: &SeenHost, clock: Clock, is_cut_off: impl Fn(&SeenHost) -> bool) -> Host {
    let state = match seen.state {
        _ if seen.is_silent() && is_cut_off(seen) => Seen::CutOff { since: clock.at(seen.heard) },
        _ if seen.is_silent() => Seen::Silent { since: clock.at(seen.heard) },
        State::Ready => Seen::Present,
        State::Draining | State::Gone => Seen::Leaving,
    };
    let Some(answer) = &seen.inventory else {
        let (name, labels) = (id.to_string(), StringMap::new());
        let hearsay = seen.hearsay.clone();
        return Host { name, labels, capacity: Capacity::default(), seen: state, inventory: None, hearsay };
    };
    Host {
        name: answer.name.clone(),
        labels: answer.labels.clone(),
        capacity: answer.capacity,
        seen: state,
        inventory: Some(answer.runs.clone()),
        hearsay: seen.hearsay.clone(),
    }
}
