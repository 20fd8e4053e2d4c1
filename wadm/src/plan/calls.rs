//! Who calls whom once an application is deployed, where the code of one end is new: whoever reads the images can tell
//! whether both ends still fit together.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use trellis_lattice::id::EntityId;
use trellis_lattice::message::link::Link;

use super::desired::{App, Desired, desired};
use crate::intent::{AppName, Intent};
use crate::manifest::Kind;
use crate::observe::{LinkKey, Observed};

/// A link between two actors.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// Who calls.
    pub source: End,
    /// Who is called.
    pub target: End,
    /// The name of the link.
    pub link: String,
    /// The interfaces, as `namespace:package/interface`.
    pub contracts: Vec<String>,
}

/// An end of a link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct End {
    /// Its id.
    pub id: EntityId,
    /// What is to run of it.
    pub image: Arc<str>,
    /// What runs of it now.
    pub runs: BTreeSet<Arc<str>>,
}

impl End {
    /// Whether something else is to run than what runs.
    fn is_new(&self) -> bool {
        self.runs.iter().ne([&self.image])
    }
}

/// The links that have an end in `app`, as `intent` has it, whose code is new. Only those between actors: what providers
/// serve is built in.
pub fn calls(intent: &Intent, observed: &Observed, app: &AppName) -> Vec<Call> {
    let desired = desired(intent);
    let Some(deployed) = desired.apps.iter().find(|deployed| deployed.name == *app) else { return Vec::new() };
    let ends = Ends::new(&desired, observed);
    let is_mine = |id: &EntityId| deployed.components.iter().any(|component| component.id == *id);
    let mut calls = Vec::new();
    for link in links(deployed, observed) {
        let (Some(source), Some(target)) = (ends.actor(&link.source_id), ends.actor(&link.target)) else { continue };
        if [&source, &target].into_iter().any(|end| end.is_new() && is_mine(&end.id)) {
            let contract = |interface| format!("{}:{}/{interface}", link.wit_namespace, link.wit_package);
            let contracts = link.interfaces.iter().map(contract).collect();
            calls.push(Call { source, target, link: link.name.to_string(), contracts });
        }
    }
    calls
}

/// The links as they are to be: those that `app` wants, and those that are there and are not its own.
fn links<'l>(app: &'l App, observed: &'l Observed) -> Vec<&'l Link> {
    let owned = observed.owned.as_ref().and_then(|ledgers| ledgers.get(&app.name));
    let is_own = |key: &LinkKey| owned.is_some_and(|owned| owned.links.contains(key));
    let mut links: BTreeMap<LinkKey, &Link> = BTreeMap::new();
    for (key, link) in observed.links.iter().flatten().filter(|(key, _)| !is_own(key)) {
        links.insert(key.clone(), link);
    }
    for wanted in &app.links {
        links.insert(LinkKey::of(&wanted.link), &wanted.link);
    }
    links.into_values().collect()
}

/// What is to run and what runs, by id.
struct Ends<'e> {
    wanted: BTreeMap<&'e EntityId, (Kind, &'e Arc<str>)>,
    runs: BTreeMap<&'e EntityId, BTreeSet<Arc<str>>>,
}

impl<'e> Ends<'e> {
    fn new(desired: &'e Desired, observed: &'e Observed) -> Self {
        let components = desired.apps.iter().flat_map(|app| &app.components);
        let wanted = components.map(|component| (&component.id, (component.kind, &component.reference)));
        let mut runs: BTreeMap<&EntityId, BTreeSet<Arc<str>>> = BTreeMap::new();
        let inventories = observed.hosts.values().filter_map(|host| host.inventory.as_ref());
        for (id, actor) in inventories.flat_map(|inventory| &inventory.actors) {
            runs.entry(id).or_default().insert(actor.reference.clone());
        }
        Self { wanted: wanted.collect(), runs }
    }

    /// An end, unless it is a provider, or nothing is known of it.
    fn actor(&self, id: &EntityId) -> Option<End> {
        let runs = self.runs.get(id).cloned().unwrap_or_default();
        let image = match self.wanted.get(id) {
            Some((Kind::Actor, image)) => Arc::clone(image),
            Some((Kind::Provider, _)) => return None,
            None => runs.first()?.clone(),
        };
        Some(End { id: id.clone(), image, runs })
    }
}
