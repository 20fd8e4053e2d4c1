//! What a host says of itself when asked: `host.ping`, `host.get`, and the heartbeat, which carries an inventory.

use serde::{Deserialize, Serialize};

use crate::id::{EntityId, HostId, LatticeName, LinkName};
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
    /// Which broker it is connected to, where there may be several. Ours.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub broker: Option<String>,
    /// What it has room for. Ours; hosts of lattice v1 do not say it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub capacity: Option<Capacity>,
    /// The highest fencing token that it knows; it refuses commands with a lower one. Ours.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fence: Option<u64>,
    /// The ids for which commands are being carried out; absent when that is not known. Ours.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub underway: Option<Vec<EntityId>>,
    /// The breakers of links that do not let calls pass as usual, as calls of this host opened them. Ours.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub breakers: Vec<LinkBreaker>,
    /// The links with a policy over which calls are in flight here. Ours.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub traffic: Vec<LinkTraffic>,
}

/// The calls in flight over a link, as one host counts them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinkTraffic {
    /// Who calls.
    pub source_id: EntityId,
    /// Who is called.
    pub target: EntityId,
    /// The link's name.
    pub name: LinkName,
    /// E.g. `wasi`.
    pub wit_namespace: String,
    /// E.g. `keyvalue`.
    pub wit_package: String,
    /// How many there are.
    pub in_flight: u32,
    /// How many there may be, if that is limited.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
}

/// The breaker of a link, as calls of one host opened it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinkBreaker {
    /// Who calls.
    pub source_id: EntityId,
    /// Who is called.
    pub target: EntityId,
    /// The link's name.
    pub name: LinkName,
    /// E.g. `wasi`.
    pub wit_namespace: String,
    /// E.g. `keyvalue`.
    pub wit_package: String,
    /// How it stands.
    pub state: BreakerState,
}

/// How a breaker stands that is not closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BreakerState {
    /// Calls are refused.
    Open,
    /// The next call tries, or one tries now.
    #[serde(other)]
    HalfOpen,
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
    /// Hex of the SHA-256 of its bytes. Ours.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
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
    /// How it stands by the rule that it was started with (see [`super::readiness`]); absent without one. Ours.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub readiness: Option<Readiness>,
}

/// Whether a component does its work, by the rule that it was started with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Readiness {
    /// How it stands.
    pub state: ReadinessState,
    /// Why it is not ready, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// How a component stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ReadinessState {
    /// It does its work.
    Ready,
    /// It was ready and is not any more, or did not become ready in time.
    Failing,
    /// It is not ready yet; or a newer host says something that is not known here.
    #[serde(other)]
    Starting,
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
    /// How each link stands that this provider is an end of, as far as its host knows links. Ours; hosts of lattice v1
    /// do not say it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub links: Option<Vec<ProviderLink>>,
    /// Why it is ill, as it was when its health was asked for last; absent when it is well. Ours.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unhealthy: Option<String>,
}

/// A link of a provider in an inventory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProviderLink {
    /// Who calls.
    pub source_id: EntityId,
    /// Who is called.
    pub target: EntityId,
    /// Its name.
    pub name: LinkName,
    /// E.g. `wasi`.
    pub wit_namespace: String,
    /// E.g. `keyvalue`.
    pub wit_package: String,
    /// Of which content of it `state` speaks; see [`Link::fingerprint`](super::link::Link::fingerprint). Absent when a
    /// config of it is missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fingerprint: Option<String>,
    /// How it stands.
    pub state: LinkState,
    /// Why it failed, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// How a link of a provider stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LinkState {
    /// The provider has it.
    Up,
    /// The provider could not establish it, and is asked again later.
    Failed,
    /// The provider was not asked yet; or a newer host says something that is not known here.
    #[serde(other)]
    Pending,
}

#[cfg(test)]
mod tests {
    use super::{LinkState, ProviderEntry, ProviderLink};

    fn link(state: LinkState) -> ProviderLink {
        ProviderLink {
            source_id: "http".parse().expect("valid"),
            target: "web".parse().expect("valid"),
            name: "default".parse().expect("valid"),
            wit_namespace: "wasi".to_owned(),
            wit_package: "http".to_owned(),
            fingerprint: None,
            state,
            reason: None,
        }
    }

    #[test]
    fn states_of_links_are_words_and_unknown_ones_are_pending() {
        for (state, word) in [(LinkState::Up, "up"), (LinkState::Failed, "failed"), (LinkState::Pending, "pending")] {
            let value = serde_json::to_value(link(state)).expect("JSON");
            assert_eq!(value["state"], word);
            assert_eq!(serde_json::from_value::<ProviderLink>(value).expect("read"), link(state));
        }
        let mut value = serde_json::to_value(link(LinkState::Up)).expect("JSON");
        value["state"] = "resting".into();
        assert_eq!(serde_json::from_value::<ProviderLink>(value).expect("read").state, LinkState::Pending);
    }

    #[test]
    fn a_provider_of_lattice_v1_says_nothing_of_its_links() {
        let entry: ProviderEntry = serde_json::from_str(r#"{"id": "http", "revision": 0}"#).expect("read");
        assert_eq!(entry.links, None);
        assert!(!serde_json::to_string(&entry).expect("JSON").contains("links"));
    }
}
