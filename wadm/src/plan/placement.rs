//! Which hosts may run a component, and why others may not.

use std::fmt;
use std::time::Duration;

use trellis_lattice::id::EntityId;
use trellis_lattice::message::command::StringMap;

use super::desired::{Apart, Component, Group, Mode};
use super::world::{HostIndex, World};
use crate::intent::AppName;
use crate::manifest::{Kind, Strength, Taint};
use crate::observe::{AttemptState, Host, Seen};

/// After so many hosts on which its start was given up, a component is tried on no further one.
pub(super) const MOST_GIVEN_UP: usize = 3;

/// Why a host does not run a component.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Reject {
    Label { key: String, wanted: String, has: Option<String> },
    Cordoned(String),
    Leaving,
    Silent(Duration),
    Unknown,
    Tainted { key: String, value: String },
    Weightless,
    Full { room: u32 },
    Stranger(String),
    Apart { from: EntityId, place: String },
    GivenUp { failures: u32, error: String },
}

impl Reject {
    /// The same without what differs from host to host.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Label { .. } => "labels do not match",
            Self::Cordoned(_) => "cordoned",
            Self::Leaving => "going away",
            Self::Silent(_) => "silent",
            Self::Unknown => "not known what it runs",
            Self::Tainted { .. } => "tainted",
            Self::Weightless => "weight 0",
            Self::Full { .. } => "no room",
            Self::Stranger(_) => "the id is taken",
            Self::Apart { .. } => "to be kept apart",
            Self::GivenUp { .. } => "start given up",
        }
    }
}

impl fmt::Display for Reject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Label { key, wanted, has: Some(has) } => write!(f, "label {key} is {has}, not {wanted}"),
            Self::Label { key, wanted, has: None } => write!(f, "has no label {key} (wanted: {wanted})"),
            Self::Cordoned(reason) if reason.is_empty() => f.write_str("is cordoned"),
            Self::Cordoned(reason) => write!(f, "is cordoned: {reason}"),
            Self::Leaving => f.write_str("is going away"),
            Self::Silent(since) => write!(f, "was last heard {} s ago", since.as_secs()),
            Self::Unknown => f.write_str("has not said yet what it runs"),
            Self::Tainted { key, value } => write!(f, "has taint {key}={value}, which is not tolerated"),
            Self::Weightless => f.write_str("has weight 0"),
            Self::Full { room: 0 } => f.write_str("has no room left"),
            Self::Full { room } => write!(f, "has room for {room} only"),
            Self::Stranger(whose) => write!(f, "runs something of {whose} under this id"),
            Self::Apart { from, place } => write!(f, "{place} has {from}, from which it keeps apart"),
            Self::GivenUp { failures, error } => write!(f, "its start failed there {failures} times: {error}"),
        }
    }
}

/// Why a host gets nothing new of any component like this, by what can be told from the host alone.
pub(super) fn closed(host: &Host, requirements: &StringMap, tolerated: &[Taint]) -> Option<Reject> {
    for (key, wanted) in requirements {
        let has = host.labels.get(key);
        if has != Some(wanted) {
            return Some(Reject::Label { key: key.clone(), wanted: wanted.clone(), has: has.cloned() });
        }
    }
    match host.seen {
        Seen::Silent { .. } | Seen::CutOff { .. } => return Some(Reject::Silent(Duration::ZERO)),
        Seen::Leaving => return Some(Reject::Leaving),
        Seen::Present => {}
    }
    if let Some(reason) = host.cordon() {
        return Some(Reject::Cordoned(reason.to_owned()));
    }
    if host.inventory.is_none() {
        return Some(Reject::Unknown);
    }
    let tolerates = |key: &str, value: &str| {
        tolerated.iter().any(|taint| taint.key == key && taint.value.as_deref().is_none_or(|wanted| wanted == value))
    };
    if let Some((key, value)) = host.taints().find(|(key, value)| !tolerates(key, value)) {
        return Some(Reject::Tainted { key: key.to_owned(), value: value.to_owned() });
    }
    (host.weight() == 0).then_some(Reject::Weightless)
}

/// Whose component is placed.
#[derive(Clone, Copy)]
pub(super) struct Subject<'a> {
    pub(super) app: &'a AppName,
    pub(super) generation: u64,
    pub(super) component: &'a Component,
}

/// How strictly wishes to be apart are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wishes {
    /// All of them.
    All,
    /// Only what is required.
    Required,
}

impl Subject<'_> {
    /// Why an open host gets nothing new of this component.
    pub(super) fn unfit(&self, world: &World<'_>, host: HostIndex, wishes: Wishes) -> Option<Reject> {
        self.stranger(world, host)
            .or_else(|| self.given_up(world, host))
            .or_else(|| self.full(world, host))
            .or_else(|| self.beside(world, host, wishes))
    }

    fn full(&self, world: &World<'_>, host: HostIndex) -> Option<Reject> {
        let room = world.room(host, self.component, 0);
        (room == 0).then_some(Reject::Full { room })
    }

    /// Something else runs there under the same id.
    pub(super) fn stranger(&self, world: &World<'_>, host: HostIndex) -> Option<Reject> {
        let id = &self.component.id;
        let inventory = world.entry(host).host.inventory.as_ref()?;
        let actor = inventory.actors.get(id).map(|actor| (Kind::Actor, actor.owner.as_ref()));
        let provider = inventory.providers.get(id).map(|provider| (Kind::Provider, provider.owner.as_ref()));
        let other = actor
            .into_iter()
            .chain(provider)
            .find(|(kind, owner)| *kind != self.component.kind || owner.is_none_or(|owner| owner.app != *self.app));
        other.map(|(_, owner)| Reject::Stranger(owner.map_or("nobody".to_owned(), |owner| owner.app.to_string())))
    }

    fn given_up(&self, world: &World<'_>, host: HostIndex) -> Option<Reject> {
        let starts = world.starts(self.component, self.generation);
        let mut given_up = starts.filter(|(_, attempt)| attempt.state == AttemptState::GivenUp);
        let (_, attempt) = given_up.find(|(other, _)| *other == host)?;
        let error = attempt.last_error.clone().unwrap_or_default();
        Some(Reject::GivenUp { failures: attempt.failures, error })
    }

    /// Something that it keeps apart from is in the same place.
    fn beside(&self, world: &World<'_>, host: HostIndex, wishes: Wishes) -> Option<Reject> {
        let binding = |apart: &&Apart| wishes == Wishes::All || apart.strength == Strength::Required;
        self.component.apart.iter().filter(binding).find_map(|apart| {
            let topology = apart.topology.as_deref();
            let place = world.place(host, topology);
            let is_there = |other: &HostIndex| world.place(*other, topology) == place;
            let from = apart.from.iter().find(|id| runs_on(world, id).any(|other| is_there(&other)))?;
            Some(Reject::Apart { from: from.clone(), place: place.to_owned() })
        })
    }

    /// Whether it must move away from where it runs, because it keeps apart from something that stays there.
    fn must_part(&self, world: &World<'_>, host: HostIndex) -> bool {
        let own = |apart: &&Apart| apart.mode == Mode::Own && apart.strength == Strength::Required;
        self.component.apart.iter().filter(own).any(|apart| {
            let topology = apart.topology.as_deref();
            let place = world.place(host, topology);
            apart.from.iter().any(|id| match world.placed.get(id) {
                Some(hosts) => hosts.iter().any(|other| world.place(*other, topology) == place),
                None => runs_on(world, id).any(|other| world.place(other, topology) == place),
            })
        })
    }

    /// What may become of what runs on a host already.
    pub(super) fn keeps(&self, world: &World<'_>, group: &Group, host: HostIndex) -> Keep {
        let entry = world.entry(host);
        if !super::world::has_labels(entry.host, &group.requirements) {
            return Keep::Move;
        }
        if world.silence(host).is_some() {
            return if world.is_lost(host, self.component) { Keep::Lost } else { Keep::Wait };
        }
        if entry.host.is_drained() || entry.host.weight() == 0 || self.must_part(world, host) {
            return Keep::Move;
        }
        match closed(entry.host, &StringMap::new(), &self.component.tolerated) {
            None => Keep::Stay,
            Some(_) => Keep::NoMore,
        }
    }
}

/// What may become of what runs on a host already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Keep {
    /// It stays, and may grow.
    Stay,
    /// It stays, and does not grow: the host is cordoned or tainted.
    NoMore,
    /// Its host is silent, but not for long enough: it counts as running.
    Wait,
    /// Its host is silent for too long: it counts as lost.
    Lost,
    /// It is to go elsewhere.
    Move,
}

fn runs_on<'w>(world: &'w World<'_>, id: &EntityId) -> impl Iterator<Item = HostIndex> + 'w {
    let placed = world.placed.get(id).into_iter().flatten().copied();
    let actors = world.actors(id).iter().map(|(host, _)| *host);
    let providers = world.providers(id).iter().map(|(host, _)| *host);
    placed.chain(actors).chain(providers)
}
