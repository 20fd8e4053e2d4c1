//! What planning comes to: actions, and everything that people want to know about them.

use std::collections::BTreeMap;
use std::time::Duration;

use trellis_lattice::id::HostId;

use super::action::{Action, ActionKey};
use crate::intent::AppName;

/// What to do, what is waited for, what is wrong, and why it is so.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Plan {
    /// What to do now, by application and stage. Empty when nothing can or need be done.
    pub actions: Vec<Action>,
    /// What is waited for; with this and `actions` empty, everything is as desired.
    pub waits: Vec<Wait>,
    /// What is wrong and does not go away by waiting.
    pub problems: Vec<Problem>,
    /// How each deployed or undeployed application stands.
    pub apps: BTreeMap<AppName, AppStatus>,
    /// For each scaler, why its hosts are its hosts; empty in lattices so large that nobody could read it, where
    /// [`explain`](super::explain) tells it of one application.
    pub explanations: Vec<Explanation>,
    /// When to plan again although nothing happened, on the clock of `now`; `None` when never.
    pub next_wake: Option<Duration>,
}

/// Something that is waited for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wait {
    /// By which application.
    pub app: AppName,
    /// The action that is held back, or whose effect is awaited, if it is one.
    pub key: Option<ActionKey>,
    /// Until when at most, if that is known.
    pub until: Option<Duration>,
    /// For what, for people.
    pub reason: String,
}

/// Something that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// With which application.
    pub app: AppName,
    /// With which component, link or config of it; empty for the whole.
    pub subject: String,
    /// What it is and the way out, for people.
    pub message: String,
}

/// How an application, or a part of it, stands: in the order of how much of somebody's attention it needs, least first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum State {
    /// Nothing of it is left, as it should be.
    Undeployed,
    /// As desired.
    Deployed,
    /// On the way.
    Reconciling,
    /// Waits for something else than itself, e.g. a host that fits or another application.
    Waiting,
    /// It runs, but something of it does not do its work.
    Unhealthy,
    /// It does not get there by itself.
    Failed,
}

/// How an application stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AppStatus {
    /// The version; `None` when it is undeployed.
    pub version: Option<String>,
    /// The generation.
    pub generation: u64,
    /// The worst of its scalers, or what the whole suffers from.
    pub state: State,
    /// For people; says why when `state` is not [`State::Deployed`].
    pub message: String,
    /// Scalers, links and configs.
    pub scalers: Vec<ScalerStatus>,
}

/// How one scaler stands; links and configs are scalers too, as in wasmCloud 1.x.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScalerStatus {
    /// Stable between versions.
    pub id: String,
    /// `SpreadScaler`, `DaemonScaler`, `LinkScaler` or `ConfigScaler`.
    pub kind: ScalerKind,
    /// The component, link or config in the words of the manifest.
    pub name: String,
    /// How it stands.
    pub state: State,
    /// For people; empty when there is nothing to say.
    pub message: String,
    /// What runs of it and does its work.
    pub ready: u32,
    /// What is wanted of it.
    pub wanted: u32,
}

/// What kind of scaler.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ScalerKind {
    /// So many in the lattice.
    Spread,
    /// So many on every host that fits.
    Daemon,
    /// A link.
    Link,
    /// A config.
    Config,
}

impl ScalerKind {
    /// As wasmCloud 1.x names it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Spread => "SpreadScaler",
            Self::Daemon => "DaemonScaler",
            Self::Link => "LinkScaler",
            Self::Config => "ConfigScaler",
        }
    }
}

/// Why the hosts of a scaler are its hosts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explanation {
    /// Whose.
    pub app: AppName,
    /// The component.
    pub component: String,
    /// The group of hosts.
    pub spread: String,
    /// What the group was to have, e.g. `4 of 10 instances (weight 40 of 100)`.
    pub share: String,
    /// Each chosen host, how many, and why.
    pub chosen: Vec<Choice>,
    /// Each host that was not, and why; at most [`MOST_REJECTED`].
    pub rejected: Vec<(HostId, String)>,
    /// Further hosts that were not, by reason.
    pub more_rejected: BTreeMap<String, u32>,
}

/// So many rejected hosts are named one by one; of the others only the reasons are counted, because ten thousand lines
/// explain nothing.
pub const MOST_REJECTED: usize = 50;

/// A host that was chosen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Choice {
    /// The host.
    pub host: HostId,
    /// How many instances it is to run.
    pub count: u32,
    /// Why it.
    pub why: &'static str,
}
