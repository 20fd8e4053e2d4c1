//! Components: where they come from, their ids and secrets, and which traits go together.

use std::collections::BTreeMap;

use trellis_lattice::id::InvalidId;

use super::{Check, Path};
use crate::manifest::component::{Component, Kind, Secret, Source};
use crate::manifest::document::shown;
use crate::manifest::model::SECRET_POLICY;
use crate::manifest::scaler::Trait;

impl<'a> Check<'a> {
    pub(super) fn component(&mut self, path: &Path, component: &'a Component) {
        let is_printable = component.name.chars().all(|c| !c.is_control());
        if component.name.trim().is_empty() || !is_printable || component.name.len() > 64 {
            let message = format!("component name `{}` is not valid", shown(&component.name));
            self.note(path.key("name"), message, "use 1 to 64 letters, digits, `-` and `_`");
        } else if let Err(error) = component.entity_id(self.app()) {
            self.entity_id(path, component, &error);
        }
        let properties = path.key("properties");
        self.source(&properties, component);
        self.secrets(&properties.key("secrets"), &component.properties.secrets);
        let traits = path.key("traits");
        self.which_traits(&traits, component);
        for (i, found) in component.traits.iter().enumerate() {
            self.one_trait(&traits.index(i).key("properties"), component, found);
        }
        self.links_of(&traits, component);
    }

    fn entity_id(&mut self, path: &Path, component: &Component, error: &InvalidId) {
        match &component.properties.id {
            Some(_) => self.note(path.key("properties").key("id"), error.to_string(), ""),
            None => self.note(path.key("name"), error.to_string(), "set `id` in its `properties`"),
        }
    }

    fn source(&mut self, path: &Path, component: &Component) {
        match &component.properties.source {
            Source::Image(image) => {
                let is_reference = (1..=2_048).contains(&image.len()) && image.bytes().all(|b| b.is_ascii_graphic());
                if !is_reference {
                    let help = "write `file://…`, an OCI reference, or `builtin:…`, without white space";
                    self.note(path.key("image"), format!("image `{}` is not valid", shown(image)), help);
                }
            }
            Source::Shared(shared) => {
                if shared.name == self.app() {
                    let help = "name another application, or the component's own image";
                    self.note(
                        path.key("application").key("name"),
                        "a component is shared with its own application",
                        help,
                    );
                }
                self.nothing_beside_shared(path, component);
            }
        }
    }

    fn nothing_beside_shared(&mut self, path: &Path, component: &Component) {
        let properties = &component.properties;
        let given = [
            ("config", !properties.config.is_empty()),
            ("secrets", !properties.secrets.is_empty()),
            ("id", properties.id.is_some()),
        ];
        for (key, _) in given.into_iter().filter(|(_, is_given)| *is_given) {
            let message = format!("a shared component has its `{key}` from its own application");
            self.note(path.key(key), message, "remove it here");
        }
    }

    /// Secrets name a policy that exists, and each another name.
    pub(super) fn secrets(&mut self, path: &Path, secrets: &[Secret]) {
        let names = secrets.iter().enumerate();
        self.unique("secret", names.map(|(i, secret)| (path.index(i).key("name"), secret.name.as_str())));
        for (i, secret) in secrets.iter().enumerate() {
            let path = path.index(i);
            if let Err(error) = secret.lattice_name(self.app()) {
                self.note(path.key("name"), error.to_string(), "");
            }
            let wanted = &secret.properties.policy;
            let policy = self.manifest.spec.policies.iter().find(|policy| policy.name == *wanted);
            if policy.is_none_or(|policy| policy.kind != SECRET_POLICY) {
                let message =
                    format!("secret `{}` names policy `{}`, which is none", shown(&secret.name), shown(wanted));
                let help = format!("add a policy of type `{SECRET_POLICY}` with that name to `spec.policies`");
                self.note(path.key("properties").key("policy"), message, help);
            }
        }
    }

    fn which_traits(&mut self, path: &Path, component: &Component) {
        let mut seen: Vec<&str> = Vec::new();
        for (i, found) in component.traits.iter().enumerate() {
            let Some((name, scope)) = only_once(found) else { continue };
            let path = path.index(i).key("type");
            if matches!(component.properties.source, Source::Shared(_)) {
                let message = format!("`{}` of a shared component is up to its own application", found.name());
                self.note(path, message, "remove this trait");
            } else if seen.contains(&name) {
                let message = format!("component `{}` has two {name}s", shown(&component.name));
                self.note(path, message, "leave one of them");
            } else if scope == Scope::Actors && component.kind == Kind::Provider {
                self.note(path, format!("`{}` is for actors only", found.name()), "remove this trait");
            }
            seen.push(name);
        }
    }

    /// No two components of an application may be one entity of the lattice.
    pub(super) fn entity_ids(&mut self, path: &Path) {
        let mut seen: BTreeMap<String, &str> = BTreeMap::new();
        for (i, component) in self.manifest.spec.components.iter().enumerate() {
            let Ok(Some(id)) = component.entity_id(self.app()) else { continue };
            let Some(first) = seen.insert(id.to_string(), &component.name) else { continue };
            // That is said already.
            if first == component.name && component.properties.id.is_none() {
                continue;
            }
            let (name, path) = (&component.name, path.index(i));
            let message = format!("components `{}` and `{}` both get the id `{id}`", shown(first), shown(name));
            let given = component.properties.id.is_some();
            let path = if given { path.key("properties").key("id") } else { path.key("name") };
            self.note(path, message, "give each an `id` of its own in its `properties`");
        }
    }
}

/// Of which components a trait can be.
#[derive(PartialEq)]
enum Scope {
    All,
    Actors,
}

/// What to call a trait that a component can have only once.
fn only_once(found: &Trait) -> Option<(&'static str, Scope)> {
    match found {
        Trait::SpreadScaler(_) | Trait::DaemonScaler(_) => Some(("scaler", Scope::All)),
        Trait::Resources(_) => Some(("`resources` trait", Scope::All)),
        Trait::Readiness(_) => Some(("`readiness` trait", Scope::All)),
        Trait::AntiAffinity(_) => Some(("`antiaffinity` trait", Scope::All)),
        Trait::Tolerations(_) => Some(("`tolerations` trait", Scope::All)),
        Trait::Rollout(_) => Some(("`rollout` trait", Scope::All)),
        Trait::Routes(_) => Some(("`routes` trait", Scope::Actors)),
        Trait::Link(_) | Trait::Resilience(_) => None,
    }
}
