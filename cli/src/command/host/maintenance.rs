//! `trellis host cordon|uncordon|drain`: taking a host out of use, and back.

use anyhow::{Context as _, bail};
use clap::Subcommand;
use serde_json::json;
use trellis_lattice::id::HostId;
use trellis_lattice::message::command::{ComponentAuction, HostLabel, ScaleComponent, StringMap};
use trellis_lattice::message::inventory::{ComponentEntry, HostInventory};
use trellis_lattice::message::pin;

use crate::command::scale;
use crate::context::{Connected, Context};

/// The label of a host that nothing new is placed on; its value is the reason.
const CORDONED: &str = "trellis.dev/cordoned";

/// What to do with a host that runs.
#[derive(Debug, Subcommand)]
pub(crate) enum Action {
    /// Place nothing new on a host; what runs there goes on
    Cordon {
        /// Its id or name
        host: String,
        /// Why, for people
        #[arg(long, default_value = "cordoned by hand")]
        reason: String,
    },
    /// Let things be placed on a host again
    Uncordon {
        /// Its id or name
        host: String,
    },
    /// Cordon a host and move its actors to others: each is started there before it is stopped here
    Drain {
        /// Its id or name
        host: String,
        /// Why, for people
        #[arg(long, default_value = "drained by hand")]
        reason: String,
    },
}

pub(super) async fn run(context: &Context, action: Action) -> anyhow::Result<()> {
    let lattice = context.connect().await?;
    match action {
        Action::Cordon { host, reason } => {
            let id = cordon(&lattice, &host, reason).await?;
            let value = json!({"host": id.as_str(), "cordoned": true});
            context.output.result(&value, format!("host {host} is cordoned: nothing new is placed on it"))
        }
        Action::Uncordon { host } => {
            let id = lattice.host(&host).await?;
            let deleted = lattice.client.delete_label(&id, CORDONED).await;
            deleted.with_context(|| format!("uncordon host {host}"))?;
            context.output.result(&json!({"host": id.as_str(), "cordoned": false}), format!("host {host} is in use"))
        }
        Action::Drain { host, reason } => drain(context, &lattice, (host, reason)).await,
    }
}

async fn cordon(lattice: &Connected, host: &str, reason: String) -> anyhow::Result<HostId> {
    let id = lattice.host(host).await?;
    let label = HostLabel { key: CORDONED.to_owned(), value: reason };
    lattice.client.put_label(&id, &label).await.with_context(|| format!("cordon host {host}"))?;
    Ok(id)
}

async fn drain(context: &Context, lattice: &Connected, (host, reason): (String, String)) -> anyhow::Result<()> {
    let id = cordon(lattice, &host, reason).await?;
    let own = lattice.client.inventory(&id).await?;
    let (mut moved, mut kept) = (Vec::new(), Vec::new());
    for actor in &own.components {
        let work = relocate(lattice, &id, actor);
        match context.output.waiting(format!("moving actor {}", actor.id), work).await {
            Ok(to) => moved.push(json!({"actor": actor.id.as_str(), "to": to})),
            Err(error) => kept.push(format!("actor {}: {}", actor.id, crate::output::describe(&error))),
        }
    }
    let others = lattice.inventories().await?;
    for provider in &own.providers {
        let is_elsewhere = is_elsewhere(&others, &id, |other| other.providers.iter().any(|it| it.id == provider.id));
        if is_elsewhere {
            lattice.client.stop_provider(&id, &provider.id).await.context("stop a provider that runs elsewhere too")?;
        } else {
            kept.push(format!(
                "provider {}: it runs only here, and may hold state or a port of this machine",
                provider.id
            ));
        }
    }
    let text = format!("host {host} is cordoned; {} actors moved, {} things stay", moved.len(), kept.len());
    context.output.result(&json!({"host": id.as_str(), "moved": moved, "kept": kept}), text)?;
    if kept.is_empty() { Ok(()) } else { bail!("host {host} is not empty: {}", kept.join("; ")) }
}

/// Stops the actor on `from` once it runs on another host, which is named.
async fn relocate(lattice: &Connected, from: &HostId, actor: &ComponentEntry) -> anyhow::Result<String> {
    let all = lattice.inventories().await?;
    let runs = |host: &&HostInventory| host.components.iter().any(|it| it.id == actor.id);
    let there = all.iter().filter(|host| host.host_id != *from && is_in_use(host)).find(runs);
    let to = match there {
        Some(host) => host.friendly_name.clone(),
        None => start_elsewhere(lattice, &all, (from, actor)).await?,
    };
    lattice.client.scale(&order(from, actor, 0)?).await.context("stop it here")?;
    Ok(to)
}

async fn start_elsewhere(
    lattice: &Connected,
    all: &[HostInventory],
    (from, actor): (&HostId, &ComponentEntry),
) -> anyhow::Result<String> {
    let auction = ComponentAuction {
        component_ref: actor.image_ref.clone(),
        component_id: actor.id.clone(),
        constraints: StringMap::new(),
    };
    let bids = lattice.client.auction_component(&auction).await?;
    let fits = |host: &&HostInventory| {
        host.host_id != *from && is_in_use(host) && bids.iter().any(|bid| bid.host_id == host.host_id)
    };
    // The one with the least to do.
    let target = all.iter().filter(fits).min_by_key(|host| host.components.len());
    let Some(target) = target else { bail!("no other host that is in use would take it") };
    let started = lattice.client.scale(&order(&target.host_id, actor, actor.max_instances)?).await;
    started.with_context(|| format!("start it on host {}", target.friendly_name))?;
    Ok(target.friendly_name.clone())
}

fn order(host: &HostId, actor: &ComponentEntry, count: u32) -> anyhow::Result<ScaleComponent> {
    // What moves is what runs, whatever a tag means by now.
    let pin = actor.digest.iter().filter(|_| count > 0).map(|digest| pin::annotation(&actor.image_ref, digest));
    let annotations: StringMap = actor.annotations.clone().into_iter().flatten().chain(pin).collect();
    Ok(ScaleComponent {
        component_ref: actor.image_ref.clone(),
        component_id: actor.id.clone(),
        count,
        host_id: host.clone(),
        config: scale::configs(actor)?,
        allow_update: false,
        annotations: (!annotations.is_empty()).then_some(annotations),
        component_limits: actor.limits.clone(),
    })
}

fn is_in_use(host: &HostInventory) -> bool {
    !host.labels.contains_key(CORDONED)
}

fn is_elsewhere(all: &[HostInventory], from: &HostId, runs: impl Fn(&HostInventory) -> bool) -> bool {
    all.iter().any(|host| host.host_id != *from && is_in_use(host) && runs(host))
}
