//! `trellis policy put|get|del`: how calls over links behave, under a name that any number of links may share.

use anyhow::bail;
use clap::{Args, Subcommand};
use serde_json::json;
use trellis_lattice::control::Client;
use trellis_lattice::id::{ConfigName, PolicyName};
use trellis_lattice::message::link::Link;
use trellis_lattice::policy::{KEYS, Policy, config_name};

use crate::command::{Pair, map_of};
use crate::context::Context;

/// The arguments.
#[derive(Debug, Args)]
pub(crate) struct PolicyArgs {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Write a policy in place of the one of that name; links that name it follow at once
    Put(Put),
    /// Show a policy, and the links that name it
    Get {
        /// Its name
        name: PolicyName,
    },
    /// Delete a policy that no link names; succeeds when there is none
    Del {
        /// Its name
        name: PolicyName,
    },
}

#[derive(Debug, Args)]
struct Put {
    /// Its name
    name: PolicyName,
    /// What it says: timeout, retries, retry_on, breaker_failures, breaker_pause, breaker_on, concurrency,
    /// concurrency_wait
    #[arg(value_name = "KEY=VALUE", required = true)]
    pairs: Vec<Pair>,
}

pub(crate) async fn run(context: &Context, arguments: PolicyArgs) -> anyhow::Result<()> {
    match arguments.action {
        Action::Put(put) => self::put(context, &put).await,
        Action::Get { name } => get(context, &name).await,
        Action::Del { name } => delete(context, &name).await,
    }
}

async fn put(context: &Context, put: &Put) -> anyhow::Result<()> {
    let (name, content) = (&put.name, map_of(&put.pairs)?);
    if let Err(problems) = Policy::parse(&content) {
        let problems: Vec<String> = problems.0.iter().map(|problem| format!("\n  {problem}")).collect();
        bail!("policy {name} cannot be put:{}", problems.concat());
    }
    context.connect().await?.client.put_config(&config_name(name)?, &content).await?;
    context.output.result(&json!({"policy": name.as_str(), "put": content}), format!("policy {name} is put"))
}

async fn get(context: &Context, name: &PolicyName) -> anyhow::Result<()> {
    let lattice = context.connect().await?;
    let config = config_name(name)?;
    let Some(content) = lattice.client.config(&config).await? else {
        let (lattice, keys) = (&lattice.lattice, KEYS.join(", "));
        bail!("lattice {lattice} has no policy {name}; `trellis policy put {name} key=value` writes it (keys: {keys})");
    };
    let links = users(&lattice.client, &config).await?;
    let links: Vec<String> = links.iter().map(described).collect();
    let mut rows: Vec<[String; 2]> = content.iter().map(|(key, value)| [key.clone(), value.clone()]).collect();
    rows.extend(links.iter().map(|link| ["(link)".to_owned(), link.clone()]));
    let shown = json!({"policy": name.as_str(), "says": content, "links": links});
    context.output.list(&shown, ["key", "value"], rows)
}

async fn delete(context: &Context, name: &PolicyName) -> anyhow::Result<()> {
    let lattice = context.connect().await?;
    let config = config_name(name)?;
    let links = users(&lattice.client, &config).await?;
    if let Some(first) = links.first() {
        let (count, first) = (links.len(), described(first));
        bail!("policy {name} is named by {count} links, e.g. {first}: put them without it first");
    }
    lattice.client.delete_config(&config).await?;
    context.output.result(&json!({"policy": name.as_str(), "deleted": true}), format!("policy {name} is deleted"))
}

/// The links that name the policy which is kept in `config`.
async fn users(client: &Client, config: &ConfigName) -> anyhow::Result<Vec<Link>> {
    let mut links = client.links().await?;
    links.retain(|link| link.source_config.contains(config));
    Ok(links)
}

fn described(link: &Link) -> String {
    let Link { source_id, target, name, wit_namespace, wit_package, .. } = link;
    format!("{name} of {source_id} to {target} ({wit_namespace}:{wit_package})")
}
