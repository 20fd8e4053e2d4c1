//! A model of the world: what becomes of a look when actions are carried out.

use trellis_wadm::observe::{Actor, LinkKey, Observed, Provider, Readiness};
use trellis_wadm::plan::{Action, Deed, ScaleActor};

/// Carries out all of `actions`, with what is started or replaced then being as `readiness` says.
pub(crate) fn carry_out(observed: &mut Observed, actions: &[Action], readiness: &Readiness) {
    for action in actions {
        apply(observed, action, readiness);
    }
}

fn apply(observed: &mut Observed, action: &Action, readiness: &Readiness) {
    match &action.deed {
        Deed::RecordOwned { instead_of, owned } => {
            let ledger = observed.owned.as_mut().expect("it was read");
            assert_eq!(ledger.get(&action.app), instead_of.as_ref(), "what it replaces");
            ledger.insert(action.app.clone(), owned.clone());
        }
        Deed::PutConfig { name, values } => {
            assert!(observed.owned.as_ref().expect("read")[&action.app].configs.contains(name), "recorded before");
            observed.configs.as_mut().expect("read").insert(name.clone(), values.clone());
        }
        Deed::DeleteConfig { name } => drop(observed.configs.as_mut().expect("read").remove(name)),
        Deed::PutLink { link } => {
            let (key, links) = (LinkKey::of(link), observed.links.as_mut().expect("read"));
            let is_recorded = observed.owned.as_ref().expect("read")[&action.app].links.contains(&key);
            assert!(is_recorded, "{key} is recorded before");
            links.insert(key, link.clone());
        }
        Deed::RestoreLink { link } => {
            observed.links.as_mut().expect("read").insert(LinkKey::of(link), link.clone());
        }
        Deed::DeleteLink { link } => {
            // As lattice v1 deletes: whatever the target is.
            let of = |key: &LinkKey| (key.source.clone(), key.name.clone(), key.namespace.clone(), key.package.clone());
            observed.links.as_mut().expect("read").retain(|key, _| of(key) != of(link));
        }
        Deed::ScaleActor(actor) | Deed::UpdateActor(actor) => scale(observed, actor, readiness),
        Deed::StopActor { host, id, .. } => {
            let inventory = observed.hosts.get_mut(host).and_then(|host| host.inventory.as_mut());
            inventory.expect("a known host").actors.remove(id).expect("it ran");
        }
        Deed::StartProvider(provider) => {
            let started = Provider {
                reference: Some(provider.reference.clone()),
                owner: Some(provider.owner.clone()),
                config: Some(provider.config.to_vec()),
                readiness: readiness.clone(),
                links: None,
            };
            let inventory = observed.hosts.get_mut(&provider.host).and_then(|host| host.inventory.as_mut());
            let before = inventory.expect("a known host").providers.insert(provider.id.clone(), started);
            assert!(before.is_none(), "{} was started twice", provider.id);
        }
        Deed::UpdateProvider(provider) => {
            let inventory = observed.hosts.get_mut(&provider.host).and_then(|host| host.inventory.as_mut());
            let running = inventory.expect("a known host").providers.get_mut(&provider.id).expect("it runs");
            assert!(running.links.is_some(), "hosts that say nothing of links replace no provider");
            running.reference = Some(provider.reference.clone());
            running.owner = Some(provider.owner.clone());
            running.config = Some(provider.config.to_vec());
            running.readiness = readiness.clone();
        }
        Deed::StopProvider { host, id } => {
            let inventory = observed.hosts.get_mut(host).and_then(|host| host.inventory.as_mut());
            inventory.expect("a known host").providers.remove(id).expect("it ran");
        }
        Deed::RollBack { .. } => {}
    }
}

fn scale(observed: &mut Observed, actor: &ScaleActor, readiness: &Readiness) {
    let inventory = observed.hosts.get_mut(&actor.host).and_then(|host| host.inventory.as_mut());
    let actors = &mut inventory.expect("a known host").actors;
    let is_new = actors.get(&actor.id).is_none_or(|known| known.reference != actor.reference);
    let kept = actors.get(&actor.id).map_or(Readiness::Running, |known| known.readiness.clone());
    let scaled = Actor {
        reference: actor.reference.clone(),
        digest: actor.digest.clone(),
        max_instances: actor.count,
        owner: Some(actor.owner.clone()),
        limits: Some(actor.limits),
        config: Some(actor.config.to_vec()),
        readiness_rule: actor.readiness.clone(),
        readiness: if is_new { readiness.clone() } else { kept },
        exports: None,
    };
    actors.insert(actor.id.clone(), scaled);
}
