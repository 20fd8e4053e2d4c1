//! `component.scale`, `component.update`, `component.auction`.

use trellis_lattice::message::command::{ComponentAuction, ComponentBid, ScaleComponent, UpdateComponent};

use super::{Response, Shared, Then, labels, parse};
use crate::roster::Order;

/// Runs, changes or stops an actor; the outcome follows as an event.
pub(super) fn scale<'a>(shared: &'a Shared, payload: &[u8]) -> Result<Response<'a>, String> {
    let command: ScaleComponent = parse("component.scale", payload)?;
    shared.require_self(&command.host_id)?;
    let snapshot = shared.roster.snapshot();
    let current = snapshot.actors.get(&command.component_id).map(|entry| entry.command.component_ref.as_str());
    let message = match current {
        Some(current) if current != command.component_ref && !command.allow_update && command.count > 0 => format!(
            "{} runs {current}; it is scaled, and keeps that reference: to replace it by {}, allow the update",
            command.component_id, command.component_ref
        ),
        _ => String::new(),
    };
    let slot = shared.reserve()?;
    Ok(Response::accepted(message, Then::Order(slot, Order::Scale(Box::new(command)))))
}

/// Replaces the code of an actor that runs here.
pub(super) fn update<'a>(shared: &'a Shared, payload: &[u8]) -> Result<Response<'a>, String> {
    let UpdateComponent { component_id, new_component_ref, host_id, annotations } = parse("component.update", payload)?;
    shared.require_self(&host_id)?;
    let snapshot = shared.roster.snapshot();
    let Some(entry) = snapshot.actors.get(&component_id) else {
        return Err(format!("actor {component_id} does not run on this host"));
    };
    let mut command = entry.command.clone();
    command.component_ref = new_component_ref;
    command.allow_update = true;
    command.annotations = annotations.or(command.annotations);
    let slot = shared.reserve()?;
    Ok(Response::accepted(String::new(), Then::Order(slot, Order::Scale(Box::new(command)))))
}

/// Bids when every constraint is a label of this host and the id is free here; otherwise says nothing.
pub(super) fn auction<'a>(shared: &'a Shared, payload: &[u8]) -> Result<Response<'a>, String> {
    let ComponentAuction { component_ref, component_id, constraints } = parse("component.auction", payload)?;
    if !labels::satisfy(shared, &constraints) || shared.is_taken(&component_id) {
        return Ok(Response::silence());
    }
    let host_id = shared.context.host.clone();
    Ok(Response::answer(ComponentBid { component_ref, component_id, host_id, constraints }))
}
