//! What can be done to an application, and what comes of it.

use super::app::{App, Deed, Deleted, Stamp, Version};
use super::error::Refusal;
use super::manifest::Stored;

/// Something to be done to an application.
#[derive(Debug, Clone)]
pub enum Change {
    /// Adds a version.
    Put {
        /// What it says.
        manifest: Stored,
        /// For people.
        description: Option<String>,
    },
    /// Deploys a version; the last one if none is named.
    Deploy {
        /// Which; `latest` means the last one.
        version: Option<String>,
    },
    /// Deploys an earlier version.
    RollBack {
        /// Which; the one that was deployed before if none is named.
        to: Option<String>,
        /// Only if the application is still at this generation.
        from_generation: Option<u64>,
    },
    /// Nothing of it is to run any more; its versions stay.
    Undeploy,
    /// Deletes a version, or all of them.
    Delete {
        /// Which; all if none is named.
        version: Option<String>,
    },
}

/// What came of a change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// As it is since then.
    pub app: App,
    /// Whether anything is different.
    pub effect: Effect,
    /// The version it was about, if one.
    pub version: Option<String>,
}

/// What is different after a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// Nothing: it was so already.
    None,
    /// The first version of an application is there.
    Created,
    /// Something else, but not what runs.
    Recorded,
    /// What is to run.
    Intent,
}

impl Change {
    /// Does it to `app`; the version it was about.
    pub(super) fn apply(&self, app: &mut App, stamp: Stamp) -> Result<Option<String>, Refusal> {
        match self {
            Self::Put { manifest, description } => {
                let (name, digest) = (manifest.version().to_owned(), manifest.digest().to_owned());
                app.put(Version { name: name.clone(), digest, description: description.clone() }, stamp)?;
                Ok(Some(name))
            }
            Self::Deploy { version } => app.deploy(version.as_deref(), stamp, Deed::Deploy).map(Some),
            Self::RollBack { to, from_generation } => app.roll_back(to.as_deref(), *from_generation, stamp).map(Some),
            Self::Undeploy => app.undeploy(stamp).map(|()| None),
            Self::Delete { version } => match app.delete(version.as_deref(), stamp) {
                Deleted::Nothing | Deleted::Idle | Deleted::Deployed => Ok(version.clone()),
            },
        }
    }
}

impl Effect {
    /// What is different between two states of an application.
    pub(super) fn between(before: &App, after: &App) -> Self {
        if before == after {
            Self::None
        } else if before.generation != after.generation {
            Self::Intent
        } else if before.is_deleted() && !after.is_deleted() {
            Self::Created
        } else {
            Self::Recorded
        }
    }
}
