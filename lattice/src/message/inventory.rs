//! What a host says of itself when asked: `host.ping`, `host.get`, and the heartbeat, which carries an inventory.

use serde::{Deserialize, Serialize};

use crate::id::{EntityId, HostId, LatticeName};
use crate::message::command::{ComponentLimits, StringMap};

/// The answer to `host.ping`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostSummary {
    /// The host's id.
    pub id: HostId,
    /// A name for people.
    pub friendly_name: String,
    /// Its labels.
    pub labels: StringMap,
    /// Its lattice.
    pub lattice: LatticeName,
    /// Since it started.
    pub uptime_seconds: u64,
    /// The same for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uptime_human: Option<String>,
    /// Semver.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Where it is connected for calls.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rpc_host: Option<String>,
    /// Where it is connected for control.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ctl_host: Option<String>,
    /// Its JetStream domain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub js_domain: Option<String>,
}

/// The answer to `host.get`, and the data of a heartbeat.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostInventory {
    /// The host's id.
    pub host_id: HostId,
    /// A name for people.
    pub friendly_name: String,
    /// Its labels.
    pub labels: StringMap,
    /// Semver: wadm refuses a heartbeat without it.
    pub version: String,
    /// Since it started, for people.
    pub uptime_human: String,
    /// Since it started.
    pub uptime_seconds: u64,
    /// What it runs.
    #[serde(alias = "actors")]
    pub components: Vec<ComponentEntry>,
    /// What it runs.
    pub providers: Vec<ProviderEntry>,
    /// What it has room for. Ours; hosts of lattice v1 do not say it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub capacity: Option<Capacity>,
    /// The highest fencing token that it knows; it refuses commands with a lower one. Ours.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fence: Option<u64>,
}

/// What a host has room for, all that it runs included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Capacity {
    /// Memory in bytes.
    pub memory_bytes: u64,
    /// Thousandths of a core.
    pub cpu_millis: u64,
    /// Instances of actors that may exist at once.
    pub max_instances: u32,
}

/// A component in an inventory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ComponentEntry {
    /// Its id.
    pub id: EntityId,
    /// The reference it was started from.
    pub image_ref: String,
    /// The name in its claims.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// As they came with the command.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub annotations: Option<StringMap>,
    /// The revision in its claims, else 0.
    pub revision: i32,
    /// Upper bound of instances.
    pub max_instances: u32,
    /// As they came with the command.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limits: Option<ComponentLimits>,
}

/// A provider in an inventory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProviderEntry {
    /// Its id.
    pub id: EntityId,
    /// The reference it was started from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image_ref: Option<String>,
    /// For people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The revision in its claims, else 0.
    pub revision: i32,
    /// As they came with the command.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub annotations: Option<StringMap>,
}
