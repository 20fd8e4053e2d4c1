//! From the intent to what is asked for: ids, shared components, and what contradicts itself.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use trellis_lattice::id::EntityId;

use super::component::component;
use super::configs::Configs;
use super::links::{Ids, Reading};
use super::model::{Apart, App, Desired, Gone, Mode};
use crate::intent::{AppIntent, AppName, Deployed, Intent};
use crate::manifest::{Component, SharedApplication, Source, Trait};
use crate::observe::LinkKey;
use crate::plan::outcome::Problem;

/// The annotation of an application whose components others may use.
const SHARED: &str = "experimental.wasmcloud.dev/shared";

/// What the intent asks for. What cannot be had becomes a problem of its application and is left out.
pub(in crate::plan) fn desired(intent: &Intent) -> Desired {
    let mut desired = Desired::default();
    for (name, app) in &intent.apps {
        match app {
            AppIntent::Deployed(deployed) => desired.apps.push(read(name, deployed, intent)),
            AppIntent::Undeployed { generation } => {
                desired.gone.push(Gone { name: name.clone(), generation: *generation });
            }
        }
    }
    refuse_what_two_want(&mut desired.apps);
    desired
}

fn read(name: &AppName, deployed: &Deployed, intent: &Intent) -> App {
    let spec = &deployed.manifest.spec;
    let mut configs = Configs { app: name, policies: &spec.policies, managed: BTreeMap::new(), problems: Vec::new() };
    let ids = ids(name, &spec.components, intent, &mut configs);
    let mut components = Vec::new();
    let mut links = Vec::new();
    for read in &spec.components {
        let Some(id) = ids.get(read.name.as_str()) else { continue };
        components.extend(component(read, id.clone(), &mut configs, |other| ids.get(other).cloned()));
        let reading = Reading { source: read, components: &spec.components, ids: &ids };
        for item in &read.traits {
            if let Trait::Link(link) = item {
                missing_target(link, read, &ids, &spec.components, &mut configs);
                links.extend(reading.links(link, &mut configs));
            }
        }
    }
    mirror_apart(&mut components);
    App {
        name: name.clone(),
        generation: deployed.generation,
        version: deployed.version.clone(),
        components,
        links,
        configs: configs.managed,
        problems: configs.problems,
    }
}

fn ids<'a>(app: &AppName, components: &'a [Component], intent: &Intent, configs: &mut Configs<'_>) -> Ids<'a> {
    let mut ids = Ids::new();
    for component in components {
        let id = match &component.properties.source {
            Source::Image(_) => own_id(component, app.as_str()),
            Source::Shared(shared) => shared_id(shared, intent),
        };
        match id {
            Ok(id) => drop(ids.insert(&component.name, id)),
            Err(message) => configs.problem(&component.name, message),
        }
    }
    ids
}

/// The id of a component of the application itself.
fn own_id(component: &Component, app: &str) -> Result<EntityId, String> {
    let id = component.entity_id(app).map_err(|error| format!("{error}; give the component an `id`"))?;
    Ok(id.expect("it has an image of its own"))
}

/// The id of another application's component.
fn shared_id(shared: &SharedApplication, intent: &Intent) -> Result<EntityId, String> {
    let SharedApplication { name, component } = shared;
    let deployed = match intent.apps.get(name.as_str()) {
        Some(AppIntent::Deployed(deployed)) => deployed,
        _ => {
            return Err(format!(
                "application {name:?}, which is to share {component:?}, is not deployed: deploy it first"
            ));
        }
    };
    let manifest = &deployed.manifest;
    if manifest.metadata.annotations.get(SHARED).map(String::as_str) != Some("true") {
        return Err(format!(
            "application {name:?} does not share its components: annotate it with `{SHARED}: \"true\"`"
        ));
    }
    let found = manifest.spec.components.iter().find(|candidate| candidate.name == *component);
    match found.map(|found| (&found.properties.source, found)) {
        Some((Source::Image(_), found)) => own_id(found, name),
        Some((Source::Shared(_), _)) => {
            Err(format!("{component:?} of application {name:?} is itself shared by another application: name that one"))
        }
        None => Err(format!("application {name:?} has no component {component:?}")),
    }
}

fn missing_target(
    link: &crate::manifest::LinkTrait,
    source: &Component,
    ids: &Ids<'_>,
    components: &[Component],
    configs: &mut Configs<'_>,
) {
    let target = link.target.name();
    let is_known = ids.contains_key(target) || components.iter().any(|component| component.name == target);
    if !is_known {
        configs.problem(&source.name, format!("it links to {target:?}, which is no component of this application"));
    }
}

/// A wish to be apart binds both: the other one is not placed beside it either.
fn mirror_apart(components: &mut [super::model::Component]) {
    let mut mirrored: Vec<(EntityId, Apart)> = Vec::new();
    for component in components.iter() {
        for apart in &component.apart {
            for other in &apart.from {
                let apart = Apart { from: vec![component.id.clone()], mode: Mode::Mirrored, ..apart.clone() };
                mirrored.push((other.clone(), apart));
            }
        }
    }
    for (id, apart) in mirrored {
        components.iter_mut().filter(|component| component.id == id).for_each(|c| c.apart.push(apart.clone()));
    }
}

/// Of two that want the same id, config or link, the first by name of application gets it.
fn refuse_what_two_want(apps: &mut [App]) {
    let mut entities = BTreeMap::new();
    let mut configs = BTreeMap::new();
    let mut links = BTreeMap::new();
    for app in apps {
        let App { name, components, links: wanted, configs: managed, problems, .. } = app;
        let mut refuse = |subject: &str, message: String| {
            problems.push(Problem { app: name.clone(), subject: subject.to_owned(), message });
        };
        components.retain(|component| {
            let first = claim(&mut entities, component.id.clone(), name);
            let text = |first| format!("its id {} is that of a component of {first}: choose another", component.id);
            first.map(|first| refuse(&component.name, text(first))).is_none()
        });
        managed.retain(|config, content| {
            let first = claim(&mut configs, config.clone(), name);
            let text = |first| format!("config {config} belongs to {first}: rename it");
            first.map(|first| refuse(&content.title, text(first))).is_none()
        });
        wanted.retain(|link| {
            let first = claim(&mut links, LinkKey::of(&link.link), name);
            let text = |first| format!("that link is already one of {first}: name it differently");
            first.map(|first| refuse(&link.title, text(first))).is_none()
        });
    }
}

/// Who has `key` already; else `name` has it from now on.
fn claim<K: Ord>(taken: &mut BTreeMap<K, AppName>, key: K, name: &AppName) -> Option<AppName> {
    match taken.entry(key) {
        Entry::Occupied(entry) => Some(entry.get().clone()),
        Entry::Vacant(entry) => {
            entry.insert(name.clone());
            None
        }
    }
}
