//! `trellis get hosts|inventory|links|claims`.

use std::time::Duration;

use clap::{Args, Subcommand};
use tokio::time::MissedTickBehavior;
use trellis_lattice::id::EntityId;
use trellis_lattice::message::command::StringMap;
use trellis_lattice::message::inventory::{
    HostInventory, HostSummary, LinkState, ProviderEntry, ProviderLink, Readiness, ReadinessState,
};

use crate::command::link;
use crate::context::Context;
use crate::output::pairs;

/// The arguments.
#[derive(Debug, Args)]
pub(crate) struct Get {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// The hosts of the lattice
    #[command(alias = "host")]
    Hosts {
        /// Show them again whenever something changes, until it is ended
        #[arg(long)]
        watch: bool,
    },
    /// What hosts run
    #[command(alias = "inventories")]
    Inventory {
        /// The id or name of a host [default: all]
        host: Option<String>,
    },
    /// The links
    #[command(alias = "link")]
    Links {
        /// Only those of this source or target
        entity: Option<EntityId>,
    },
    /// The claims of what was started
    Claims,
}

pub(crate) async fn run(context: &Context, arguments: Get) -> anyhow::Result<()> {
    match arguments.what {
        What::Hosts { watch: false } => hosts(context).await,
        What::Hosts { watch: true } => watch_hosts(context).await,
        What::Inventory { host } => inventory(context, host.as_deref()).await,
        What::Links { entity } => link::get(context, entity.as_ref()).await,
        What::Claims => claims(context).await,
    }
}

async fn hosts(context: &Context) -> anyhow::Result<()> {
    let lattice = context.connect().await?;
    let hosts = context.output.waiting("asking the hosts".to_owned(), lattice.client.hosts()).await?;
    let row = |host: &HostSummary| {
        [
            host.friendly_name.clone(),
            host.id.to_string(),
            uptime(host.uptime_seconds),
            host.version.clone().unwrap_or_default(),
            pairs(&host.labels),
        ]
    };
    context.output.list(&hosts, ["name", "id", "uptime", "version", "labels"], hosts.iter().map(row))
}

/// How often the hosts are asked while they are watched.
const WATCH_EVERY: Duration = Duration::from_secs(1);

/// Hosts with how much they run; one that no longer answers is no longer shown.
async fn watch_hosts(context: &Context) -> anyhow::Result<()> {
    let lattice = context.connect().await?;
    let mut ticks = tokio::time::interval(WATCH_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut shown: Option<Vec<[String; 6]>> = None;
    loop {
        ticks.tick().await;
        let mut hosts = Vec::new();
        for host in lattice.client.hosts().await? {
            // One that goes away between the two questions is shown the next time, or not.
            hosts.extend(lattice.client.inventory(&host.id).await.ok());
        }
        let rows: Vec<_> = hosts.iter().map(watched).collect();
        if shown.as_ref() != Some(&rows) {
            context.output.again(&hosts, ["name", "id", "state", "actors", "providers", "labels"], rows.clone())?;
            shown = Some(rows);
        }
    }
}

fn watched(host: &HostInventory) -> [String; 6] {
    let cordoned = host.labels.get("trellis.dev/cordoned").map(|reason| format!("cordoned ({reason})"));
    [
        host.friendly_name.clone(),
        host.host_id.to_string(),
        cordoned.unwrap_or_else(|| "in use".to_owned()),
        host.components.len().to_string(),
        host.providers.len().to_string(),
        pairs(&host.labels),
    ]
}

async fn inventory(context: &Context, host: Option<&str>) -> anyhow::Result<()> {
    let lattice = context.connect().await?;
    let inventories = match host {
        Some(name) => vec![lattice.client.inventory(&lattice.host(name).await?).await?],
        None => context.output.waiting("asking the hosts".to_owned(), lattice.inventories()).await?,
    };
    let rows: Vec<_> = inventories.iter().flat_map(rows).collect();
    context.output.list(&inventories, ["host", "kind", "id", "max", "from", "state", "annotations"], rows)
}

fn rows(host: &HostInventory) -> Vec<[String; 7]> {
    let annotated = |annotations: &Option<StringMap>| annotations.as_ref().map(pairs).unwrap_or_default();
    let actors = host.components.iter().map(|actor| {
        let (id, max) = (actor.id.to_string(), actor.max_instances.to_string());
        [
            host.friendly_name.clone(),
            "actor".to_owned(),
            id,
            max,
            actor.image_ref.clone(),
            actor.readiness.as_ref().map(readiness).unwrap_or_default(),
            annotated(&actor.annotations),
        ]
    });
    let providers = host.providers.iter().map(|provider| {
        let from = provider.image_ref.clone().unwrap_or_default();
        let (id, annotations) = (provider.id.to_string(), annotated(&provider.annotations));
        [host.friendly_name.clone(), "provider".to_owned(), id, String::new(), from, state(provider), annotations]
    });
    actors.chain(providers).collect()
}

/// `ready`, or why not.
fn readiness(readiness: &Readiness) -> String {
    match (readiness.state, &readiness.reason) {
        (ReadinessState::Ready, _) => "ready".to_owned(),
        (_, Some(reason)) => reason.clone(),
        (_, None) => "not ready".to_owned(),
    }
}

/// Why it is ill, if it is, and how its links stand.
fn state(provider: &ProviderEntry) -> String {
    let ill = provider.unhealthy.iter().map(|reason| format!("unhealthy: {reason}"));
    let links = provider.links.as_deref().map(standing).filter(|text| !text.is_empty());
    ill.chain(links).collect::<Vec<_>>().join("; ")
}

/// E.g. `2 up, 1 failed: http -> web: 127.0.0.1:80 is in use`.
fn standing(links: &[ProviderLink]) -> String {
    let states = [(LinkState::Up, "up"), (LinkState::Pending, "pending"), (LinkState::Failed, "failed")];
    let counts = states.map(|(state, word)| (links.iter().filter(|link| link.state == state).count(), word));
    let counts = counts.into_iter().filter(|(count, _)| *count > 0).map(|(count, word)| format!("{count} {word}"));
    let text = counts.collect::<Vec<_>>().join(", ");
    match links.iter().find_map(|link| Some((link, link.reason.as_ref()?))) {
        Some((link, reason)) => format!("{text}: {} -> {}: {reason}", link.source_id, link.target),
        None => text,
    }
}

async fn claims(context: &Context) -> anyhow::Result<()> {
    let claims = context.connect().await?.client.claims().await?;
    let row = |claims: &StringMap| {
        ["name", "subject", "issuer", "revision", "version"]
            .map(|member| claims.get(member).cloned().unwrap_or_default())
    };
    context.output.list(&claims, ["name", "subject", "issuer", "revision", "version"], claims.iter().map(row))
}

fn uptime(seconds: u64) -> String {
    let (minutes, hours, days) = (seconds / 60, seconds / 3_600, seconds / 86_400);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, _) => format!("{minutes} min"),
        (0, ..) => format!("{hours} h {} min", minutes % 60),
        _ => format!("{days} d {} h", hours % 24),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn an_uptime_is_short() {
        for (seconds, text) in [(5, "5 s"), (61, "1 min"), (7_260, "2 h 1 min"), (90_000, "1 d 1 h")] {
            assert_eq!(super::uptime(seconds), text);
        }
    }
}
