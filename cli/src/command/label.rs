//! `trellis label put|del`: labels of hosts, by which things are placed.

use anyhow::Context as _;
use clap::{Args, Subcommand};
use serde_json::json;
use trellis_lattice::message::command::HostLabel;

use crate::command::{Pair, map_of};
use crate::context::Context;

/// The arguments.
#[derive(Debug, Args)]
pub(crate) struct LabelArgs {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Set labels of a host; they outlive its restart
    Put {
        /// Its id or name
        host: String,
        /// The labels
        #[arg(value_name = "KEY=VALUE", required = true)]
        labels: Vec<Pair>,
    },
    /// Remove labels of a host; succeeds when there are none
    Del {
        /// Its id or name
        host: String,
        /// Their keys
        #[arg(value_name = "KEY", required = true)]
        keys: Vec<String>,
    },
}

pub(crate) async fn run(context: &Context, arguments: LabelArgs) -> anyhow::Result<()> {
    let lattice = context.connect().await?;
    let (name, host) = match &arguments.action {
        Action::Put { host, .. } | Action::Del { host, .. } => (host, lattice.host(host).await?),
    };
    match &arguments.action {
        Action::Put { labels, .. } => {
            for (key, value) in map_of(labels)? {
                let label = HostLabel { key, value };
                let put = lattice.client.put_label(&host, &label).await;
                put.with_context(|| format!("set label {} of host {name}", label.key))?;
            }
        }
        Action::Del { keys, .. } => {
            for key in keys {
                let deleted = lattice.client.delete_label(&host, key).await;
                deleted.with_context(|| format!("remove label {key} of host {name}"))?;
            }
        }
    }
    let labels = lattice.client.inventory(&host).await?.labels;
    let value = json!({"host": host.as_str(), "labels": labels});
    context.output.result(&value, format!("host {name} has {}", crate::output::pairs(&labels)))
}
