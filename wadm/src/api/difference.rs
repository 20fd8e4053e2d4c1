//! What is different between two manifests of an application, permissions above all: which component gains or loses
//! which contract of which other one.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::manifest::{Component, LinkTrait, Manifest, Source, Trait};

/// What is different.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Difference {
    /// Components that come.
    pub added: Vec<String>,
    /// Components that go.
    pub removed: Vec<String>,
    /// Components that stay, and what of them is different, for people.
    pub changed: BTreeMap<String, Vec<String>>,
    /// What components may call that they could not.
    pub gained: Vec<Grant>,
    /// What they could call and may not any more.
    pub lost: Vec<Grant>,
}

/// A permission to call.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Grant {
    /// Who calls.
    pub component: String,
    /// What, e.g. `wasi:keyvalue/store`.
    pub contract: String,
    /// Whose.
    pub target: String,
}

/// What is different in `after` from `before`, which is none when nothing is deployed.
pub fn difference(before: Option<&Manifest>, after: &Manifest) -> Difference {
    let (old, new) = (before.map(components).unwrap_or_default(), components(after));
    let (had, has) = (before.map(grants).unwrap_or_default(), grants(after));
    let only = |one: &BTreeMap<&str, &Component>, other: &BTreeMap<&str, &Component>| {
        let names = one.keys().filter(|name| !other.contains_key(*name));
        names.map(|name| (*name).to_owned()).collect()
    };
    let both = new.iter().filter_map(|(name, after)| Some((*name, *old.get(name)?, *after)));
    let changed = both.map(|(name, before, after)| (name.to_owned(), changes(before, after)));
    Difference {
        added: only(&new, &old),
        removed: only(&old, &new),
        changed: changed.filter(|(_, changes)| !changes.is_empty()).collect(),
        gained: has.difference(&had).cloned().collect(),
        lost: had.difference(&has).cloned().collect(),
    }
}

fn components(manifest: &Manifest) -> BTreeMap<&str, &Component> {
    manifest.spec.components.iter().map(|component| (component.name.as_str(), component)).collect()
}

fn grants(manifest: &Manifest) -> BTreeSet<Grant> {
    let mut grants = BTreeSet::new();
    for component in &manifest.spec.components {
        for link in links(component) {
            grants.extend(link.interfaces.iter().map(|interface| Grant {
                component: component.name.clone(),
                contract: format!("{}:{}/{interface}", link.namespace, link.package),
                target: link.target.name().to_owned(),
            }));
        }
    }
    grants
}

fn links(component: &Component) -> impl Iterator<Item = &LinkTrait> {
    component.traits.iter().filter_map(|found| match found {
        Trait::Link(link) => Some(&**link),
        _ => None,
    })
}

fn changes(before: &Component, after: &Component) -> Vec<String> {
    let mut changes = Vec::new();
    let (old, new) = (&before.properties, &after.properties);
    if before.kind != after.kind {
        changes.push("is of another type".to_owned());
    }
    if old.source != new.source {
        changes.push(format!("image {} -> {}", source(&old.source), source(&new.source)));
    }
    if old.id != new.id {
        changes.push("has another id: the old one is stopped".to_owned());
    }
    if old.config != new.config {
        changes.push("configs are different".to_owned());
    }
    if old.secrets != new.secrets {
        changes.push("secrets are different".to_owned());
    }
    let of = |component: &Component| -> BTreeMap<&'static str, Vec<Trait>> {
        let mut traits: BTreeMap<_, Vec<Trait>> = BTreeMap::new();
        for found in &component.traits {
            traits.entry(found.name()).or_default().push(found.clone());
        }
        traits
    };
    let (old, new) = (of(before), of(after));
    let names: BTreeSet<_> = old.keys().chain(new.keys()).copied().collect();
    for name in names.into_iter().filter(|name| old.get(name) != new.get(name)) {
        changes.push(match (instances(&before.traits, name), instances(&after.traits, name)) {
            (Some(from), Some(to)) if from != to => format!("{name}: {from} -> {to} instances"),
            _ => format!("trait {name} is different"),
        });
    }
    changes
}

fn instances(traits: &[Trait], name: &str) -> Option<u32> {
    traits.iter().find_map(|found| match found {
        Trait::SpreadScaler(scaler) | Trait::DaemonScaler(scaler) if found.name() == name => Some(scaler.instances),
        _ => None,
    })
}

fn source(source: &Source) -> String {
    match source {
        Source::Image(image) => image.clone(),
        Source::Shared(shared) => format!("{} of application {}", shared.component, shared.name),
    }
}

#[cfg(test)]
mod tests {
    use super::{Grant, difference};
    use crate::manifest::{Format, Manifest, parse};

    fn manifest(components: &str) -> Manifest {
        let text = format!(
            "apiVersion: core.oam.dev/v1beta1\nkind: Application\nmetadata: {{ name: shop }}\nspec:\n  components:\n{components}"
        );
        parse(text.as_bytes(), Format::Yaml).expect("valid")
    }

    #[test]
    fn a_difference_names_images_counts_and_permissions() {
        let before = manifest(
            "    - { name: web, type: component, properties: { image: 'file://1' }, traits: [{ type: spreadscaler, properties: { instances: 1 } }] }\n\
             \x20   - { name: old, type: component, properties: { image: 'file://old' } }\n\
             \x20   - { name: kv, type: capability, properties: { image: 'builtin:keyvalue' } }\n",
        );
        let after = manifest(
            "    - name: web\n      type: component\n      properties: { image: 'file://2' }\n      traits:\n\
             \x20       - { type: spreadscaler, properties: { instances: 3 } }\n\
             \x20       - { type: link, properties: { target: { name: kv }, namespace: wasi, package: keyvalue, interfaces: [store] } }\n\
             \x20   - { name: kv, type: capability, properties: { image: 'builtin:keyvalue' } }\n",
        );
        let found = difference(Some(&before), &after);
        assert_eq!((found.added.len(), &found.removed[..]), (0, &["old".to_owned()][..]));
        let web = ["image file://1 -> file://2", "trait link is different", "spreadscaler: 1 -> 3 instances"];
        assert_eq!(found.changed["web"], web);
        let grant = Grant { component: "web".into(), contract: "wasi:keyvalue/store".into(), target: "kv".into() };
        assert_eq!(found.gained, std::slice::from_ref(&grant));
        assert_eq!(difference(Some(&after), &before).lost, [grant]);
        assert_eq!(difference(Some(&after), &after), Default::default());
        assert_eq!(difference(None, &after).added, ["kv", "web"]);
    }
}
