//! A link: the grant that lets a source call a target through one WIT package, and the names of its configs.

use serde::{Deserialize, Serialize};

use crate::contract::Interface;
use crate::id::{ConfigName, EntityId, LinkName};
use crate::message::command::StringMap;

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

    /// Tells contents of one link apart: its interfaces, and `config`, which is what the configs of one end come to.
    ///
    /// 16 hex digits of BLAKE3 over the interfaces in order, each ended by a zero byte, another zero byte, and the
    /// config by key, keys and values each ended by a zero byte. Hosts tell it in inventories.
    pub fn fingerprint(&self, config: &StringMap) -> String {
        let mut hasher = blake3::Hasher::new();
        let mut add = |text: &str| {
            hasher.update(text.as_bytes()).update(&[0]);
        };
        self.interfaces.iter().for_each(|interface| add(interface));
        add("");
        for (key, value) in config {
            add(key);
            add(value);
        }
        let mut digits = String::from(hasher.finalize().to_hex().as_str());
        digits.truncate(16);
        digits
    }
}

#[cfg(test)]
mod tests {
    use super::Link;
    use crate::message::command::StringMap;

    #[test]
    fn a_fingerprint_tells_contents_apart() {
        let link = Link {
            source_id: "http".parse().expect("valid"),
            target: "web".parse().expect("valid"),
            name: "default".parse().expect("valid"),
            wit_namespace: "wasi".to_owned(),
            wit_package: "http".to_owned(),
            interfaces: vec!["incoming-handler".to_owned()],
            source_config: Vec::new(),
            target_config: Vec::new(),
        };
        let config = StringMap::from([("path".to_owned(), "/api".to_owned())]);
        let other = Link { interfaces: vec!["handler".to_owned()], ..link.clone() };
        assert_ne!(link.fingerprint(&config), link.fingerprint(&StringMap::new()));
        assert_ne!(link.fingerprint(&config), other.fingerprint(&config));
        assert_eq!(link.fingerprint(&config), "0f28d022030db16c", "hosts and wadms of different versions compare it");
    }
}
