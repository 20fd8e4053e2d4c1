//! The answer to `plan`, which is ours: the difference that a version would make, and why.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::difference::Difference;
use super::message::GetResult;
use crate::manifest::Problem;

/// The reply to `plan`: what deploying a manifest would do.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PlanReply {
    /// What came of it.
    pub result: GetResult,
    /// For people.
    #[serde(default)]
    pub message: String,
    /// The application.
    #[serde(default)]
    pub name: String,
    /// What is wrong with the manifest, with places.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub manifest_problems: Vec<Problem>,
    /// Against what is deployed now.
    #[serde(default)]
    pub difference: Difference,
    /// What would be done first, in order, for people.
    #[serde(default)]
    pub actions: Vec<String>,
    /// What would be waited for.
    #[serde(default)]
    pub waits: Vec<String>,
    /// What would be wrong.
    #[serde(default)]
    pub problems: Vec<String>,
    /// Why which hosts would be chosen.
    #[serde(default)]
    pub explanations: Vec<ExplanationInfo>,
    /// Which actors call each other afterwards, where the code of one of them is new: whoever can read the images can
    /// tell whether they fit.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub calls: Vec<CallInfo>,
}

/// A link between two actors.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallInfo {
    /// Who calls.
    pub source: EndInfo,
    /// Who is called.
    pub target: EndInfo,
    /// The name of the link.
    pub link: String,
    /// The interfaces, as `namespace:package/interface`.
    pub contracts: Vec<String>,
}

/// An end of a link.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndInfo {
    /// The actor.
    pub id: String,
    /// What is to run of it.
    pub image: String,
    /// What runs of it now.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub runs: Vec<String>,
}

/// Why the hosts of a scaler are its hosts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExplanationInfo {
    /// The component.
    pub component: String,
    /// The group of hosts.
    pub spread: String,
    /// What the group is to have.
    pub share: String,
    /// The hosts that were chosen.
    pub chosen: Vec<ChoiceInfo>,
    /// Those that were not.
    pub rejected: Vec<Rejection>,
    /// How many further ones were not, by reason.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub more_rejected: BTreeMap<String, u32>,
}

/// A host that was chosen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChoiceInfo {
    /// The host.
    pub host: String,
    /// How many instances.
    pub count: u32,
    /// Why.
    pub why: String,
}

/// A host that was not chosen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rejection {
    /// The host.
    pub host: String,
    /// Why not.
    pub why: String,
}
