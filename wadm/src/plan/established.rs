//! Whether the providers at the ends of a link have established it, by what their hosts say.

use trellis_lattice::id::{ConfigName, EntityId};
use trellis_lattice::message::command::StringMap;
use trellis_lattice::message::link::Link;

use super::outcome::State;
use super::world::World;
use crate::observe::{Health, LinkKey, LinkStanding, Observed};

/// What is wrong with a link that is in the records; `None` when nothing is, as far as hosts say. A host that says
/// nothing of links, as one of lattice v1, has them all.
pub(super) fn check(world: &World<'_>, link: &Link) -> Option<(State, String)> {
    let key = LinkKey::of(link);
    let target = Some(&key.target).filter(|target| **target != key.source);
    let mut pending = None;
    for id in target.into_iter().chain([&key.source]) {
        let present = world.providers(id).iter().filter(|(host, _)| world.entry(*host).host.is_here());
        let telling = present.filter_map(|(host, provider)| Some((*host, provider.links.as_ref()?)));
        for (host, links) in telling {
            let host = &world.entry(host).host.name;
            match links.get(&key).filter(|standing| is_of(standing, &fingerprints(world.observed, link, id))) {
                Some(LinkStanding { health: Health::Failed { reason }, .. }) => {
                    return Some((State::Unhealthy, format!("on {host}: {reason}")));
                }
                Some(LinkStanding { health: Health::Established, .. }) => {}
                Some(LinkStanding { health: Health::Pending, .. }) | None => {
                    pending.get_or_insert_with(|| format!("on {host}: {id} has not established it yet"));
                }
            }
        }
    }
    pending.map(|message| (State::Reconciling, message))
}

/// Whether a standing speaks of the link as it is now, as far as that is known.
fn is_of(standing: &LinkStanding, fingerprints: &[String]) -> bool {
    let said = standing.fingerprint.as_ref();
    said.is_none_or(|said| fingerprints.is_empty() || fingerprints.contains(said))
}

/// Of the link as the records have it, for each end that `id` is.
fn fingerprints(observed: &Observed, link: &Link, id: &EntityId) -> Vec<String> {
    let ends = [(&link.source_id, &link.source_config), (&link.target, &link.target_config)];
    let configs = ends.into_iter().filter(|(end, _)| *end == id).map(|(_, names)| merged(observed, names));
    configs.collect::<Option<Vec<_>>>().into_iter().flatten().map(|config| link.fingerprint(&config)).collect()
}

/// The configs `names` merged, later ones over earlier ones; `None` when one of them is not known.
fn merged(observed: &Observed, names: &[ConfigName]) -> Option<StringMap> {
    let configs = observed.configs.as_ref()?;
    let mut merged = StringMap::new();
    for name in names {
        merged.extend(configs.get(name)?.iter().map(|(key, value)| (key.clone(), value.clone())));
    }
    Some(merged)
}
