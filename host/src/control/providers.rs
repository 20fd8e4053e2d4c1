//! `provider.start`, `provider.stop`, `provider.auction`.

use trellis_lattice::id::EntityId;
use trellis_lattice::message::command::{ProviderAuction, ProviderBid, StartProvider, StopProvider};

use super::{Response, Shared, Then, labels, parse};
use crate::provider::Reference;
use crate::roster::Order;

/// Runs a provider; the outcome follows as an event.
pub(super) fn start<'a>(shared: &'a Shared, payload: &[u8]) -> Result<Response<'a>, String> {
    let command: StartProvider = parse("provider.start", payload)?;
    shared.require_self(&command.host_id)?;
    let may_replace = command.allow_update && shared.roster.snapshot().providers.contains_key(&command.provider_id);
    if shared.is_taken(&command.provider_id) && !may_replace {
        return Err(format!("{} runs on this host already", command.provider_id));
    }
    let slot = shared.reserve()?;
    Ok(Response::accepted(String::new(), Then::Order(slot, Order::StartProvider(Box::new(command)))))
}

/// Stops a provider; that it did follows as an event.
pub(super) fn stop<'a>(shared: &'a Shared, payload: &[u8]) -> Result<Response<'a>, String> {
    let StopProvider { host_id, provider_id } = parse("provider.stop", payload)?;
    shared.require_self(&host_id)?;
    if !shared.roster.snapshot().providers.contains_key(&provider_id) {
        return Err(format!("provider {provider_id} does not run on this host"));
    }
    let slot = shared.reserve()?;
    Ok(Response::accepted(String::new(), Then::Order(slot, Order::StopProvider(provider_id))))
}

/// Bids when every constraint is a label of this host, the id is free here and the provider can run here; otherwise
/// says nothing.
pub(super) fn auction<'a>(shared: &'a Shared, payload: &[u8]) -> Result<Response<'a>, String> {
    let ProviderAuction { provider_ref, provider_id, constraints } = parse("provider.auction", payload)?;
    let reference = Reference::parse(&provider_ref, &shared.context.builtins, &shared.context.native);
    let can_run = reference.is_ok_and(|reference| reference.is_here());
    if !can_run || !labels::satisfy(shared, &constraints) || shared.is_taken(&provider_id) {
        return Ok(Response::silence());
    }
    let host_id = shared.context.host.clone();
    Ok(Response::answer(ProviderBid { provider_ref, provider_id, host_id, constraints }))
}

impl Shared {
    /// Whether something with that id runs here.
    pub(super) fn is_taken(&self, id: &EntityId) -> bool {
        let snapshot = self.roster.snapshot();
        snapshot.actors.contains_key(id) || snapshot.providers.contains_key(id)
    }
}
