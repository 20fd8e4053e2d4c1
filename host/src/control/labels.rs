//! `label.put`, `label.del`, and what labels a host has.

use std::sync::Arc;

use arc_swap::ArcSwap;
use serde_json::json;
use trellis_lattice::message::command::{HostLabel, StringMap};
use trellis_lattice::message::event::EventName;

use super::{Response, Shared, Then, parse};
use crate::standing::Told;

/// The labels that every host has, and that nobody can change.
const CORE: &str = "hostcore.";

/// The longest key or value, in bytes.
const MAX_BYTES: usize = 256;
/// The most labels that a host has.
const MAX_LABELS: usize = 256;

/// The labels of a host: those of its settings, changed by what it was told, and those that cannot be changed.
#[derive(Debug)]
pub(crate) struct Labels {
    configured: StringMap,
    /// Those that the host's token grants.
    granted: StringMap,
    /// As they are now; the receive loop is the one that writes them.
    now: ArcSwap<StringMap>,
}

impl Labels {
    /// Of a host with `configured` ones whose token grants `granted` ones.
    pub(crate) fn new(configured: StringMap, granted: StringMap, told: &Told) -> Self {
        let labels = Self { configured, granted, now: ArcSwap::default() };
        labels.refresh(told);
        labels
    }

    /// As they are now.
    pub(crate) fn now(&self) -> Arc<StringMap> {
        self.now.load_full()
    }

    fn refresh(&self, told: &Told) {
        let mut labels = self.configured.clone();
        for (key, value) in told.now().labels {
            match value {
                Some(value) => labels.insert(key, value),
                None => labels.remove(&key),
            };
        }
        labels.retain(|key, _| !key.starts_with(CORE));
        labels.extend(self.granted.clone());
        let core =
            [("arch", std::env::consts::ARCH), ("os", std::env::consts::OS), ("osfamily", std::env::consts::FAMILY)];
        labels.extend(core.map(|(key, value)| (format!("{CORE}{key}"), value.to_owned())));
        self.now.store(Arc::new(labels));
    }

    fn require_changeable(&self, key: &str) -> Result<(), String> {
        if key.starts_with(CORE) {
            return Err(format!("label {key:?} is the host's own: {CORE}* cannot be changed"));
        }
        if self.granted.contains_key(key) {
            return Err(format!("label {key:?} is granted by the host's token and cannot be changed here"));
        }
        Ok(())
    }
}

/// Whether every constraint is a label of this host.
pub(super) fn satisfy(shared: &Shared, constraints: &StringMap) -> bool {
    let labels = shared.labels.now();
    constraints.iter().all(|(key, value)| labels.get(key) == Some(value))
}

/// Sets a label.
pub(super) fn put<'a>(shared: &'a Shared, payload: &[u8]) -> Result<Response<'a>, String> {
    let HostLabel { key, value } = parse("label.put", payload)?;
    shared.labels.require_changeable(&key)?;
    if key.is_empty() || key.len() > MAX_BYTES || value.len() > MAX_BYTES {
        return Err(format!("a label's key and value are at most {MAX_BYTES} bytes long, and the key is not empty"));
    }
    let told = shared.context.told.now().labels;
    if told.len() >= MAX_LABELS && !told.contains_key(&key) {
        return Err(format!("this host has had {MAX_LABELS} labels put or deleted, which is the most it keeps"));
    }
    Ok(change(shared, key, Some(value)))
}

/// Removes a label. That it is not there is a success.
pub(super) fn delete<'a>(shared: &'a Shared, payload: &[u8]) -> Result<Response<'a>, String> {
    let HostLabel { key, .. } = parse("label.del", payload)?;
    shared.labels.require_changeable(&key)?;
    if !shared.labels.now().contains_key(&key) {
        return Ok(told(shared));
    }
    Ok(change(shared, key, None))
}

fn change(shared: &Shared, key: String, value: Option<String>) -> Response<'_> {
    let all = &shared.context.told;
    match value {
        Some(value) => all.put_label(key, value),
        None if shared.labels.configured.contains_key(&key) => all.delete_label(key),
        None => all.forget_label(&key),
    }
    shared.labels.refresh(&shared.context.told);
    told(shared)
}

/// Says what the labels are now.
fn told(shared: &Shared) -> Response<'_> {
    let data = json!({"host_id": shared.context.host.as_str(), "labels": *shared.labels.now()});
    Response::accepted(String::new(), Then::Event(EventName::LabelsChanged, data))
}
