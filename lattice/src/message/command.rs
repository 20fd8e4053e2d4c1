//! Requests and replies of the control interface v1 (JSON; shapes as wasmCloud 1.x clients send and expect them).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::id::{ConfigName, EntityId, HostId, LinkName};
use crate::secret::Secret;

/// A flat map of strings: labels, annotations, a config.
pub type StringMap = BTreeMap<String, String>;

/// The envelope of every reply.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reply<T> {
    /// Whether the command was taken (its outcome follows as an event) or the query answered.
    pub success: bool,
    /// For people; empty when there is nothing to say.
    #[serde(default)]
    pub message: String,
    /// Absent for commands.
    #[serde(default = "Option::default", skip_serializing_if = "Option::is_none")]
    pub response: Option<T>,
}

impl<T> Reply<T> {
    /// A query's answer.
    pub fn answer(response: T) -> Self {
        Self { success: true, message: String::new(), response: Some(response) }
    }

    /// A command was taken.
    pub fn accepted(message: impl Into<String>) -> Self {
        Self { success: true, message: message.into(), response: None }
    }

    /// A command or query was refused.
    pub fn refused(message: impl Into<String>) -> Self {
        Self { success: false, message: message.into(), response: None }
    }
}

/// `component.scale`: run at most `count` instances at once; 0 stops the component.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScaleComponent {
    /// Where its bytes are: a path, `file://…`, or an OCI reference.
    pub component_ref: String,
    /// Its id in the lattice.
    pub component_id: EntityId,
    /// Upper bound of instances that run at once.
    #[serde(alias = "max_instances")]
    pub count: u32,
    /// The host meant.
    pub host_id: HostId,
    /// Names of configs, later ones win.
    #[serde(default)]
    pub config: Vec<ConfigName>,
    /// Whether another `component_ref` than the running one replaces it.
    #[serde(default)]
    pub allow_update: bool,
    /// Echoed unchanged in events and inventory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub annotations: Option<StringMap>,
    /// Limits, as texts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub component_limits: Option<ComponentLimits>,
}

/// Limits of a component as lattice v1 writes them: both are texts that hold a number.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ComponentLimits {
    /// Bytes of linear memory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_memory_limit: Option<String>,
    /// Milliseconds of execution.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_execution_time: Option<String>,
}

/// `component.update`: replace a running component's bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UpdateComponent {
    /// Which.
    pub component_id: EntityId,
    /// The new reference.
    pub new_component_ref: String,
    /// The host meant.
    pub host_id: HostId,
    /// Echoed unchanged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub annotations: Option<StringMap>,
}

/// `provider.start`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StartProvider {
    /// Its id in the lattice.
    pub provider_id: EntityId,
    /// `builtin:<name>`, a path, `file://…`, or an OCI reference.
    pub provider_ref: String,
    /// The host meant.
    pub host_id: HostId,
    /// Names of configs, later ones win.
    #[serde(default)]
    pub config: Vec<ConfigName>,
    /// Whether it takes the place of one with that id that runs as a process. Not of lattice v1.
    #[serde(default, skip_serializing_if = "is_false")]
    pub allow_update: bool,
    /// Echoed unchanged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub annotations: Option<StringMap>,
}

fn is_false(flag: &bool) -> bool {
    !*flag
}

/// `provider.stop`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StopProvider {
    /// The host meant.
    pub host_id: HostId,
    /// Which.
    #[serde(alias = "provider_ref")]
    pub provider_id: EntityId,
}

/// `host.stop`; an empty request means the defaults.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StopHost {
    /// The host meant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host_id: Option<HostId>,
    /// Milliseconds that the drain may take (the field's v1 doc says seconds; clients and hosts use milliseconds).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<u64>,
}

/// `link.del`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeleteLink {
    /// Who calls.
    pub source_id: EntityId,
    /// The link's name.
    #[serde(default)]
    pub name: LinkName,
    /// E.g. `wasi`.
    pub wit_namespace: String,
    /// E.g. `keyvalue`.
    pub wit_package: String,
}

/// `label.put`; `label.del` ignores `value`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostLabel {
    /// Not `hostcore.*`.
    pub key: String,
    /// Its value.
    #[serde(default)]
    pub value: String,
}

/// The credentials for one registry in `registry.put`: a user with a password, or a token.
#[derive(Debug, Clone, Deserialize)]
pub struct RegistryCredential {
    /// Who.
    #[serde(default)]
    pub username: Option<String>,
    /// With which password.
    #[serde(default)]
    pub password: Option<Secret>,
    /// Or with which token; beside a username it is its password.
    #[serde(default)]
    pub token: Option<Secret>,
    /// `oci`.
    #[serde(rename = "registryType", default = "oci")]
    pub registry_type: String,
}

fn oci() -> String {
    "oci".to_owned()
}

/// `component.auction`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ComponentAuction {
    /// Where its bytes are.
    pub component_ref: String,
    /// Its id.
    pub component_id: EntityId,
    /// Labels that a host must have.
    #[serde(default)]
    pub constraints: StringMap,
}

/// A bid for a component.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ComponentBid {
    /// As asked.
    pub component_ref: String,
    /// As asked.
    pub component_id: EntityId,
    /// Who bids.
    pub host_id: HostId,
    /// As asked.
    pub constraints: StringMap,
}

/// `provider.auction`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProviderAuction {
    /// Where it is.
    pub provider_ref: String,
    /// Its id.
    pub provider_id: EntityId,
    /// Labels that a host must have.
    #[serde(default)]
    pub constraints: StringMap,
}

/// A bid for a provider.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProviderBid {
    /// As asked.
    pub provider_ref: String,
    /// As asked.
    pub provider_id: EntityId,
    /// Who bids.
    pub host_id: HostId,
    /// As asked.
    pub constraints: StringMap,
}
