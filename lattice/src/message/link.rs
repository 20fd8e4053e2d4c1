//! A link: the grant that lets a source call a target through one WIT package, and the names of its configs.

use serde::{Deserialize, Serialize};

use crate::contract::Interface;
use crate::id::{ConfigName, EntityId, LinkName};

/// A link as lattice v1 has it on the wire. One record in the store each.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Link {
    /// Who calls.
    pub source_id: EntityId,
    /// Who is called.
    pub target: EntityId,
    /// Distinguishes links of one source to the same package.
    #[serde(default)]
    pub name: LinkName,
    /// E.g. `wasi`.
    pub wit_namespace: String,
    /// E.g. `keyvalue`.
    pub wit_package: String,
    /// E.g. `store`, `atomics`; without namespace, package and version.
    pub interfaces: Vec<String>,
    /// Configs for the source's side, in order: later ones win.
    #[serde(default)]
    pub source_config: Vec<ConfigName>,
    /// Configs for the target's side, in order: later ones win.
    #[serde(default)]
    pub target_config: Vec<ConfigName>,
}

impl Link {
    /// Whether this link is for calls to `interface`. Versions do not matter.
    pub fn covers(&self, interface: &Interface) -> bool {
        self.wit_namespace == interface.namespace()
            && self.wit_package == interface.package()
            && self.interfaces.iter().any(|name| name == interface.name())
    }
}
