//! Where a component is to run: for each host how many instances.
//!
//! The rule within a group of hosts: while there are more hosts than instances, each instance gets a host of its own,
//! the least busy ones for their weight; otherwise the hosts share the instances by weight, as far as they have room.
//! Whatever runs already stays where it is, as far as its share and its host allow.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashSet};

use super::desired::{Apart, Component, Group, Mode};
use super::outcome::ScalerKind;
use super::placement::{Keep, MOST_GIVEN_UP, Reject, Subject, Wishes};
use super::pool::Pools;
use super::share::{Slot, fill};
use super::world::{HostIndex, World};
use crate::manifest::{Kind, Strength};
use crate::observe::AttemptState;

/// What runs of a component on a host, or is being started there.
#[derive(Debug, Clone, Copy)]
pub(super) struct Running<'a> {
    pub(super) host: HostIndex,
    /// How many instances; 0 while it is being started. A provider is one.
    pub(super) count: u32,
    /// How many of them are not being stopped.
    pub(super) sure: u32,
    pub(super) is_ready: bool,
    /// The group for which it was started.
    pub(super) spread: &'a str,
}

/// What a host is to run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) count: u32,
    pub(super) scaler: usize,
    pub(super) group: usize,
    /// What it is to the host now.
    pub(super) keep: Option<Keep>,
}

/// Where a component is to run.
#[derive(Debug, Default)]
pub(super) struct Placement {
    pub(super) targets: BTreeMap<HostIndex, Target>,
    /// How many were wanted and found no host, by scaler and group.
    pub(super) short: BTreeMap<(usize, usize), u32>,
    /// How many are wanted, by scaler.
    pub(super) wanted: Vec<u32>,
}

/// Works out the hosts of one component.
pub(super) struct Placer<'p, 'a> {
    pub(super) world: &'p mut World<'a>,
    pub(super) pools: &'p mut Pools,
    pub(super) subject: Subject<'p>,
    /// By host.
    pub(super) running: &'p [Running<'p>],
}

/// The group that is being placed.
#[derive(Clone, Copy)]
struct At<'p> {
    scaler: usize,
    group: usize,
    of: &'p Group,
    all: &'p [Group],
}

impl<'p> Placer<'p, '_> {
    /// All groups of all scalers, in the order of the manifest.
    pub(super) fn place(mut self) -> Placement {
        let mut placement = Placement::default();
        for (number, scaler) in self.subject.component.scalers.iter().enumerate() {
            placement.wanted.push(0);
            for (index, group) in scaler.groups.iter().enumerate() {
                let at = At { scaler: number, group: index, of: group, all: &scaler.groups };
                let (wanted, given) = match scaler.kind {
                    ScalerKind::Daemon => self.daemon(at, &mut placement.targets),
                    _ => self.spread(at, &mut placement.targets),
                };
                placement.wanted[number] += wanted;
                if given < wanted {
                    placement.short.insert((number, index), wanted - given);
                }
            }
        }
        self.settle(&placement);
        placement
    }

    /// Counts what is placed, for what is placed later.
    fn settle(&mut self, placement: &Placement) {
        let component = self.subject.component;
        for (&host, target) in &placement.targets {
            let current = on(self.running, host).map_or(0, |running| running.count);
            self.world.take(host, target.count.saturating_sub(current), component.needs);
        }
        if !component.apart.is_empty() {
            self.world.placed.insert(component.id.clone(), placement.targets.keys().copied().collect());
        }
    }

    /// One group of a spread scaler; returns how many are wanted and how many were placed.
    fn spread(&mut self, at: At<'p>, targets: &mut BTreeMap<HostIndex, Target>) -> (u32, u32) {
        let mine = self.mine(at, targets);
        let mut rest = at.of.instances;
        // What cannot be changed, or must not grow, keeps what it has as long as that is wanted.
        for wanted in [Keep::Wait, Keep::NoMore] {
            for (running, _) in mine.iter().filter(|(_, keep)| *keep == wanted) {
                let count = running.count.min(rest);
                rest -= count;
                insert(targets, running.host, count, at, Some(wanted));
            }
        }
        let stay = mine.iter().filter(|(_, keep)| *keep == Keep::Stay).map(|(running, _)| *running).collect();
        let seats = self.seats(at, rest, stay, targets);
        for (seat, count) in seats.iter().zip(self.counts(rest, &seats)) {
            rest -= count;
            insert(targets, seat.host, count, at, (seat.count > 0).then_some(Keep::Stay));
        }
        if seats.is_empty() {
            rest -= self.share(at, rest, targets);
        }
        (at.of.instances, at.of.instances - rest)
    }

    /// What runs for a group, and what may become of it. What was started for a group that is no more belongs to the
    /// first one that its host fits.
    fn mine(&self, at: At<'_>, targets: &BTreeMap<HostIndex, Target>) -> Vec<(Running<'p>, Keep)> {
        let free = self.running.iter().filter(|running| !targets.contains_key(&running.host));
        let is_mine = |running: &&Running<'p>| {
            running.spread == at.of.name || at.all.iter().all(|group| group.name != running.spread)
        };
        free.filter(is_mine)
            .map(|running| (*running, self.subject.keeps(self.world, at.of, running.host)))
            .filter(|(_, keep)| !matches!(keep, Keep::Lost | Keep::Move))
            .collect()
    }

    /// The hosts that share `most` instances: those that have some, then the least busy ones.
    fn seats(
        &mut self,
        at: At<'_>,
        most: u32,
        mut stay: Vec<Running<'p>>,
        targets: &BTreeMap<HostIndex, Target>,
    ) -> Vec<Running<'p>> {
        let most = usize::try_from(most).expect("a u32 fits");
        let component = self.subject.component;
        stay.retain(|running| self.world.room(running.host, component, running.count) > 0);
        stay.sort_by_key(|running| {
            (Reverse(running.is_ready), Reverse(running.sure), self.world.entry(running.host).tie, running.host)
        });
        let mut seats: Vec<Running<'p>> = Vec::new();
        for &wishes in wishes(component) {
            let mut places = Places::new(&component.apart, wishes);
            for &host in targets.keys().chain(seats.iter().map(|seat| &seat.host)) {
                places.take(self.world, host);
            }
            stay.retain(|running| {
                let is_seated = seats.len() < most && places.take(self.world, running.host);
                if is_seated {
                    seats.push(*running);
                }
                !is_seated
            });
            let missing = most - seats.len();
            if missing > 0 {
                let seated = seats.iter().map(|seat| seat.host).chain(targets.keys().copied()).collect();
                let newcomers = self.newcomers(at, missing, (places, wishes), &seated);
                seats.extend(newcomers);
            }
        }
        seats
    }

    /// Up to `most` further hosts.
    fn newcomers(
        &mut self,
        at: At<'_>,
        most: usize,
        (mut places, wishes): (Places<'_>, Wishes),
        seated: &HashSet<HostIndex>,
    ) -> Vec<Running<'p>> {
        let (world, running, subject) = (&*self.world, self.running, self.subject);
        let component = subject.component;
        let starts = || world.starts(component, subject.generation);
        let given_up = starts().filter(|(_, attempt)| attempt.state == AttemptState::GivenUp).count();
        if given_up >= MOST_GIVEN_UP {
            return Vec::new();
        }
        let mut refuse = |host: HostIndex| {
            if seated.contains(&host) || on(running, host).is_some() || !places.is_free(world, host) {
                return Some(Reject::Leaving);
            }
            let reject = subject.unfit(world, host, wishes);
            if reject.is_none() {
                places.take(world, host);
            }
            reject
        };
        let pool = self.pools.of(world, at.of, &component.tolerated);
        // Where a start is under way it goes on.
        let begun = starts().map(|(host, _)| host).filter(|host| pool.members.binary_search(host).is_ok());
        let mut chosen: BTreeSet<HostIndex> = BTreeSet::new();
        for host in begun {
            if chosen.len() < most && !chosen.contains(&host) && refuse(host).is_none() {
                chosen.insert(host);
            }
        }
        let others = pool.choose(world, component.needs, most - chosen.len(), |host| {
            if chosen.contains(&host) { Some(Reject::Leaving) } else { refuse(host) }
        });
        let seat = |host| Running { host, count: 0, sure: 0, is_ready: false, spread: "" };
        chosen.into_iter().chain(others).map(seat).collect()
    }

    /// How many instances each seat gets.
    fn counts(&self, total: u32, seats: &[Running<'_>]) -> Vec<u32> {
        if seats.len() >= total as usize {
            return vec![1; seats.len()];
        }
        let component = self.subject.component;
        let slot = |seat: &Running<'_>| Slot {
            weight: self.world.entry(seat.host).host.weight().into(),
            room: self.world.room(seat.host, component, seat.count).min(most_on_host(component)),
            current: seat.sure,
            tie: self.world.entry(seat.host).tie,
        };
        fill(total, &seats.iter().map(slot).collect::<Vec<_>>())
    }

    /// Where a group has no host of its own, those that it has in common with earlier groups take its instances too.
    fn share(&mut self, at: At<'_>, total: u32, targets: &mut BTreeMap<HostIndex, Target>) -> u32 {
        if total == 0 || self.subject.component.kind == Kind::Provider {
            return 0;
        }
        let component = self.subject.component;
        let members = &self.pools.of(self.world, at.of, &component.tolerated).members;
        let common: Vec<HostIndex> =
            targets.keys().copied().filter(|host| members.binary_search(host).is_ok()).collect();
        let slot = |&host: &HostIndex| {
            let current = on(self.running, host).map_or(0, |running| running.count);
            let room = self.world.room(host, component, current).min(most_on_host(component));
            let entry = self.world.entry(host);
            let room = room.saturating_sub(targets[&host].count);
            Slot { weight: entry.host.weight().into(), room, current, tie: entry.tie }
        };
        let counts = fill(total, &common.iter().map(slot).collect::<Vec<_>>());
        for (host, count) in common.iter().zip(&counts) {
            targets.entry(*host).and_modify(|target| target.count += count);
        }
        counts.iter().sum()
    }

    /// One group of a daemon scaler; returns how many are wanted and how many were placed.
    fn daemon(&mut self, at: At<'p>, targets: &mut BTreeMap<HostIndex, Target>) -> (u32, u32) {
        let (world, subject) = (&*self.world, self.subject);
        let component = subject.component;
        let each = if component.kind == Kind::Provider { at.of.instances.min(1) } else { at.of.instances };
        for (running, keep) in self.mine(at, targets) {
            if matches!(keep, Keep::Wait | Keep::NoMore) {
                insert(targets, running.host, running.count.min(each), at, Some(keep));
            }
        }
        let (mut wanted, mut given) = targets
            .values()
            .filter(|target| (target.scaler, target.group) == (at.scaler, at.group))
            .fold((0, 0), |(wanted, given), target| (wanted + target.count, given + target.count));
        for &host in &self.pools.of(world, at.of, &component.tolerated).members {
            if targets.contains_key(&host) {
                continue;
            }
            let current = on(self.running, host);
            let refused = current.is_none() && subject.unfit(world, host, Wishes::Required).is_some();
            let room = world.room(host, component, current.map_or(0, |running| running.count));
            let count = if refused { 0 } else { each.min(room).min(most_on_host(component)) };
            wanted += each;
            given += count;
            insert(targets, host, count, at, current.map(|_| Keep::Stay));
        }
        (wanted, given)
    }
}

fn on<'r, 'p>(running: &'r [Running<'p>], host: HostIndex) -> Option<&'r Running<'p>> {
    running.binary_search_by_key(&host, |running| running.host).ok().map(|index| &running[index])
}

fn insert(targets: &mut BTreeMap<HostIndex, Target>, host: HostIndex, count: u32, at: At<'_>, keep: Option<Keep>) {
    if count > 0 {
        targets.insert(host, Target { count, scaler: at.scaler, group: at.group, keep });
    }
}

/// Wishes that may be broken are tried first, if there are any.
fn wishes(component: &Component) -> &'static [Wishes] {
    let has_wishes = component.apart.iter().any(|apart| apart.strength == Strength::Preferred);
    if has_wishes { &[Wishes::All, Wishes::Required] } else { &[Wishes::Required] }
}

/// A provider runs once on a host, and so does what keeps apart from itself.
fn most_on_host(component: &Component) -> u32 {
    let keeps_apart = |apart: &Apart| apart.from.is_empty() && apart.strength == Strength::Required;
    let is_single = component.kind == Kind::Provider || component.apart.iter().any(keeps_apart);
    if is_single { 1 } else { u32::MAX }
}

/// The places that a component which keeps apart from itself has taken.
struct Places<'w> {
    taken: Vec<(Option<&'w str>, HashSet<&'w str>)>,
}

impl<'w> Places<'w> {
    fn new(apart: &'w [Apart], wishes: Wishes) -> Self {
        let from_itself = apart.iter().filter(|apart| apart.from.is_empty() && apart.mode == Mode::Own);
        let binding = from_itself.filter(|apart| wishes == Wishes::All || apart.strength == Strength::Required);
        Self { taken: binding.map(|apart| (apart.topology.as_deref(), HashSet::new())).collect() }
    }

    fn is_free(&self, world: &World<'_>, host: HostIndex) -> bool {
        self.taken.iter().all(|(topology, taken)| !taken.contains(world.place(host, *topology)))
    }

    /// Takes the places of a host, unless one of them is taken already.
    fn take(&mut self, world: &World<'w>, host: HostIndex) -> bool {
        let is_free = self.is_free(world, host);
        if is_free {
            for (topology, taken) in &mut self.taken {
                taken.insert(world.place(host, *topology));
            }
        }
        is_free
    }
}
