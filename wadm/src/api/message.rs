//! Requests and replies of the API. Members that wadm v1 does not have are optional, and say so.

use serde::{Deserialize, Serialize};

use crate::manifest::{Manifest, Problem};

/// The body of a request other than `put` and `plan`; an empty body is the default.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// Which version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Ours: who asks, for the history.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub who: Option<String>,
    /// Ours: why, for the history.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

/// The reply to `put`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PutReply {
    /// What came of it.
    pub result: PutResult,
    /// How many versions there are.
    #[serde(default)]
    pub total_versions: usize,
    /// The version that was put.
    #[serde(default)]
    pub current_version: String,
    /// For people.
    #[serde(default)]
    pub message: String,
    /// The application.
    #[serde(default)]
    pub name: String,
    /// Ours: what is wrong with the manifest, with places.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub problems: Vec<Problem>,
}

/// What came of `put`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "named as wadm v1 names them")]
pub enum PutResult {
    Error,
    Created,
    NewVersion,
}

/// The reply to `get` of one application.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GetReply {
    /// What came of it.
    pub result: GetResult,
    /// For people.
    #[serde(default)]
    pub message: String,
    /// What was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub manifest: Option<Manifest>,
}

/// What came of `get` and `versions`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "named as wadm v1 names them")]
pub enum GetResult {
    Error,
    Success,
    NotFound,
}

/// The reply to `get` of all applications; `list` answers the bare list.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ListReply {
    /// What came of it.
    pub result: GetResult,
    /// For people.
    #[serde(default)]
    pub message: String,
    /// By name.
    pub models: Vec<ModelSummary>,
}

/// An application in a list.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ModelSummary {
    /// Its name.
    pub name: String,
    /// The version that was put last.
    pub version: String,
    /// For people, of that version.
    pub description: Option<String>,
    /// The version that is to run.
    pub deployed_version: Option<String>,
    /// How it stands.
    #[serde(default)]
    pub detailed_status: Status,
    /// The same in short, for old clients.
    pub status: StatusType,
    /// Why, for old clients.
    pub status_message: Option<String>,
}

/// The reply to `versions`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VersionsReply {
    /// What came of it.
    pub result: GetResult,
    /// For people.
    #[serde(default)]
    pub message: String,
    /// In the order in which they were put.
    pub versions: Vec<VersionInfo>,
}

/// A version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VersionInfo {
    /// Its name.
    pub version: String,
    /// Whether it is to run.
    pub deployed: bool,
}

/// The reply to `del`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeleteReply {
    /// What came of it.
    pub result: DeleteResult,
    /// For people.
    #[serde(default)]
    pub message: String,
    /// Whether it was deployed and is not any more.
    #[serde(default)]
    pub undeploy: bool,
}

/// What came of `del`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "named as wadm v1 names them")]
pub enum DeleteResult {
    Deleted,
    Error,
    Noop,
}

/// The reply to `deploy`, `undeploy` and `rollback`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeployReply {
    /// What came of it.
    pub result: DeployResult,
    /// For people.
    #[serde(default)]
    pub message: String,
    /// The application.
    #[serde(default)]
    pub name: String,
    /// The version that is to run.
    #[serde(default)]
    pub version: Option<String>,
    /// Ours: the generation since then; a status of a lower one tells of earlier.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generation: Option<u64>,
}

/// What came of `deploy`, `undeploy` and `rollback`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "named as wadm v1 names them")]
pub enum DeployResult {
    Error,
    Acknowledged,
    NotFound,
}

/// The reply to `status`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatusReply {
    /// What came of it.
    pub result: StatusResult,
    /// For people.
    #[serde(default)]
    pub message: String,
    /// How it stands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<Status>,
}

/// What came of `status`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "named as wadm v1 names them")]
pub enum StatusResult {
    Error,
    Ok,
    NotFound,
}

/// How an application stands; also what is published when that changes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// The worst of its scalers, or what the whole suffers from.
    #[serde(rename = "status")]
    pub info: StatusInfo,
    /// Scalers, links and configs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub scalers: Vec<ScalerStatus>,
    /// The version that is to run; empty if none.
    #[serde(default)]
    pub version: String,
    /// Always empty; old clients want it.
    #[serde(default)]
    pub components: Vec<serde_json::Value>,
    /// Ours: the generation that this tells of.
    #[serde(default)]
    pub generation: u64,
    /// Ours: what is wrong and does not go away by waiting.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub problems: Vec<String>,
    /// Ours: what is waited for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub waits: Vec<String>,
}

/// How something stands, and why.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatusInfo {
    /// How.
    #[serde(rename = "type")]
    pub status_type: StatusType,
    /// Why.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
}

/// How something stands.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "named as wadm v1 names them")]
pub enum StatusType {
    Waiting,
    #[default]
    Undeployed,
    #[serde(alias = "compensating")]
    Reconciling,
    #[serde(alias = "ready")]
    Deployed,
    Failed,
    Unhealthy,
}

/// How a scaler, link or config stands.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScalerStatus {
    /// Stable between versions.
    #[serde(default)]
    pub id: String,
    /// `SpreadScaler`, `DaemonScaler`, `LinkScaler` or `ConfigScaler`.
    #[serde(default)]
    pub kind: String,
    /// In the words of the manifest.
    #[serde(default)]
    pub name: String,
    /// How it stands.
    #[serde(rename = "status")]
    pub info: StatusInfo,
    /// Ours: what runs of it and does its work.
    #[serde(default)]
    pub ready: u32,
    /// Ours: what is wanted of it.
    #[serde(default)]
    pub wanted: u32,
}

/// The reply to `history`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HistoryReply {
    /// What came of it.
    pub result: GetResult,
    /// For people.
    #[serde(default)]
    pub message: String,
    /// Oldest first.
    #[serde(default)]
    pub history: Vec<EventInfo>,
}

/// Something that happened to an application.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventInfo {
    /// When, by RFC 3339.
    pub time: String,
    /// Who did it, as they call themselves.
    pub who: String,
    /// `put`, `deploy`, `undeploy`, `rollback` or `delete`.
    pub what: String,
    /// Of which version, if of one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// The generation since then.
    pub generation: u64,
    /// Why; may be empty.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub why: String,
}
