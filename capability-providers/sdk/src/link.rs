//! Links as a provider sees them: which end it is, and the configs resolved.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::process::revealed;
use crate::{Link, SecretValue, StringMap};

/// Which end of a link the provider is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// It calls the other end (an HTTP server calls actors).
    Source,
    /// The other end calls it (an actor calls a key-value store).
    Target,
}

/// Secrets by the names under which they are read. Values print as `***`.
pub type SecretMap = BTreeMap<String, SecretValue>;

/// A link with the configs of this provider's end merged, later ones over earlier ones.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ActiveLink {
    /// The link.
    pub link: Link,
    /// Which end of it this provider is.
    pub role: Role,
    /// The config of this end.
    pub config: StringMap,
    /// The secrets of the provider and, over them, of this end. When one gets another value the link is put again.
    #[serde(default, with = "revealed", skip_serializing_if = "SecretMap::is_empty")]
    pub secrets: SecretMap,
}

/// Why a link cannot be established. It fails the link, shows in status and is tried again.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LinkError {
    /// A config key is missing or wrong.
    #[error("link config key {key:?} {problem}; expected {expected}, e.g. {example:?}")]
    Config {
        /// The key.
        key: String,
        /// What is wrong: `is missing`, `is "x"`.
        problem: String,
        /// The expected form.
        expected: &'static str,
        /// An example value.
        example: &'static str,
    },
    /// Something outside is in the way: a backend that is down, a device that is not there.
    #[error("{0}")]
    Unavailable(String),
    /// Another process has what only one can have: a port, a locked file. When a provider is replaced, that is most
    /// often the process that is to go; a host then hands the link over in order.
    #[error("{0}")]
    Held(String),
}
