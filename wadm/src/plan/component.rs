//! One component: from where it runs and where it is to run to what is started, changed and stopped, and in which
//! order, so that what is ready never falls below what is wanted.

use std::sync::Arc;

use trellis_lattice::id::HostId;

use super::action::{Deed, ScaleActor, StartProvider};
use super::desired::{Component, RolloutRule};
use super::draft::{Draft, For, Proposed};
use super::placement::{Keep, Subject};
use super::spare::Spare;
use super::spread::{Placement, Target};
use super::thing::Thing;
use super::world::{HostIndex, World};
use crate::manifest::Kind;
use crate::observe::{Owner, Readiness};

/// What becomes of a component in this plan.
#[derive(Debug, Default)]
pub(super) struct Course {
    /// Whether anything of it is planned, under way or held back.
    pub(super) is_moving: bool,
    /// What goes wrong on the way, for people; the first of each kind.
    pub(super) troubles: Vec<String>,
    /// What was given up, for people.
    pub(super) given_up: Vec<String>,
    /// What runs and does not do its work, for people.
    pub(super) failing: Vec<String>,
    /// What is ready, up to what is wanted of each host.
    pub(super) ready: u32,
}

/// Proposes what brings a component from `things` to `placement`.
pub(super) struct Mover<'m, 'a> {
    pub(super) world: &'m World<'a>,
    pub(super) draft: &'m mut Draft<'a>,
    pub(super) subject: Subject<'m>,
    pub(super) things: &'m [Thing<'a>],
    pub(super) placement: &'m Placement,
    /// Why nothing of it may be started now, if so.
    pub(super) held: Option<String>,
    pub(super) course: Course,
}

impl Mover<'_, '_> {
    /// Starts and changes first, then what is too much.
    pub(super) fn run(mut self) -> Course {
        self.look();
        self.start();
        let stopped = self.update();
        self.reduce(&stopped);
        self.course
    }

    fn thing(&self, host: HostIndex) -> Option<Thing<'_>> {
        let found = self.things.binary_search_by_key(&host, |thing| thing.host);
        found.ok().map(|index| self.things[index])
    }

    fn look(&mut self) {
        for thing in self.things {
            let target = self.placement.targets.get(&thing.host);
            if let (Readiness::Failing { reason }, true) = (thing.readiness, thing.is_here) {
                self.course.failing.push(format!("on {}: {reason}", self.world.entry(thing.host).host.name));
            }
            if let (Readiness::Waiting { reason }, true) = (thing.readiness, thing.is_here && thing.is_current) {
                let name = &self.world.entry(thing.host).host.name;
                add(&mut self.course.troubles, &format!("on {name}: {reason}"));
            }
            if let (Some(target), true) = (target, thing.is_ready() && thing.is_current) {
                self.course.ready += thing.sure.min(target.count);
            }
        }
    }

    fn start(&mut self) {
        for (&host, target) in &self.placement.targets {
            let thing = self.thing(host);
            let grows = match thing {
                None => true,
                // What is to be replaced anyway gets its new count with that.
                Some(thing) => thing.is_here && thing.is_current && thing.count < target.count,
            };
            if !grows || target.keep == Some(Keep::Wait) {
                continue;
            }
            if let Some(reason) = self.held.clone() {
                self.note(&Proposed::Held(reason));
                continue;
            }
            let deed = self.deed(host, &self.raised(host, target), Kin::Same);
            self.propose(deed);
        }
    }

    /// No fewer instances than may be coming: what is too much is taken away afterwards, once enough is ready.
    fn raised(&self, host: HostIndex, target: &Target) -> Target {
        Target { count: target.count.max(self.world.coming(host, &self.subject.component.id)), ..*target }
    }

    /// Replaces what is not current, as much at a time as the rollout allows, and at once what does no work: what mends it
    /// must not wait for it. Returns where something is stopped for that, because its host cannot replace it while it runs.
    fn update(&mut self) -> Vec<HostIndex> {
        let mut old: Vec<Thing<'_>> = self.things.iter().copied().filter(|thing| self.is_outdated(thing)).collect();
        old.sort_by_key(|thing| thing.is_ready());
        let wanted: u32 = self.placement.wanted.iter().sum();
        let mut room = self.rollout_room(wanted);
        let mut is_first = room.in_flight == 0;
        let mut stopped = Vec::new();
        for thing in old {
            let target = self.placement.targets[&thing.host];
            if self.held.is_some() || !(is_first || room.left >= target.count || !thing.is_ready()) {
                let waiting = format!("its rollout goes on when {} more are ready", room.in_flight.max(1));
                self.note(&Proposed::Held(self.held.clone().unwrap_or(waiting)));
                continue;
            }
            is_first = false;
            room.left = room.left.saturating_sub(target.count);
            room.in_flight += target.count;
            let deed = match self.subject.component.kind {
                Kind::Actor => {
                    let target = self.raised(thing.host, &Target { count: target.count.max(thing.count), ..target });
                    self.deed(thing.host, &target, Kin::of(&thing, &self.subject.component.reference))
                }
                Kind::Provider if thing.gives_way => self.deed(thing.host, &target, Kin::Other),
                Kind::Provider => {
                    stopped.push(thing.host);
                    self.explain_stop(thing.host);
                    self.stop(&thing)
                }
            };
            self.propose(deed);
        }
        stopped
    }

    /// Says why there is a gap.
    fn explain_stop(&mut self, host: HostIndex) {
        let (name, host) = (&self.subject.component.name, &self.world.entry(host).host.name);
        let reason = format!(
            "{name} is stopped on {host} before it is started anew: only a provider that runs as a process, on a host \
             of ours, is replaced while it runs"
        );
        self.draft.wait(self.subject.app, reason, None);
    }

    fn is_outdated(&self, thing: &Thing<'_>) -> bool {
        let target = self.placement.targets.get(&thing.host);
        !thing.is_current && thing.is_here && target.is_some_and(|target| target.keep != Some(Keep::Wait))
    }

    fn rollout_room(&self, wanted: u32) -> RolloutRoom {
        let RolloutRule { surge, unavailable, .. } = self.subject.component.rollout;
        let unready = |(host, target): (&HostIndex, &Target)| match self.thing(*host) {
            Some(thing) if thing.is_ready() || self.is_outdated(&thing) => 0,
            _ => target.count,
        };
        let in_flight = self.placement.targets.iter().map(unready).sum();
        let budget = surge.of(wanted).saturating_add(unavailable.of(wanted));
        RolloutRoom { left: budget.saturating_sub(in_flight), in_flight }
    }

    /// Takes away what is too much, as far as enough stays ready.
    fn reduce(&mut self, stopped: &[HostIndex]) {
        let stays_up = |thing: &&Thing<'_>| thing.is_ready() && !stopped.contains(&thing.host);
        let (component, placement) = (self.subject.component, self.placement);
        let mut spare = Spare::new(component, placement, self.things.iter().filter(stays_up));
        for thing in self.things {
            let target = self.placement.targets.get(&thing.host).copied();
            let keeps = target.map_or(0, |target| target.count);
            let is_fixed = !thing.is_here || target.is_some_and(|target| target.keep == Some(Keep::Wait));
            // What is outdated gets its new count with its replacement.
            if is_fixed || keeps >= thing.count || self.is_outdated(thing) {
                continue;
            }
            // What is being stopped already is not counted a second time, and what is not ready was never counted.
            let surplus = if thing.is_ready() { thing.sure.saturating_sub(keeps) } else { 0 };
            if let Some(doubt) = self.draft.doubt().map(str::to_owned) {
                self.note(&Proposed::Held(format!("nothing is stopped while the view is unsettled: {doubt}")));
                continue;
            }
            if thing.may_serve() && !spare.take(component, placement, (thing, surplus)) {
                self.note(&Proposed::Held("what replaces it is not ready yet".to_owned()));
                continue;
            }
            let deed = match target {
                Some(target) => self.deed(thing.host, &target, Kin::Same),
                None => self.stop(thing),
            };
            self.propose(deed);
        }
    }

    fn stop(&self, thing: &Thing<'_>) -> Deed {
        stop(self.world.entry(thing.host).id, self.subject.component, thing)
    }

    fn deed(&self, host: HostIndex, target: &Target, kin: Kin) -> Deed {
        let component = self.subject.component;
        let scaler = &component.scalers[target.scaler];
        let owner = Arc::new(Owner {
            app: self.subject.app.clone(),
            scaler: scaler.id.clone(),
            spread: scaler.groups[target.group].name.clone(),
            generation: self.subject.generation,
        });
        let digest = self.digest(host);
        let (host, id) = (self.world.entry(host).id.clone(), component.id.clone());
        let (reference, config) = (component.reference.clone(), component.config.clone());
        match component.kind {
            Kind::Provider => {
                let provider = StartProvider { host, id, reference, config, owner };
                match kin {
                    Kin::Same => Deed::StartProvider(provider),
                    Kin::Other => Deed::UpdateProvider(provider),
                }
            }
            Kind::Actor => {
                let (limits, readiness) = (component.limits, component.readiness.clone());
                let count = target.count;
                let actor = ScaleActor { host, id, reference, digest, count, limits, readiness, config, owner };
                match kin {
                    Kin::Same => Deed::ScaleActor(actor),
                    Kin::Other => Deed::UpdateActor(actor),
                }
            }
        }
    }

    /// What the reference means for this application already, there or elsewhere: a tag may have been moved since.
    fn digest(&self, host: HostIndex) -> Option<Arc<str>> {
        let here = self.thing(host);
        let is_same = |thing: &&Thing<'_>| thing.reference == Some(&self.subject.component.reference);
        here.iter().chain(self.things).filter(is_same).find_map(|thing| thing.digest.cloned())
    }

    fn propose(&mut self, deed: Deed) {
        let who = For { app: self.subject.app, generation: self.subject.generation };
        let proposed = self.draft.propose(who, deed);
        self.note(&proposed);
    }

    fn note(&mut self, proposed: &Proposed) {
        self.course.is_moving = true;
        match proposed {
            Proposed::Planned | Proposed::Underway => {}
            Proposed::Held(reason) => add(&mut self.course.troubles, reason),
            Proposed::GivenUp(reason) => add(&mut self.course.given_up, reason),
        }
    }
}

/// How many further instances a rollout may touch.
struct RolloutRoom {
    left: u32,
    in_flight: u32,
}

/// Whether the bytes that run stay the same.
#[derive(Clone, Copy)]
enum Kin {
    Same,
    Other,
}

impl Kin {
    fn of(thing: &Thing<'_>, reference: &Arc<str>) -> Self {
        if thing.reference.is_none_or(|known| known == reference) { Self::Same } else { Self::Other }
    }
}

fn add(reasons: &mut Vec<String>, reason: &str) {
    if reasons.len() < 3 && !reasons.iter().any(|known| known == reason) {
        reasons.push(reason.to_owned());
    }
}

/// Stops a component on one host.
pub(super) fn stop(host: &HostId, component: &Component, thing: &Thing<'_>) -> Deed {
    let (host, id) = (host.clone(), component.id.clone());
    match component.kind {
        Kind::Provider => Deed::StopProvider { host, id },
        Kind::Actor => {
            let reference = thing.reference.unwrap_or(&component.reference).clone();
            Deed::StopActor { host, id, reference, owner: thing.owner.clone() }
        }
    }
}
