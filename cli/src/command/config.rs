//! `trellis config put|get|del`: flat maps of strings that actors, providers and links name.

use std::path::PathBuf;

use anyhow::{Context as _, bail};
use clap::{Args, Subcommand};
use serde_json::json;
use trellis_lattice::id::ConfigName;
use trellis_lattice::message::command::StringMap;

use crate::command::{Pair, map_of};
use crate::context::Context;

/// The arguments.
#[derive(Debug, Args)]
pub(crate) struct ConfigArgs {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Write a config in place of the one of that name
    Put(Put),
    /// Show a config
    Get {
        /// Its name
        name: ConfigName,
    },
    /// Delete a config; succeeds when there is none
    Del {
        /// Its name
        name: ConfigName,
    },
}

#[derive(Debug, Args)]
struct Put {
    /// Its name
    name: ConfigName,
    /// What it holds
    #[arg(value_name = "KEY=VALUE")]
    pairs: Vec<Pair>,
    /// A JSON file with an object of strings; pairs are added and win
    #[arg(long, value_name = "FILE")]
    from: Option<PathBuf>,
}

impl Put {
    fn content(&self) -> anyhow::Result<StringMap> {
        let mut content = StringMap::new();
        if let Some(file) = &self.from {
            let text = std::fs::read(file).with_context(|| format!("read {}", file.display()))?;
            content = serde_json::from_slice(&text).with_context(|| {
                format!("{} is not a JSON object of strings, e.g. {{\"key\": \"value\"}}", file.display())
            })?;
        }
        content.extend(map_of(&self.pairs)?);
        if content.is_empty() && self.from.is_none() {
            bail!("config {} would be empty: give key=value, or --from a file", self.name);
        }
        Ok(content)
    }
}

pub(crate) async fn run(context: &Context, arguments: ConfigArgs) -> anyhow::Result<()> {
    match arguments.action {
        Action::Put(put) => {
            let content = put.content()?;
            let lattice = context.connect().await?;
            lattice.client.put_config(&put.name, &content).await?;
            context
                .output
                .result(&json!({"config": put.name.as_str(), "put": content}), format!("config {} is put", put.name))
        }
        Action::Get { name } => {
            let lattice = context.connect().await?;
            let Some(config) = lattice.client.config(&name).await? else {
                bail!(
                    "lattice {} has no config {name}; `trellis config put {name} key=value` writes it",
                    lattice.lattice
                );
            };
            let rows: Vec<[String; 2]> = config.iter().map(|(key, value)| [key.clone(), value.clone()]).collect();
            context.output.list(&config, ["key", "value"], rows)
        }
        Action::Del { name } => {
            let lattice = context.connect().await?;
            lattice.client.delete_config(&name).await?;
            context
                .output
                .result(&json!({"config": name.as_str(), "deleted": true}), format!("config {name} is deleted"))
        }
    }
}
