//! `host.ping`, `host.get`, `host.stop`.

use std::time::Duration;

use trellis_lattice::message::command::StopHost;

use super::{Response, Shared, Then, parse, query};

/// Who this host is.
pub(super) fn ping(shared: &Shared) -> Response<'_> {
    Response::answer(query::summary(shared))
}

/// What this host runs.
pub(super) fn get(shared: &Shared) -> Response<'_> {
    Response::answer(query::inventory(shared))
}

/// Asks whoever runs this host to stop it.
pub(super) fn stop<'a>(shared: &'a Shared, payload: &[u8]) -> Result<Response<'a>, String> {
    let is_empty = payload.iter().all(u8::is_ascii_whitespace);
    let StopHost { host_id, timeout } = if is_empty { StopHost::default() } else { parse("host.stop", payload)? };
    if let Some(host_id) = host_id {
        shared.require_self(&host_id)?;
    }
    let drain = timeout.map_or(shared.context.config.drain, Duration::from_millis);
    Ok(Response::accepted(String::new(), Then::Stop(drain)))
}
