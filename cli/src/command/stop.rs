//! `trellis stop actor|provider|host`.

use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::{Args, Subcommand};
use serde_json::json;
use trellis_lattice::id::{EntityId, HostId};

use crate::command::scale;
use crate::context::{Connected, Context};

/// The arguments.
#[derive(Debug, Args)]
pub(crate) struct Stop {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Stop an actor
    #[command(alias = "component")]
    Actor {
        /// Its id
        id: EntityId,
        /// Only on this host: its id or name
        #[arg(long)]
        host: Option<String>,
    },
    /// Stop a provider
    Provider {
        /// Its id
        id: EntityId,
        /// Only on this host: its id or name
        #[arg(long)]
        host: Option<String>,
    },
    /// Stop a host
    Host {
        /// Its id or name
        host: String,
        /// How long calls in flight are waited for, in milliseconds
        #[arg(long, default_value_t = 10_000, value_name = "MS")]
        drain_ms: u64,
    },
}

pub(crate) async fn run(context: &Context, arguments: Stop) -> anyhow::Result<()> {
    let lattice = context.connect().await?;
    match arguments.what {
        What::Actor { id, host } => {
            let hosts = scale::on_hosts(context, &lattice, (&id, 0), host.as_deref()).await?;
            let stopped = json!({"actor": id.as_str(), "stopped": hosts});
            context.output.result(&stopped, format!("actor {id} is stopped on {}", list(&hosts)))
        }
        What::Provider { id, host } => {
            let hosts = hosts_of_provider(&lattice, &id, host.as_deref()).await?;
            for host in &hosts {
                let work = lattice.client.stop_provider(host, &id);
                context
                    .output
                    .waiting(format!("stopping provider {id}"), work)
                    .await
                    .with_context(|| format!("stop provider {id}"))?;
            }
            let hosts: Vec<String> = hosts.iter().map(ToString::to_string).collect();
            let stopped = json!({"provider": id.as_str(), "stopped": hosts});
            context.output.result(&stopped, format!("provider {id} is stopped on {}", list(&hosts)))
        }
        What::Host { host, drain_ms } => {
            let host = lattice.host(&host).await?;
            let work = lattice.client.stop_host(&host, Duration::from_millis(drain_ms));
            context
                .output
                .waiting(format!("stopping host {host}"), work)
                .await
                .with_context(|| format!("stop host {host}"))?;
            context.output.result(&json!({"host": host.as_str(), "stopped": true}), format!("host {host} is stopped"))
        }
    }
}

fn list(hosts: &[String]) -> String {
    let noun = if hosts.len() == 1 { "host" } else { "hosts" };
    format!("{noun} {}", hosts.join(", "))
}

async fn hosts_of_provider(lattice: &Connected, id: &EntityId, host: Option<&str>) -> anyhow::Result<Vec<HostId>> {
    if let Some(host) = host {
        return Ok(vec![lattice.host(host).await?]);
    }
    let inventories = lattice.inventories().await?;
    let runs = inventories.into_iter().filter(|host| host.providers.iter().any(|entry| entry.id == *id));
    let hosts: Vec<HostId> = runs.map(|host| host.host_id).collect();
    if hosts.is_empty() {
        bail!("no host of lattice {} runs a provider {id} (`trellis get inventory`)", lattice.lattice);
    }
    Ok(hosts)
}
