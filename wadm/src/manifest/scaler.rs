//! Traits of a component: how many, where, and linked to what.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::manifest::component::{Config, Secret};
use crate::manifest::extension::{AntiAffinity, Readiness, Resilience, Resources, Rollout, Routes, Tolerations};

/// A trait of a component.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "type", content = "properties", rename_all = "lowercase")]
pub enum Trait {
    /// So many in the lattice, spread by weight.
    SpreadScaler(Scaler),
    /// So many on every host that fits.
    DaemonScaler(Scaler),
    /// A link from this component.
    Link(Box<LinkTrait>),
    /// What it may use, and what is set aside for it.
    Resources(Resources),
    /// When it counts as ready.
    Readiness(Readiness),
    /// What it must not share a place with.
    AntiAffinity(AntiAffinity),
    /// Which hosts it puts up with.
    Tolerations(Tolerations),
    /// How a new version takes the place of the old one.
    Rollout(Rollout),
    /// How calls over its links behave.
    Resilience(Resilience),
    /// Which HTTP requests it gets.
    Routes(Routes),
}

impl Trait {
    /// Its `type`.
    pub fn name(&self) -> &'static str {
        match self {
            Self::SpreadScaler(_) => "spreadscaler",
            Self::DaemonScaler(_) => "daemonscaler",
            Self::Link(_) => "link",
            Self::Resources(_) => "resources",
            Self::Readiness(_) => "readiness",
            Self::AntiAffinity(_) => "antiaffinity",
            Self::Tolerations(_) => "tolerations",
            Self::Rollout(_) => "rollout",
            Self::Resilience(_) => "resilience",
            Self::Routes(_) => "routes",
        }
    }
}

/// How many, and where.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Scaler {
    /// Instances.
    pub instances: u32,
    /// Groups of hosts; empty means anywhere.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub spread: Vec<Spread>,
}

/// A group of hosts and its share.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Spread {
    /// For people and annotations.
    pub name: String,
    /// Labels that a host must have. Written even when there are none, as readers of lattice v1 need it.
    pub requirements: BTreeMap<String, String>,
    /// Its share against the others'; 100 when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weight: Option<u32>,
}

/// A link from the component that has this trait.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LinkTrait {
    /// E.g. `wasi`.
    pub namespace: String,
    /// E.g. `keyvalue`.
    pub package: String,
    /// E.g. `store`, `atomics`.
    pub interfaces: Vec<String>,
    /// Its name; `default` when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// This component's side.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<LinkEnd>,
    /// The component that is called.
    pub target: LinkTarget,
    /// The old way to write `source.config`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub source_config: Vec<Config>,
    /// The old way to write `target.config`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub target_config: Vec<Config>,
}

/// Configs and secrets of one side of a link.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct LinkEnd {
    /// Configs, later ones win.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub config: Vec<Config>,
    /// Secrets.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub secrets: Vec<Secret>,
}

/// The component that a link calls.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum LinkTarget {
    /// Its name, with configs and secrets of its side.
    End {
        /// The component's name.
        name: String,
        /// Configs, later ones win.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        config: Vec<Config>,
        /// Secrets.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        secrets: Vec<Secret>,
    },
    /// Only its name: the old way.
    Name(String),
}

impl LinkTarget {
    /// The component's name.
    pub fn name(&self) -> &str {
        match self {
            Self::End { name, .. } | Self::Name(name) => name,
        }
    }
}
