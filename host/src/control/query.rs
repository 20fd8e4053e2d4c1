//! What the host and the lattice say of themselves: summary, inventory, claims.

use std::time::Duration;

use bytes::Bytes;
use trellis_lattice::message::command::Reply;
use trellis_lattice::message::inventory::{
    ComponentEntry, HostInventory, HostSummary, LinkBreaker, LinkTraffic, ProviderEntry,
};

use super::{Shared, encode};
use crate::capacity;
use crate::roster::{self, Snapshot};

/// The version that hosts tell, semver.
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The answer to `host.ping`.
pub(super) fn summary(shared: &Shared) -> HostSummary {
    let uptime = shared.started.elapsed();
    HostSummary {
        id: shared.context.host.clone(),
        friendly_name: shared.context.config.name.clone(),
        labels: shared.labels.now().as_ref().clone(),
        lattice: shared.context.config.lattice.clone(),
        uptime_seconds: uptime.as_secs(),
        uptime_human: Some(human(uptime)),
        version: Some(VERSION.to_owned()),
        rpc_host: None,
        ctl_host: None,
        js_domain: None,
    }
}

/// The answer to `host.get`, and what a heartbeat carries.
pub(crate) fn inventory(shared: &Shared) -> HostInventory {
    let uptime = shared.started.elapsed();
    let snapshot = shared.roster.snapshot();
    HostInventory {
        host_id: shared.context.host.clone(),
        friendly_name: shared.context.config.name.clone(),
        labels: shared.labels.now().as_ref().clone(),
        version: VERSION.to_owned(),
        uptime_human: human(uptime),
        uptime_seconds: uptime.as_secs(),
        components: components(&snapshot),
        providers: providers(&snapshot),
        broker: shared.transport.broker(),
        capacity: Some(capacity::measure(shared.context.runtime.max_instances())),
        fence: Some(shared.context.told.fence()).filter(|fence| *fence > 0),
        breakers: breakers(shared, &snapshot),
        traffic: traffic(shared, &snapshot),
        underway: shared.roster.underway().map(|ids| ids.iter().cloned().collect()),
    }
}

/// Those of links with a policy, and of links whose provider runs here and has one by default.
fn breakers(shared: &Shared, snapshot: &Snapshot) -> Vec<LinkBreaker> {
    let usual = snapshot.providers.values().flat_map(|entry| entry.running.defaults().breakers());
    shared.context.records.view().breakers().into_iter().chain(usual).collect()
}

/// As [`breakers`].
fn traffic(shared: &Shared, snapshot: &Snapshot) -> Vec<LinkTraffic> {
    let usual = snapshot.providers.values().flat_map(|entry| entry.running.defaults().traffic());
    shared.context.records.view().traffic().into_iter().chain(usual).collect()
}

fn components(snapshot: &Snapshot) -> Vec<ComponentEntry> {
    let entry = |entry: &std::sync::Arc<roster::ActorEntry>| ComponentEntry {
        id: entry.command.component_id.clone(),
        image_ref: entry.command.component_ref.clone(),
        digest: Some(entry.digest.clone()),
        name: entry.claims.as_ref().and_then(|claims| claims.name.clone()),
        annotations: entry.command.annotations.clone(),
        revision: entry.claims.as_ref().and_then(|claims| claims.revision).unwrap_or_default(),
        max_instances: entry.command.count,
        limits: entry.command.component_limits.clone(),
        readiness: entry.readiness.as_ref().map(|readiness| readiness.now()),
    };
    snapshot.actors.values().map(entry).collect()
}

fn providers(snapshot: &Snapshot) -> Vec<ProviderEntry> {
    let entry = |entry: &std::sync::Arc<roster::ProviderEntry>| ProviderEntry {
        id: entry.command.provider_id.clone(),
        image_ref: Some(entry.command.provider_ref.clone()),
        name: Some(entry.running.description().name.clone().into_owned()),
        revision: 0,
        annotations: entry.command.annotations.clone(),
        links: Some(entry.running.links()),
        unhealthy: entry.running.unhealthy(),
    };
    snapshot.providers.values().map(entry).collect()
}

/// The answer to `claims.get`.
pub(super) async fn claims(shared: &Shared) -> Result<Bytes, String> {
    let claims = shared.context.records.list_claims().await.map_err(|error| error.to_string())?;
    Ok(encode(&Reply::answer(claims)))
}

/// E.g. `2d 3h 0m 5s`, without leading zeros.
fn human(uptime: Duration) -> String {
    let seconds = uptime.as_secs();
    let parts = [(seconds / 86_400, 'd'), (seconds / 3_600 % 24, 'h'), (seconds / 60 % 60, 'm'), (seconds % 60, 's')];
    let shown = parts.iter().skip_while(|(amount, unit)| *amount == 0 && *unit != 's');
    shown.map(|(amount, unit)| format!("{amount}{unit}")).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::human;
    use std::time::Duration;

    #[test]
    fn uptime_is_told_without_leading_zeros() {
        for (seconds, text) in [(0, "0s"), (59, "59s"), (3_600, "1h 0m 0s"), (183_605, "2d 3h 0m 5s")] {
            assert_eq!(human(Duration::from_secs(seconds)), text);
        }
    }

    #[test]
    fn the_version_is_semver() {
        let parts: Vec<_> = super::VERSION.split('.').collect();
        assert!(parts.len() == 3 && parts.iter().all(|part| part.parse::<u32>().is_ok()), "{}", super::VERSION);
    }
}
