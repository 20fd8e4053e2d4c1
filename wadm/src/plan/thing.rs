//! What runs of a component, as its hosts tell it. What becomes of that is in `component.rs`.

use std::sync::Arc;

use trellis_lattice::id::ConfigName;

use super::desired::Component;
use super::placement::Subject;
use super::spread::Running;
use super::world::{HostIndex, World};
use crate::manifest::Kind;
use crate::observe::{Actor, Owner, Provider, Readiness};

/// What the reference of a provider begins with that is built into its host.
const BUILT_IN: &str = "builtin:";

/// A component as it runs on a host.
#[derive(Debug, Clone, Copy)]
pub(super) struct Thing<'a> {
    pub(super) host: HostIndex,
    pub(super) count: u32,
    /// How many of them are not being stopped.
    pub(super) sure: u32,
    /// Whether it is what the manifest says now, as far as its host tells.
    pub(super) is_current: bool,
    pub(super) reference: Option<&'a Arc<str>>,
    /// What its bytes are, as far as its host tells.
    pub(super) digest: Option<&'a Arc<str>>,
    pub(super) readiness: &'a Readiness,
    pub(super) owner: &'a Arc<Owner>,
    /// Whether its host can be reached.
    pub(super) is_here: bool,
    /// Whether its host can run what the manifest says in its place, without a gap.
    pub(super) gives_way: bool,
}

impl Thing<'_> {
    pub(super) fn is_ready(&self) -> bool {
        self.is_here && self.readiness.is_ready()
    }

    /// Whether work may rely on it for all that is known: its host did not say that it cannot.
    pub(super) fn may_serve(&self) -> bool {
        !matches!(self.readiness, Readiness::Waiting { .. } | Readiness::Failing { .. })
    }
}

/// What runs of a component for its application, by host.
pub(super) fn things<'a>(world: &World<'a>, subject: Subject<'_>) -> Vec<Thing<'a>> {
    let component = subject.component;
    let mine = |owner: &Option<Arc<Owner>>| owner.as_ref().is_some_and(|owner| owner.app == *subject.app);
    let same_config =
        |config: &Option<Vec<ConfigName>>| config.as_ref().is_none_or(|config| **config == *component.config);
    match component.kind {
        Kind::Actor => {
            let actors = world.actors(&component.id).iter();
            let thing = |&(host, actor): &(HostIndex, &'a Actor)| {
                let owner = actor.owner.as_ref().filter(|_| mine(&actor.owner))?;
                let is_current = actor.reference == component.reference
                    && actor.limits.is_none_or(|limits| limits == component.limits)
                    && actor.readiness_rule == component.readiness
                    && same_config(&actor.config);
                let is_here = world.entry(host).host.is_here();
                let (reference, digest, readiness) = (Some(&actor.reference), actor.digest.as_ref(), &actor.readiness);
                let (count, sure) = (actor.max_instances, world.sure(host, &component.id, actor.max_instances));
                Some(Thing {
                    host,
                    count,
                    sure,
                    is_current,
                    reference,
                    digest,
                    readiness,
                    owner,
                    is_here,
                    gives_way: true,
                })
            };
            actors.filter_map(thing).collect()
        }
        Kind::Provider => {
            let providers = world.providers(&component.id).iter();
            let thing = |&(host, provider): &(HostIndex, &'a Provider)| {
                let owner = provider.owner.as_ref().filter(|_| mine(&provider.owner))?;
                let same_reference = provider.reference.as_ref().is_none_or(|known| *known == component.reference);
                let is_current = same_reference && same_config(&provider.config);
                let is_here = world.entry(host).host.is_here();
                let (reference, readiness) = (provider.reference.as_ref(), &provider.readiness);
                let (count, sure) = (1, world.sure(host, &component.id, 1));
                let gives_way = gives_way(provider, component);
                Some(Thing {
                    host,
                    count,
                    sure,
                    is_current,
                    reference,
                    digest: None,
                    readiness,
                    owner,
                    is_here,
                    gives_way,
                })
            };
            providers.filter_map(thing).collect()
        }
    }
}

/// Whether the host of a provider can replace it while it runs: what is built in runs in the host itself, and hosts of
/// lattice v1, which say nothing of links, start no provider that they run already.
fn gives_way(provider: &Provider, component: &Component) -> bool {
    let is_process = |reference: &str| !reference.starts_with(BUILT_IN);
    provider.links.is_some()
        && provider.reference.as_deref().is_some_and(is_process)
        && is_process(&component.reference)
}

/// The same for placement.
pub(super) fn running<'a>(things: &[Thing<'a>]) -> Vec<Running<'a>> {
    let running = |thing: &Thing<'a>| Running {
        host: thing.host,
        count: thing.count,
        sure: thing.sure,
        is_ready: thing.is_ready(),
        spread: &thing.owner.spread,
    };
    things.iter().map(running).collect()
}
