//! What host and process say to each other besides calls, as JSON. [`Order`] goes to the process, [`Word`] comes back.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::revealed;
use crate::{ActiveLink, Backing, Description, EntityId, Interface, SecretMap, StringMap};

/// The version of this protocol. A process that does not know it says so and ends.
pub const VERSION: u32 = 1;

/// The longest name of a provider, in characters.
const MAX_NAME: usize = 100;
/// The most interfaces that a provider may name.
const MAX_INTERFACES: usize = 64;

/// What the host wants. Orders with an `id` are answered by [`Word::Done`] with the same.
#[derive(Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub enum Order {
    /// The first message: who the provider is. Answered by `Ready` or `Failed`.
    Start(Bootstrap),
    /// A link was put, or its config changed.
    LinkUp {
        /// To be repeated in the answer.
        id: u64,
        /// The link.
        link: ActiveLink,
    },
    /// A link is gone.
    LinkDown {
        /// To be repeated in the answer.
        id: u64,
        /// The link.
        link: ActiveLink,
    },
    /// Can the config of this link be read? Asked before the link is put, of a process that said that it checks.
    Check {
        /// To be repeated in the answer.
        id: u64,
        /// The link.
        link: ActiveLink,
    },
    /// How are you?
    Health {
        /// To be repeated in the answer.
        id: u64,
    },
    /// Take no new work, finish what is there. Answered when that is done; the process ends when the socket closes.
    Drain {
        /// To be repeated in the answer.
        id: u64,
        /// The longest that it may take.
        limit_ms: u64,
    },
}

/// What a process is told when it starts. It may hold secrets: it has no `Debug`.
#[derive(Serialize, Deserialize)]
pub struct Bootstrap {
    /// [`VERSION`].
    pub version: u32,
    /// Its id in the lattice.
    pub provider_id: EntityId,
    /// The host.
    pub host_id: String,
    /// The lattice.
    pub lattice: String,
    /// Its configs merged.
    pub config: StringMap,
    /// Its own secrets.
    #[serde(default, with = "revealed", skip_serializing_if = "SecretMap::is_empty")]
    pub secrets: SecretMap,
    /// A directory of its own.
    pub data_dir: PathBuf,
    /// What is logged, e.g. `info`.
    pub log: String,
}

/// What the process says.
#[derive(Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub enum Word {
    /// It is there.
    Ready(Described),
    /// It cannot start.
    Failed {
        /// Why.
        error: String,
    },
    /// An order was carried out.
    Done {
        /// Of the order.
        id: u64,
        /// Why not, if it was not; of health: what is wrong.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        error: Option<String>,
        /// Of a link that was taken: what is behind it. What this machine has, when nothing is said.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        backing: Option<Backing>,
        /// Of a link that was not taken: whether another process has what it needs ([`LinkError::Held`]).
        ///
        /// [`LinkError::Held`]: crate::LinkError::Held
        #[serde(default, skip_serializing_if = "is_false")]
        held: bool,
    },
}

fn is_false(flag: &bool) -> bool {
    !*flag
}

/// A [`Description`] as it travels.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Described {
    /// For people.
    pub name: String,
    /// The interfaces it serves.
    #[serde(default)]
    pub serves: Vec<Interface>,
    /// The interfaces it calls.
    #[serde(default)]
    pub calls: Vec<Interface>,
    /// Whether it knows the order to check a link.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub checks: bool,
}

impl From<Description> for Described {
    fn from(description: Description) -> Self {
        let Description { name, serves, calls } = description;
        Self { name: name.into_owned(), serves, calls, checks: true }
    }
}

impl From<Described> for Description {
    /// No more of it than a host has use for.
    fn from(described: Described) -> Self {
        let cut = |interfaces: Vec<Interface>| interfaces.into_iter().take(MAX_INTERFACES).collect();
        let name = described.name.chars().filter(|c| !c.is_control()).take(MAX_NAME).collect::<String>();
        Self { name: name.into(), serves: cut(described.serves), calls: cut(described.calls) }
    }
}

#[cfg(test)]
mod tests {
    use super::{Bootstrap, Described, Order, VERSION, Word};
    use crate::{Backing, SecretMap, testing};

    /// PROTOCOL.md shows these texts: authors in other languages go by them.
    #[test]
    fn messages_are_as_documented() {
        let json = |value: serde_json::Result<String>| value.expect("has a JSON form");
        let bootstrap = Bootstrap {
            version: VERSION,
            provider_id: testing::id("dice"),
            host_id: "NHOST".to_owned(),
            lattice: "default".to_owned(),
            config: testing::config(&[("sides", "6")]),
            secrets: SecretMap::new(),
            data_dir: "/data/dice".into(),
            log: "info".to_owned(),
        };
        let link = || testing::as_target(testing::link("game", "dice", &["demo:dice/roller"]), &[("sides", "20")]);
        let link_json = r#"{"link":{"source_id":"game","target":"dice","name":"default","wit_namespace":"demo","wit_package":"dice","interfaces":["roller"],"source_config":[],"target_config":[]},"role":"target","config":{"sides":"20"}}"#;
        let documented = include_str!("../../PROTOCOL.md");
        for (order, expected) in [
            (
                Order::Start(bootstrap),
                r#"{"type":"start","version":1,"provider_id":"dice","host_id":"NHOST","lattice":"default","config":{"sides":"6"},"data_dir":"/data/dice","log":"info"}"#,
            ),
            (Order::LinkUp { id: 1, link: link() }, &format!(r#"{{"type":"link-up","id":1,"link":{link_json}}}"#)),
            (Order::LinkDown { id: 2, link: link() }, &format!(r#"{{"type":"link-down","id":2,"link":{link_json}}}"#)),
            (Order::Check { id: 5, link: link() }, &format!(r#"{{"type":"check","id":5,"link":{link_json}}}"#)),
            (Order::Health { id: 3 }, r#"{"type":"health","id":3}"#),
            (Order::Drain { id: 4, limit_ms: 10_000 }, r#"{"type":"drain","id":4,"limit_ms":10000}"#),
        ] {
            assert_eq!(json(serde_json::to_string(&order)), expected);
            assert!(documented.contains(expected), "PROTOCOL.md shows {expected}");
        }
        let described = Described {
            name: "dice".to_owned(),
            serves: vec!["demo:dice/roller@1.0.0".parse().expect("valid")],
            calls: Vec::new(),
            checks: true,
        };
        for (word, expected) in [
            (
                Word::Ready(described),
                r#"{"type":"ready","name":"dice","serves":["demo:dice/roller@1.0.0"],"calls":[],"checks":true}"#,
            ),
            (Word::Failed { error: "no such device".to_owned() }, r#"{"type":"failed","error":"no such device"}"#),
            (Word::Done { id: 3, error: None, held: false, backing: None }, r#"{"type":"done","id":3}"#),
            (
                Word::Done { id: 1, error: None, held: false, backing: Some(Backing::Server) },
                r#"{"type":"done","id":1,"backing":"server"}"#,
            ),
            (
                Word::Done { id: 4, error: Some("2 calls go on".to_owned()), held: false, backing: None },
                r#"{"type":"done","id":4,"error":"2 calls go on"}"#,
            ),
            (
                Word::Done { id: 1, error: Some("port in use".to_owned()), held: true, backing: None },
                r#"{"type":"done","id":1,"error":"port in use","held":true}"#,
            ),
        ] {
            assert_eq!(json(serde_json::to_string(&word)), expected);
            assert!(documented.contains(expected), "PROTOCOL.md shows {expected}");
        }
    }
}
