//! Whose something is: by annotations for what runs, by a ledger for what carries none.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use trellis_lattice::id::{ConfigName, EntityId, LinkName};
use trellis_lattice::message::command::StringMap;
use trellis_lattice::message::link::Link;

use crate::intent::AppName;

/// What the keys of ledgers begin with in the lattice's store; the rest is the application's name.
pub(crate) const OWNED: &str = "wadm.owned.";

const MANAGED_BY: &str = "wasmcloud.dev/managed-by";
const APP: &str = "wasmcloud.dev/appspec";
const SCALER: &str = "wasmcloud.dev/scaler";
const SPREAD: &str = "wasmcloud.dev/spread_name";

/// The annotation with the generation of the application that last changed something.
pub const GENERATION: &str = "trellis.dev/generation";

/// Who started an actor or a provider. `wadm` of wasmCloud 1.x writes the same, but for the generation.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Owner {
    /// The application.
    pub app: AppName,
    /// The id of the scaler.
    pub scaler: String,
    /// The group of hosts.
    pub spread: String,
    /// The generation that last changed it; 0 when wasmCloud's wadm started it.
    pub generation: u64,
}

impl Owner {
    /// Whom annotations name; `None` when it is not wadm.
    pub fn of(annotations: &StringMap) -> Option<Self> {
        let text = |key: &str| annotations.get(key).map_or("", String::as_str);
        if text(MANAGED_BY) != "wadm" {
            return None;
        }
        Some(Self {
            app: AppName::parse(text(APP)).ok()?,
            scaler: text(SCALER).to_owned(),
            spread: text(SPREAD).to_owned(),
            generation: text(GENERATION).parse().unwrap_or(0),
        })
    }

    /// The annotations that go with a command.
    pub fn annotations(&self) -> StringMap {
        let entries = [
            (MANAGED_BY, "wadm".to_owned()),
            (APP, self.app.to_string()),
            (SCALER, self.scaler.clone()),
            (SPREAD, self.spread.clone()),
            (GENERATION, self.generation.to_string()),
        ];
        entries.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
    }
}

/// What identifies a link: the target too, since one source may share a package among several targets.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct LinkKey {
    /// Who calls.
    pub source: EntityId,
    /// The link's name.
    pub name: LinkName,
    /// E.g. `wasi`.
    pub namespace: String,
    /// E.g. `keyvalue`.
    pub package: String,
    /// Who is called.
    pub target: EntityId,
}

impl LinkKey {
    /// Of a link.
    pub fn of(link: &Link) -> Self {
        Self {
            source: link.source_id.clone(),
            name: link.name.clone(),
            namespace: link.wit_namespace.clone(),
            package: link.wit_package.clone(),
            target: link.target.clone(),
        }
    }

    /// Whether `other` has the same source, name and package, whatever its target: lattice v1 deletes them together.
    pub(crate) fn is_sibling_of(&self, other: &Self) -> bool {
        (&self.source, &self.name, &self.namespace, &self.package)
            == (&other.source, &other.name, &other.namespace, &other.package)
    }
}

impl std::fmt::Display for LinkKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { source, name, namespace, package, target } = self;
        write!(f, "{source} -> {target} for {namespace}:{package} ({name})")
    }
}

/// What an application made that carries no annotations: its ledger, kept under `wadm.owned.<app>`.
///
/// An entry is written before the thing is made and erased after it is gone, so that the ledger may name too much but
/// never too little.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owned {
    /// Its links.
    #[serde(default)]
    pub links: BTreeSet<LinkKey>,
    /// Its configs.
    #[serde(default)]
    pub configs: BTreeSet<ConfigName>,
}

#[cfg(test)]
mod tests {
    use super::Owner;
    use crate::intent::AppName;

    #[test]
    fn an_owner_is_read_as_it_was_written_and_strangers_are_none() {
        let app = AppName::parse("shop").expect("valid");
        let owner = Owner { app, scaler: "ab".to_owned(), spread: "eu".to_owned(), generation: 3 };
        let mut annotations = owner.annotations();
        assert_eq!(Owner::of(&annotations), Some(owner.clone()));
        annotations.remove(super::GENERATION);
        assert_eq!(Owner::of(&annotations), Some(Owner { generation: 0, ..owner }));
        annotations.insert("wasmcloud.dev/managed-by".to_owned(), "somebody".to_owned());
        assert_eq!(Owner::of(&annotations), None);
    }
}
