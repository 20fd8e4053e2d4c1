//! The types of what is asked for.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use trellis_lattice::id::{ConfigName, EntityId};
use trellis_lattice::message::command::StringMap;
use trellis_lattice::message::link::Link;

use crate::intent::AppName;
use crate::manifest::{Amount, Kind, Patience, Rollback, Strength, Taint};
use crate::observe::Limits;
use crate::plan::outcome::{Problem, ScalerKind};

/// All applications.
#[derive(Debug, Default)]
pub(in crate::plan) struct Desired {
    /// Those that are to run, by name.
    pub(in crate::plan) apps: Vec<App>,
    /// Those that are to be removed, by name.
    pub(in crate::plan) gone: Vec<Gone>,
}

/// An application that is to be removed.
#[derive(Debug)]
pub(in crate::plan) struct Gone {
    pub(in crate::plan) name: AppName,
    pub(in crate::plan) generation: u64,
}

/// An application.
#[derive(Debug)]
pub(in crate::plan) struct App {
    pub(in crate::plan) name: AppName,
    pub(in crate::plan) generation: u64,
    pub(in crate::plan) version: String,
    /// Those with an image of their own.
    pub(in crate::plan) components: Vec<Component>,
    pub(in crate::plan) links: Vec<WantedLink>,
    /// What it manages.
    pub(in crate::plan) configs: BTreeMap<ConfigName, WantedConfig>,
    /// What cannot be had, and is left out of the rest.
    pub(in crate::plan) problems: Vec<Problem>,
}

/// An actor or provider.
#[derive(Debug)]
pub(in crate::plan) struct Component {
    /// Its name in the manifest.
    pub(in crate::plan) name: String,
    pub(in crate::plan) id: EntityId,
    pub(in crate::plan) kind: Kind,
    pub(in crate::plan) reference: Arc<str>,
    pub(in crate::plan) config: Arc<[ConfigName]>,
    /// Those of `config` that somebody else must put.
    pub(in crate::plan) external: Vec<ConfigName>,
    pub(in crate::plan) scalers: Vec<Scaler>,
    pub(in crate::plan) needs: Needs,
    pub(in crate::plan) limits: Limits,
    /// When it counts as ready, as an annotation has it.
    pub(in crate::plan) readiness: Option<Arc<str>>,
    /// The most instances on one host.
    pub(in crate::plan) most_on_host: Option<u32>,
    pub(in crate::plan) apart: Vec<Apart>,
    pub(in crate::plan) tolerated: Vec<Taint>,
    /// How long a silent host is waited for; `None` when the manifest leaves it to what the host's silence may mean.
    pub(in crate::plan) patience: Option<Patience>,
    pub(in crate::plan) rollout: RolloutRule,
}

/// How many, and where.
#[derive(Debug)]
pub(in crate::plan) struct Scaler {
    pub(in crate::plan) id: String,
    pub(in crate::plan) kind: ScalerKind,
    pub(in crate::plan) groups: Vec<Group>,
}

/// A group of hosts.
#[derive(Debug)]
pub(in crate::plan) struct Group {
    pub(in crate::plan) name: String,
    pub(in crate::plan) requirements: StringMap,
    /// Of a spread scaler: in the whole group. Of a daemon scaler: on each host.
    pub(in crate::plan) instances: u32,
    /// What part of the scaler that is, for people.
    pub(in crate::plan) share: String,
}

/// What one instance needs of a host.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(in crate::plan) struct Needs {
    pub(in crate::plan) memory_bytes: u64,
    pub(in crate::plan) cpu_millis: u64,
}

/// What not to share a place with.
#[derive(Debug, Clone)]
pub(in crate::plan) struct Apart {
    /// The others; empty: other instances of itself.
    pub(in crate::plan) from: Vec<EntityId>,
    /// The label whose value is a place; a host is one when `None`.
    pub(in crate::plan) topology: Option<String>,
    pub(in crate::plan) strength: Strength,
    pub(in crate::plan) mode: Mode,
}

/// Whose wish it is to be apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::plan) enum Mode {
    /// This component's: it also moves for it.
    Own,
    /// The other one's: this component is not placed beside it, but does not move.
    Mirrored,
}

/// How a new version takes the place of the old one.
#[derive(Debug, Clone, Copy)]
pub(in crate::plan) struct RolloutRule {
    pub(in crate::plan) surge: Amount,
    pub(in crate::plan) unavailable: Amount,
    pub(in crate::plan) deadline: Duration,
    pub(in crate::plan) rollback: Rollback,
}

/// A link.
#[derive(Debug)]
pub(in crate::plan) struct WantedLink {
    pub(in crate::plan) link: Link,
    /// Its name for people, e.g. `cart -> store (wasi:keyvalue)`.
    pub(in crate::plan) title: String,
    /// Its configs that somebody else must put.
    pub(in crate::plan) external: Vec<ConfigName>,
    /// The id of its scaler.
    pub(in crate::plan) scaler: String,
}

/// A config that an application manages.
#[derive(Debug)]
pub(in crate::plan) struct WantedConfig {
    pub(in crate::plan) values: StringMap,
    /// Its name in the manifest.
    pub(in crate::plan) title: String,
    /// The id of its scaler.
    pub(in crate::plan) scaler: String,
}

impl Needs {
    /// Whether whoever has no room for this has none for `other` either.
    pub(in crate::plan) fn is_within(self, other: Self) -> bool {
        self.memory_bytes <= other.memory_bytes && self.cpu_millis <= other.cpu_millis
    }
}
