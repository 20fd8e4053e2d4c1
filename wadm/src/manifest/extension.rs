//! Traits that lattice v1 lacks: limits, readiness, where not to run, rollout, and how links and routes behave.
//!
//! Absent means the default that is documented here; what acts on a trait applies it.

use std::collections::BTreeSet;

use serde::Serialize;

use crate::manifest::quantity::{Amount, ByteSize, Cpu, Patience, Span};

/// What a component may use, and what is set aside for it (`resources`).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Resources {
    /// What it may use; a host enforces them.
    #[serde(skip_serializing_if = "is_default")]
    pub limits: Limits,
    /// What a host must have free for one of its instances; only placement looks at them.
    #[serde(skip_serializing_if = "is_default")]
    pub requests: Requests,
}

/// What an actor may use. Absent: what the host allows.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Limits {
    /// The most linear memory of one instance, at least 64Ki.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<ByteSize>,
    /// The longest that one call may execute, above zero.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub execution: Option<Span>,
    /// The most instances, and with that calls, on one host at a time, at least 1; a scaler may give it fewer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub concurrency: Option<u32>,
}

/// What a host must have free for one instance. Absent: nothing is counted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Requests {
    /// Memory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<ByteSize>,
    /// Processors.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu: Option<Cpu>,
}

/// When a component that was started counts as ready (`readiness`). Without this trait: when its host says that it
/// was started and its links are established.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Readiness {
    /// It has to run for so long without a failure of its start, links or health; 0 when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub settle: Option<Span>,
    /// It has to be ready within this time after its start, or counts as failed; a minute when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deadline: Option<Span>,
    /// It has to answer this request, which its host makes of it; actors that serve HTTP only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub http: Option<HttpProbe>,
}

/// A GET request that an actor has to answer to count as ready.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct HttpProbe {
    /// The path, with a query if there is one, e.g. `/healthz`.
    pub path: String,
    /// The `host` header, for actors that look at it; the actor's id when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// The status that means ready; any from 200 to 399 when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u32>,
    /// How often it is asked once it was ready; 5s when absent. Until then it is asked more often.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub every: Option<Span>,
    /// How long the answer may take; 1s when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Span>,
}

/// What a component must not share a place with (`antiaffinity`).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct AntiAffinity {
    /// Components of this application to keep apart from; empty means other instances of itself.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub components: BTreeSet<String>,
    /// The label whose value is a place, e.g. `zone`; a host is a place when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub topology: Option<String>,
    /// What if there is no such place.
    #[serde(skip_serializing_if = "is_default")]
    pub mode: Strength,
}

/// Whether a wish about places may be broken.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Strength {
    /// Rather not started than placed otherwise.
    #[default]
    Required,
    /// Placed otherwise when there is no other place.
    Preferred,
}

/// Which hosts a component puts up with (`tolerations`).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Tolerations {
    /// Taints of hosts on which it may run all the same.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub taints: Vec<Taint>,
    /// How long a silent host is waited for before what it runs is started elsewhere; 2500ms when absent, and for ever if
    /// it may be cut off with its whole site.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub silence: Option<Patience>,
}

/// A taint: the label `taint.trellis.dev/<key>` of a host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Taint {
    /// Its key, without the prefix.
    pub key: String,
    /// Its value; any when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
}

/// How a new version takes the place of the old one (`rollout`).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Rollout {
    /// So many instances beyond the wanted number meanwhile; 25% when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub surge: Option<Amount>,
    /// So many instances of the wanted number may be unready meanwhile; none when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unavailable: Option<Amount>,
    /// It has to be done in this time, or has failed; 10m when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deadline: Option<Span>,
    /// What follows when it has failed.
    #[serde(skip_serializing_if = "is_default")]
    pub rollback: Rollback,
}

/// What follows a rollout that failed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Rollback {
    /// The version before is deployed again.
    Automatic,
    /// It stays as it is, and the status says so.
    #[default]
    Manual,
}

/// How calls over links of this component behave (`resilience`). More than one such trait may stand beside each other;
/// for a link that two of them name, the one that names more of it holds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Resilience {
    /// Only links to this component of the application; to any when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// Only links of this name; of any when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub link: Option<String>,
    /// The policy of this application that holds, but for what is said here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub policy: Option<String>,
    /// The longest that a call may take, retries included; above zero.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Span>,
    /// How often a call that may be repeated is tried again, at most 10.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retries: Option<u32>,
    /// After which kinds of errors, by their names; empty means what had no effect or was lost on the way.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub retry_on: Vec<&'static str>,
    /// When calls are refused at once instead of tried.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub breaker: Option<Breaker>,
    /// How many calls may be in flight; any number when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub concurrency: Option<Concurrency>,
}

/// Refuses calls to a target that keeps failing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Breaker {
    /// It opens after so many failures in a row, at least 1.
    pub failures: u32,
    /// It stays open for so long before one call tries again; above zero.
    pub pause: Span,
    /// Which kinds of errors are failures, by their names; empty means all that speak against a target.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub on: Vec<&'static str>,
}

/// How many calls may be in flight over a link, on each host that calls.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Concurrency {
    /// So many, at least 1; as many more may wait.
    pub limit: u32,
    /// The longest wait, above zero; 100ms when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wait: Option<Span>,
}

/// Which HTTP requests an actor gets (`routes`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Routes {
    /// The provider of this application whose link to this actor the routes belong to; may be absent when only one
    /// links to it over `wasi:http`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub via: Option<String>,
    /// At least one.
    pub routes: Vec<Route>,
}

/// Requests by host and path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Route {
    /// A host name, or `*.` and one; any when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// The beginning of a path, by whole segments; `/` when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// The share against other actors with the same host and path, 0 to 1000000; 100 when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weight: Option<u32>,
}

impl Route {
    /// The share that holds: [`Route::weight`], or 100.
    pub fn share(&self) -> u32 {
        self.weight.unwrap_or(100)
    }
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}
