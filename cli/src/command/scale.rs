//! `trellis scale`: how many instances of an actor may run at once, where it runs already.

use anyhow::{Context as _, bail};
use clap::Args;
use serde_json::json;
use trellis_lattice::id::{ConfigName, EntityId};
use trellis_lattice::message::command::ScaleComponent;
use trellis_lattice::message::inventory::ComponentEntry;

use crate::command::CONFIG_ANNOTATION;
use crate::context::{Connected, Context};

/// The arguments.
#[derive(Debug, Args)]
pub(crate) struct Scale {
    /// The actor's id
    id: EntityId,
    /// The most instances that may run at once on each host; 0 stops it
    max: u32,
    /// Only on this host: its id or name
    #[arg(long)]
    host: Option<String>,
}

pub(crate) async fn run(context: &Context, arguments: Scale) -> anyhow::Result<()> {
    let Scale { id, max, host } = arguments;
    let lattice = context.connect().await?;
    let hosts = on_hosts(context, &lattice, (&id, max), host.as_deref()).await?;
    let scaled = json!({"actor": id.as_str(), "max": max, "hosts": hosts});
    context.output.result(&scaled, format!("actor {id} may have {max} instances on {}", hosts.join(", ")))
}

/// The configs that `trellis start` gave it.
pub(crate) fn configs(entry: &ComponentEntry) -> anyhow::Result<Vec<ConfigName>> {
    let names = entry.annotations.as_ref().and_then(|annotations| annotations.get(CONFIG_ANNOTATION));
    let names = names.map(String::as_str).unwrap_or_default().split(',').filter(|name| !name.is_empty());
    names.map(|name| Ok(ConfigName::parse(name)?)).collect()
}

/// Scales an actor on the hosts that run it, or on one of them; returns their ids.
pub(crate) async fn on_hosts(
    context: &Context,
    lattice: &Connected,
    (id, max): (&EntityId, u32),
    only: Option<&str>,
) -> anyhow::Result<Vec<String>> {
    let only = match only {
        Some(name) => Some(lattice.host(name).await?),
        None => None,
    };
    let mut running = lattice.hosts_of_actor(id).await?;
    running.retain(|(host, _)| only.as_ref().is_none_or(|only| host.host_id == *only));
    if running.is_empty() {
        let place = only.map_or_else(
            || format!("no host of lattice {} runs", lattice.lattice),
            |host| format!("host {host} does not run"),
        );
        bail!("{place} an actor {id} (`trellis get inventory`)");
    }
    let mut hosts = Vec::new();
    for (host, reference) in running {
        let entry = host.components.iter().find(|entry| entry.id == *id);
        let scale = ScaleComponent {
            component_ref: reference,
            component_id: id.clone(),
            count: max,
            host_id: host.host_id.clone(),
            config: entry.map(configs).transpose()?.unwrap_or_default(),
            allow_update: false,
            annotations: entry.and_then(|entry| entry.annotations.clone()),
            component_limits: entry.and_then(|entry| entry.limits.clone()),
        };
        let work = lattice.client.scale(&scale);
        let name = &host.friendly_name;
        context
            .output
            .waiting(format!("scaling actor {id} on {name}"), work)
            .await
            .with_context(|| format!("scale actor {id}"))?;
        hosts.push(host.host_id.to_string());
    }
    Ok(hosts)
}
