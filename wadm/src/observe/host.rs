//! A host and what it runs.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use trellis_lattice::contract::{Interface, Signature};
use trellis_lattice::id::{ConfigName, EntityId};
use trellis_lattice::message::command::{ComponentLimits, StringMap};

use super::owner::{LinkKey, Owner};

/// A host with this label gets nothing new; its value is the reason.
pub const CORDON_LABEL: &str = "trellis.dev/cordoned";

/// A host with this label gets nothing new, and what it runs is moved off; its value is the reason.
pub const DRAIN_LABEL: &str = "trellis.dev/drain";

/// `taint.trellis.dev/<key>` = value: only what tolerates it is placed there.
pub const TAINT_PREFIX: &str = "taint.trellis.dev/";

/// The share of a host among those of its group, 100 when absent; 0 takes no share.
pub const WEIGHT_LABEL: &str = "trellis.dev/weight";

/// A host.
#[derive(Debug, Clone, PartialEq)]
pub struct Host {
    /// A name for people.
    pub name: String,
    /// Its labels; cordon, drain, taints and weight are among them.
    pub labels: StringMap,
    /// What it has room for.
    pub capacity: Capacity,
    /// Whether it is there.
    pub seen: Seen,
    /// What it runs, or ran when it was last asked; `None` when it was never asked.
    pub inventory: Option<Inventory>,
    /// What it runs besides, as far as its presence tells: how, and for whom, it has not said yet.
    pub hearsay: BTreeSet<EntityId>,
}

/// Whether a host is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seen {
    /// It is, and takes work.
    Present,
    /// It is, and says that it goes away: it takes no new work.
    Leaving,
    /// Nothing was heard of it since then, on the clock of [`plan`](crate::plan::plan)'s `now`.
    Silent {
        /// When it was last heard.
        since: Duration,
    },
    /// As silent, and so is every other host at its broker, which is not wadm's: the way there may be cut, and the host run
    /// what it ran.
    CutOff {
        /// When it was last heard.
        since: Duration,
    },
}

/// What a host has room for; `None` means that it does not say, and bounds nothing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Capacity {
    /// Memory for instances, in bytes.
    pub memory_bytes: Option<u64>,
    /// Processor time, in thousandths of a core.
    pub cpu_millis: Option<u64>,
    /// Instances of all actors together.
    pub max_instances: Option<u64>,
}

/// What a host runs.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Inventory {
    /// Its actors.
    pub actors: BTreeMap<EntityId, Actor>,
    /// Its providers.
    pub providers: BTreeMap<EntityId, Provider>,
}

/// An actor on a host.
#[derive(Debug, Clone, PartialEq)]
pub struct Actor {
    /// Where its bytes came from.
    pub reference: Arc<str>,
    /// Hex of the SHA-256 of its bytes; `None` when the host does not say.
    pub digest: Option<Arc<str>>,
    /// At most so many instances at once.
    pub max_instances: u32,
    /// Who started it, by its annotations; `None` when it was not wadm.
    pub owner: Option<Arc<Owner>>,
    /// Its limits; `None` when the host does not say.
    pub limits: Option<Limits>,
    /// The configs it was started with, in order; `None` when the host does not say.
    pub config: Option<Vec<ConfigName>>,
    /// When it counts as ready, as it was started with; `None` when nobody said so.
    pub readiness_rule: Option<Arc<str>>,
    /// Whether it does its work.
    pub readiness: Readiness,
    /// What it exports; `None` when not known.
    pub exports: Option<Arc<[Export]>>,
}

/// A provider on a host.
#[derive(Debug, Clone, PartialEq)]
pub struct Provider {
    /// Where it came from; `None` when the host does not say.
    pub reference: Option<Arc<str>>,
    /// Who started it, by its annotations; `None` when it was not wadm.
    pub owner: Option<Arc<Owner>>,
    /// The configs it was started with, in order; `None` when the host does not say.
    pub config: Option<Vec<ConfigName>>,
    /// Whether it does its work.
    pub readiness: Readiness,
    /// How its links stand, as far as its host knows links; `None` when the host does not say.
    pub links: Option<Arc<BTreeMap<LinkKey, LinkStanding>>>,
}

/// An exported interface, with the signature of its type unless everyone has it built in.
pub type Export = (Interface, Option<Signature>);

/// Limits of an actor; `None` means the host's own.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Limits {
    /// Linear memory of an instance, in bytes.
    pub memory_bytes: Option<u64>,
    /// Execution time of a call, in milliseconds.
    pub execution_ms: Option<u64>,
}

impl Limits {
    /// As commands and inventories have them. What is no number is no limit.
    pub fn of(limits: Option<&ComponentLimits>) -> Self {
        let number = |text: &Option<String>| text.as_ref().and_then(|text| text.parse().ok());
        limits.map_or_else(Self::default, |limits| Self {
            memory_bytes: number(&limits.max_memory_limit),
            execution_ms: number(&limits.max_execution_time),
        })
    }

    /// As commands have them; `None` when nothing is limited.
    pub fn to_command(self) -> Option<ComponentLimits> {
        (self != Self::default()).then(|| ComponentLimits {
            max_memory_limit: self.memory_bytes.map(|bytes| bytes.to_string()),
            max_execution_time: self.execution_ms.map(|ms| ms.to_string()),
        })
    }
}

/// Whether something does its work.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Readiness {
    /// It runs, and nobody says more.
    #[default]
    Running,
    /// It is being started.
    Starting,
    /// It runs and is not ready yet.
    Waiting {
        /// Why, for people.
        reason: String,
    },
    /// It passed its probe.
    Ready,
    /// It does not.
    Failing {
        /// What it said, for people.
        reason: String,
    },
}

impl Readiness {
    /// Whether work may rely on it.
    pub fn is_ready(&self) -> bool {
        matches!(self, Self::Running | Self::Ready)
    }
}

/// How a link stands at a provider.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkStanding {
    /// How.
    pub health: Health,
    /// Of which content that is said, by [`Link::fingerprint`](trellis_lattice::message::link::Link::fingerprint);
    /// `None` when not known.
    pub fingerprint: Option<String>,
}

/// What became of a link at a provider, in the order of how bad that is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Health {
    /// It stands.
    Established,
    /// It was not tried yet.
    Pending,
    /// It could not be established, e.g. because a port is in use.
    Failed {
        /// What the provider said, for people.
        reason: String,
    },
}

impl Host {
    /// Whether it is there, leaving or not.
    pub fn is_here(&self) -> bool {
        !matches!(self.seen, Seen::Silent { .. } | Seen::CutOff { .. })
    }

    /// Why it gets nothing new, if so.
    pub fn cordon(&self) -> Option<&str> {
        let label = |name| self.labels.get(name).map(String::as_str);
        label(CORDON_LABEL).or_else(|| label(DRAIN_LABEL))
    }

    /// Whether what it runs is to be moved off it.
    pub fn is_drained(&self) -> bool {
        self.seen == Seen::Leaving || self.labels.contains_key(DRAIN_LABEL)
    }

    /// Its taints: key and value.
    pub fn taints(&self) -> impl Iterator<Item = (&str, &str)> {
        self.labels.iter().filter_map(|(key, value)| Some((key.strip_prefix(TAINT_PREFIX)?, value.as_str())))
    }

    /// Its share among the hosts of a group: 100 unless its label says otherwise.
    pub fn weight(&self) -> u32 {
        self.labels.get(WEIGHT_LABEL).and_then(|text| text.parse().ok()).unwrap_or(100)
    }
}
