//! `label.put`, `label.del`, and what labels a host has.

use std::sync::Arc;

use serde_json::json;
use trellis_lattice::message::command::{HostLabel, StringMap};
use trellis_lattice::message::event::EventName;

use super::{Response, Shared, Then, parse};

/// The labels that every host has, and that nobody can change.
const CORE: &str = "hostcore.";

/// The longest key or value, in bytes.
const MAX_BYTES: usize = 256;

/// The labels of a host with `configured` ones whose token grants `granted` ones.
pub(crate) fn all(configured: &StringMap, granted: &StringMap) -> StringMap {
    let mut labels = configured.clone();
    labels.retain(|key, _| !key.starts_with(CORE));
    labels.extend(granted.clone());
    let core = [("arch", std::env::consts::ARCH), ("os", std::env::consts::OS), ("osfamily", std::env::consts::FAMILY)];
    labels.extend(core.map(|(key, value)| (format!("{CORE}{key}"), value.to_owned())));
    labels
}

/// Whether every constraint is a label of this host.
pub(super) fn satisfy(shared: &Shared, constraints: &StringMap) -> bool {
    let labels = shared.labels.load();
    constraints.iter().all(|(key, value)| labels.get(key) == Some(value))
}

/// Sets a label.
pub(super) fn put<'a>(shared: &'a Shared, payload: &[u8]) -> Result<Response<'a>, String> {
    let HostLabel { key, value } = parse("label.put", payload)?;
    require_changeable(shared, &key)?;
    if key.is_empty() || key.len() > MAX_BYTES || value.len() > MAX_BYTES {
        return Err(format!("a label's key and value are at most {MAX_BYTES} bytes long, and the key is not empty"));
    }
    Ok(change(shared, |labels| drop(labels.insert(key, value))))
}

/// Removes a label. That it is not there is a success.
pub(super) fn delete<'a>(shared: &'a Shared, payload: &[u8]) -> Result<Response<'a>, String> {
    let HostLabel { key, .. } = parse("label.del", payload)?;
    require_changeable(shared, &key)?;
    Ok(change(shared, |labels| drop(labels.remove(&key))))
}

fn require_changeable(shared: &Shared, key: &str) -> Result<(), String> {
    if key.starts_with(CORE) {
        return Err(format!("label {key:?} is the host's own: {CORE}* cannot be changed"));
    }
    if shared.granted.contains_key(key) {
        return Err(format!("label {key:?} is granted by the host's token and cannot be changed here"));
    }
    Ok(())
}

fn change<'a>(shared: &'a Shared, apply: impl FnOnce(&mut StringMap)) -> Response<'a> {
    let mut labels = StringMap::clone(&shared.labels.load());
    apply(&mut labels);
    let data = json!({"host_id": shared.context.host.as_str(), "labels": labels});
    shared.labels.store(Arc::new(labels));
    Response::accepted(String::new(), Then::Event(EventName::LabelsChanged, data))
}
