//! `config.put`, `config.get`, `config.del`: one host answers for the lattice, and all hosts follow the store.

use bytes::Bytes;
use serde_json::json;
use trellis_lattice::id::ConfigName;
use trellis_lattice::message::command::{Reply, StringMap};
use trellis_lattice::message::event::EventName;
use trellis_lattice::message::fence;

use super::{Shared, check, encode};

/// Writes a config that the providers can read whose links it is for.
pub(super) async fn put(shared: &Shared, name: &str, payload: &[u8]) -> Result<Bytes, String> {
    let name = parse_name(name)?;
    let body = fence::strip(payload).and_then(serde_json::from_value::<StringMap>);
    let config = body.map_err(|error| format!("the request of config.put is malformed: {error}"))?;
    check::config(shared, &name, &config).await.map_err(|error| format!("config {name}: {error}"))?;
    shared.context.records.put_config(&name, &config).await.map_err(|error| error.to_string())?;
    shared.context.announcer.emit(EventName::ConfigSet, json!({"config_name": name.as_str()}));
    Ok(encode(&Reply::<()>::accepted("")))
}

/// A config. One that is not there is a success without a response.
pub(super) async fn get(shared: &Shared, name: &str) -> Result<Bytes, String> {
    let name = parse_name(name)?;
    let found = shared.context.records.get_config(&name).await.map_err(|error| error.to_string())?;
    Ok(match found {
        Some(config) => encode(&Reply::answer(config)),
        None => encode(&Reply::<StringMap>::accepted("Configuration not found")),
    })
}

/// Deletes a config. That it is not there is a success, and told as well.
pub(super) async fn delete(shared: &Shared, name: &str) -> Result<Bytes, String> {
    let name = parse_name(name)?;
    shared.context.records.delete_config(&name).await.map_err(|error| error.to_string())?;
    shared.context.announcer.emit(EventName::ConfigDeleted, json!({"config_name": name.as_str()}));
    Ok(encode(&Reply::<()>::accepted("")))
}

fn parse_name(name: &str) -> Result<ConfigName, String> {
    ConfigName::parse(name).map_err(|error| error.to_string())
}
