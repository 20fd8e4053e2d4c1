//! What is no longer wanted: undeployed applications, and components that a new version does not have any more.

use std::sync::Arc;

use trellis_lattice::id::EntityId;

use super::action::Deed;
use super::desired::{App, Gone};
use super::draft::{Draft, For};
use super::outcome::{AppStatus, State};
use super::records::{Records, is_clean};
use super::world::{HostIndex, World};
use crate::observe::Owner;

/// Removes what an undeployed application made, and nothing else.
pub(super) fn remove(world: &World<'_>, gone: &Gone, draft: &mut Draft<'_>) -> AppStatus {
    let who = For { app: &gone.name, generation: gone.generation };
    let left = stop_all(world, who, |_| true, draft);
    let records = Records { observed: world.observed, who, app: None, may_erase: left.reachable == 0 };
    records.run(draft, |_| false);
    let is_clean = is_clean(world.observed, &gone.name);
    let (state, message) = match (left.reachable, left.silent, is_clean) {
        (0, 0, true) => (State::Undeployed, String::new()),
        (0, 0, false) => (State::Reconciling, "its links and configs are being removed".to_owned()),
        (0, silent, _) => {
            (State::Undeployed, format!("{silent} instances on silent hosts are stopped when these are back"))
        }
        (count, ..) => (State::Reconciling, format!("{count} actors and providers of it still run")),
    };
    AppStatus { version: None, generation: gone.generation, state, message, scalers: Vec::new() }
}

/// Whether components that the manifest does not name run for a deployed application, where they can be stopped.
pub(super) fn has_orphans(world: &World<'_>, app: &App) -> bool {
    let Some(owned) = world.owned(&app.name) else { return false };
    let is_here = |host: HostIndex| world.entry(host).host.is_here();
    let actors = owned.actors.iter().filter(|id| is_orphan(app, id)).flat_map(|id| world.actors(id));
    let providers = owned.providers.iter().filter(|id| is_orphan(app, id)).flat_map(|id| world.providers(id));
    let is_mine = |owner: &Option<Arc<Owner>>| owner.as_ref().is_some_and(|owner| owner.app == app.name);
    actors.into_iter().any(|(host, actor)| is_here(*host) && is_mine(&actor.owner))
        || providers.into_iter().any(|(host, provider)| is_here(*host) && is_mine(&provider.owner))
}

/// Stops them.
pub(super) fn remove_orphans(world: &World<'_>, app: &App, draft: &mut Draft<'_>) {
    let who = For { app: &app.name, generation: app.generation };
    stop_all(world, who, |id| is_orphan(app, id), draft);
}

fn is_orphan(app: &App, id: &EntityId) -> bool {
    app.components.iter().all(|component| component.id != *id)
}

/// What is left of something that is being stopped.
struct Left {
    /// On hosts that can be reached.
    reachable: usize,
    /// On hosts that are silent.
    silent: usize,
}

/// Stops what runs for an application under ids that `which` means. Hosts that are silent are told when they are back.
fn stop_all(world: &World<'_>, who: For<'_>, which: impl Fn(&EntityId) -> bool, draft: &mut Draft<'_>) -> Left {
    let mut left = Left { reachable: 0, silent: 0 };
    let Some(owned) = world.owned(who.app) else { return left };
    let is_mine = |owner: Option<&Owner>| owner.is_some_and(|owner| owner.app == *who.app);
    let mut deeds = Vec::new();
    for id in owned.actors.iter().filter(|id| which(id)) {
        for (host, actor) in world.actors(id).iter().filter(|(_, actor)| is_mine(actor.owner.as_deref())) {
            let owner = actor.owner.clone().expect("it was found by its owner");
            let (host_id, reference) = (world.entry(*host).id.clone(), actor.reference.clone());
            deeds.push((*host, Deed::StopActor { host: host_id, id: (*id).clone(), reference, owner }));
        }
    }
    for id in owned.providers.iter().filter(|id| which(id)) {
        for (host, _) in world.providers(id).iter().filter(|(_, provider)| is_mine(provider.owner.as_deref())) {
            deeds.push((*host, Deed::StopProvider { host: world.entry(*host).id.clone(), id: (*id).clone() }));
        }
    }
    for (host, deed) in deeds {
        if world.entry(host).host.is_here() {
            left.reachable += 1;
            draft.propose(who, deed);
        } else {
            left.silent += 1;
        }
    }
    left
}
