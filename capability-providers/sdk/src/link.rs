//! Links as a provider sees them: which end it is, and the configs resolved.

use serde::{Deserialize, Serialize};

use crate::{Link, StringMap};

/// Which end of a link the provider is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// It calls the other end (an HTTP server calls actors).
    Source,
    /// The other end calls it (an actor calls a key-value store).
    Target,
}

/// A link with the configs of this provider's end merged, later ones over earlier ones.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ActiveLink {
    /// The link.
    pub link: Link,
    /// Which end of it this provider is.
    pub role: Role,
    /// The config of this end.
    pub config: StringMap,
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
    /// Something outside is in the way: a port in use, a file held by another process, a backend that is down.
    #[error("{0}")]
    Unavailable(String),
}
