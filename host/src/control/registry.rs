//! `registry.put`: credentials for registries, which every host keeps in memory as long as it runs.

use std::collections::BTreeMap;

use trellis_lattice::message::command::RegistryCredential;

use super::{Response, Shared, Then};

/// Takes credentials. What is wrong with them is said without them.
pub(super) fn put<'a>(shared: &'a Shared, payload: &[u8]) -> Result<Response<'a>, String> {
    let credentials: BTreeMap<String, RegistryCredential> = serde_json::from_slice(payload)
        .map_err(|error| format!("the request of registry.put is malformed at column {}", error.column()))?;
    shared.context.artifacts.registries.tell(credentials)?;
    Ok(Response::accepted(String::new(), Then::Nothing))
}
