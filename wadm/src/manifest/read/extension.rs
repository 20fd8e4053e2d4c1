//! The traits that lattice v1 lacks.

use trellis_lattice::policy::Classes;

use super::Reader;
use super::fields::Fields;
use super::scalar::{list, quantity, text, texts, whole, word};
use crate::manifest::document::Node;
use crate::manifest::extension::{
    AntiAffinity, Breaker, Concurrency, HttpProbe, Limits, Readiness, Requests, Resilience, Resources, Rollback,
    Rollout, Route, Routes, Strength, Taint, Tolerations,
};

/// `resources`.
pub(super) fn resources(reader: &mut Reader, node: &Node) -> Option<Resources> {
    let mut fields = Fields::of(reader, node, "resources")?;
    let limits = fields.optional("limits", limits).unwrap_or_default();
    let requests = fields.optional("requests", requests).unwrap_or_default();
    fields.end();
    Some(Resources { limits, requests })
}

fn limits(reader: &mut Reader, node: &Node) -> Option<Limits> {
    let mut fields = Fields::of(reader, node, "limits")?;
    let memory = fields.optional("memory", quantity);
    let execution = fields.optional("execution", quantity);
    let concurrency = fields.optional("concurrency", whole);
    fields.end();
    Some(Limits { memory, execution, concurrency })
}

fn requests(reader: &mut Reader, node: &Node) -> Option<Requests> {
    let mut fields = Fields::of(reader, node, "requests")?;
    let memory = fields.optional("memory", quantity);
    let cpu = fields.optional("cpu", quantity);
    fields.end();
    Some(Requests { memory, cpu })
}

/// `readiness`.
pub(super) fn readiness(reader: &mut Reader, node: &Node) -> Option<Readiness> {
    let mut fields = Fields::of(reader, node, "readiness")?;
    let settle = fields.optional("settle", quantity);
    let deadline = fields.optional("deadline", quantity);
    let http = fields.optional("http", http_probe);
    fields.end();
    Some(Readiness { settle, deadline, http })
}

fn http_probe(reader: &mut Reader, node: &Node) -> Option<HttpProbe> {
    let mut fields = Fields::of(reader, node, "http of a readiness")?;
    let path = fields.required("path", text);
    let host = fields.optional("host", text);
    let status = fields.optional("status", whole);
    let every = fields.optional("every", quantity);
    let timeout = fields.optional("timeout", quantity);
    fields.end();
    Some(HttpProbe { path: path?, host, status, every, timeout })
}

/// `antiaffinity`.
pub(super) fn anti_affinity(reader: &mut Reader, node: &Node) -> Option<AntiAffinity> {
    let strengths = [("required", Strength::Required), ("preferred", Strength::Preferred)];
    let mut fields = Fields::of(reader, node, "antiaffinity")?;
    let components = fields.optional("components", texts).unwrap_or_default().into_iter().collect();
    let topology = fields.optional("topology", text);
    let mode = fields.optional("mode", |reader, node| word(reader, node, &strengths)).unwrap_or_default();
    fields.end();
    Some(AntiAffinity { components, topology, mode })
}

/// `tolerations`.
pub(super) fn tolerations(reader: &mut Reader, node: &Node) -> Option<Tolerations> {
    let mut fields = Fields::of(reader, node, "tolerations")?;
    let taints = fields.optional("taints", |reader, node| list(reader, node, taint)).unwrap_or_default();
    let silence = fields.optional("silence", quantity);
    fields.end();
    Some(Tolerations { taints, silence })
}

fn taint(reader: &mut Reader, node: &Node) -> Option<Taint> {
    let mut fields = Fields::of(reader, node, "a taint")?;
    let key = fields.required("key", text).unwrap_or_default();
    let value = fields.optional("value", text);
    fields.end();
    Some(Taint { key, value })
}

/// `rollout`.
pub(super) fn rollout(reader: &mut Reader, node: &Node) -> Option<Rollout> {
    let rollbacks = [("automatic", Rollback::Automatic), ("manual", Rollback::Manual)];
    let mut fields = Fields::of(reader, node, "a rollout")?;
    let surge = fields.optional("surge", quantity);
    let unavailable = fields.optional("unavailable", quantity);
    let deadline = fields.optional("deadline", quantity);
    let rollback = fields.optional("rollback", |reader, node| word(reader, node, &rollbacks)).unwrap_or_default();
    fields.end();
    Some(Rollout { surge, unavailable, deadline, rollback })
}

/// `resilience`.
pub(super) fn resilience(reader: &mut Reader, node: &Node) -> Option<Resilience> {
    let mut fields = Fields::of(reader, node, "resilience")?;
    let target = fields.optional("target", text);
    let link = fields.optional("link", text);
    let policy = fields.optional("policy", text);
    let timeout = fields.optional("timeout", quantity);
    let retries = fields.optional("retries", whole);
    let retry_on = fields.optional("retry_on", classes).unwrap_or_default();
    let breaker = fields.optional("breaker", breaker);
    let concurrency = fields.optional("concurrency", concurrency);
    fields.end();
    Some(Resilience { target, link, policy, timeout, retries, retry_on, breaker, concurrency })
}

/// Kinds of errors.
fn classes(reader: &mut Reader, node: &Node) -> Option<Vec<&'static str>> {
    let class = |reader: &mut Reader, node: &Node| {
        let words: Vec<_> = Classes::names().map(|name| (name, name)).collect();
        word(reader, node, &words)
    };
    list(reader, node, class)
}

fn breaker(reader: &mut Reader, node: &Node) -> Option<Breaker> {
    let mut fields = Fields::of(reader, node, "a breaker")?;
    let failures = fields.required("failures", whole);
    let pause = fields.required("pause", quantity);
    let on = fields.optional("on", classes).unwrap_or_default();
    fields.end();
    Some(Breaker { failures: failures?, pause: pause?, on })
}

fn concurrency(reader: &mut Reader, node: &Node) -> Option<Concurrency> {
    let mut fields = Fields::of(reader, node, "a concurrency")?;
    let limit = fields.required("limit", whole);
    let wait = fields.optional("wait", quantity);
    fields.end();
    Some(Concurrency { limit: limit?, wait })
}

/// `routes`.
pub(super) fn routes(reader: &mut Reader, node: &Node) -> Option<Routes> {
    let mut fields = Fields::of(reader, node, "routes")?;
    let via = fields.optional("via", text);
    let routes = fields.required("routes", |reader, node| list(reader, node, route)).unwrap_or_default();
    fields.end();
    Some(Routes { via, routes })
}

fn route(reader: &mut Reader, node: &Node) -> Option<Route> {
    let mut fields = Fields::of(reader, node, "a route")?;
    let host = fields.optional("host", text);
    let path = fields.optional("path", text);
    let weight = fields.optional("weight", whole);
    fields.end();
    Some(Route { host, path, weight })
}
