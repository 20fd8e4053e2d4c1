//! What is wanted: which version of each application is deployed, and which applications are not to run any more.

use std::borrow::Borrow;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use trellis_lattice::id::MAX_NAME_BYTES;

use crate::manifest::Manifest;

/// The name of an application: 1 to 64 letters, digits, `-` and `_`, so that it is one token of a subject.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub struct AppName(Arc<str>);

/// Why a text is no application name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("application name {0:?} is not valid: use 1 to 64 letters, digits, `-` and `_`")]
pub struct InvalidAppName(String);

impl AppName {
    /// Parses `text`.
    pub fn parse(text: &str) -> Result<Self, InvalidAppName> {
        let is_allowed = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
        match (1..=MAX_NAME_BYTES).contains(&text.len()) && text.bytes().all(is_allowed) {
            true => Ok(Self(text.into())),
            false => Err(InvalidAppName(text.chars().take(MAX_NAME_BYTES).collect())),
        }
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for AppName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for AppName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl TryFrom<String> for AppName {
    type Error = InvalidAppName;

    fn try_from(text: String) -> Result<Self, InvalidAppName> {
        Self::parse(&text)
    }
}

impl Borrow<str> for AppName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

/// What is wanted of a lattice. An application that is not named here is never touched.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Intent {
    /// By application.
    pub apps: BTreeMap<AppName, AppIntent>,
}

/// What is wanted of one application.
#[derive(Debug, Clone, PartialEq)]
pub enum AppIntent {
    /// It is to run.
    Deployed(Deployed),
    /// It was deployed once, or deleted, and is not to run: whatever of it runs is stopped.
    Undeployed {
        /// As in [`Deployed::generation`].
        generation: u64,
    },
}

impl AppIntent {
    /// Grows with every deploy and undeploy of this application.
    pub fn generation(&self) -> u64 {
        match self {
            Self::Deployed(deployed) => deployed.generation,
            Self::Undeployed { generation } => *generation,
        }
    }
}

/// A version that is to run.
#[derive(Debug, Clone, PartialEq)]
pub struct Deployed {
    /// Its name.
    pub version: String,
    /// Grows with every deploy and undeploy of this application; never 0.
    pub generation: u64,
    /// What it says.
    pub manifest: Arc<Manifest>,
}

#[cfg(test)]
mod tests {
    use super::AppName;

    #[test]
    fn an_application_name_is_one_subject_token() {
        let long = "x".repeat(65);
        assert!(AppName::parse("my-App_9").is_ok());
        for bad in ["", "a.b", "*", ">", "a b", "ä", "a/b", long.as_str()] {
            assert!(AppName::parse(bad).is_err(), "{bad:?}");
        }
    }
}
