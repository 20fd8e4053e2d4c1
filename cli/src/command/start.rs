//! `trellis start actor|provider`: chooses a host, commands it, and waits for what comes of it.

use anyhow::{Context as _, bail};
use clap::{Args, Subcommand};
use serde_json::json;
use trellis_lattice::id::{ConfigName, EntityId, HostId, SecretName};
use trellis_lattice::message::command::{ComponentAuction, ProviderAuction, ScaleComponent, StartProvider, StringMap};

use crate::command::{CONFIG_ANNOTATION, Pair, absolute_reference, configs, map_of};
use crate::context::{Connected, Context};

/// The arguments.
#[derive(Debug, Args)]
pub(crate) struct Start {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Start an actor
    #[command(alias = "component")]
    Actor(Actor),
    /// Start a provider
    Provider(Provider),
}

#[derive(Debug, Args)]
struct Actor {
    /// Its id in the lattice
    id: EntityId,
    /// Its component: a path, or `file://…`
    reference: String,
    /// The most instances that may run at once
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..))]
    max: u32,
    /// Replace the component that runs under this id
    #[arg(long)]
    update: bool,
    #[command(flatten)]
    place: Place,
}

#[derive(Debug, Args)]
struct Provider {
    /// Its id in the lattice
    id: EntityId,
    /// What it is: `builtin:keyvalue`, `process:keyvalue` for the same as a process of its own, an archive
    /// (a path, or an artifact in a registry), or an executable that the host allows by name
    reference: String,
    /// Let it take the place of one with that id that runs as a process, without a lost call
    #[arg(long)]
    update: bool,
    #[command(flatten)]
    place: Place,
}

/// Where, and with what.
#[derive(Debug, Args)]
struct Place {
    /// Configs; later ones win
    #[arg(long, value_name = "CONFIG")]
    config: Vec<ConfigName>,
    /// A secret that it reads by this name (`trellis secret put`); may be repeated
    #[arg(long, value_name = "SECRET")]
    secret: Vec<SecretName>,
    /// The id or name of the host [default: the one with least on it]
    #[arg(long)]
    host: Option<String>,
    /// A label that the host must have
    #[arg(long, value_name = "KEY=VALUE", conflicts_with = "host")]
    label: Vec<Pair>,
    /// An annotation, echoed in events and inventories
    #[arg(long, value_name = "KEY=VALUE")]
    annotation: Vec<Pair>,
}

impl Place {
    /// Configs, and the references to secrets among them.
    fn configs(&self) -> anyhow::Result<Vec<ConfigName>> {
        configs(&self.config, &self.secret)
    }

    fn annotations(&self) -> anyhow::Result<Option<StringMap>> {
        let mut annotations = map_of(&self.annotation)?;
        let configs = self.configs()?;
        if !configs.is_empty() {
            let names: Vec<&str> = configs.iter().map(ConfigName::as_str).collect();
            annotations.insert(CONFIG_ANNOTATION.to_owned(), names.join(","));
        }
        Ok((!annotations.is_empty()).then_some(annotations))
    }
}

pub(crate) async fn run(context: &Context, arguments: Start) -> anyhow::Result<()> {
    let lattice = context.connect().await?;
    match arguments.what {
        What::Actor(actor) => start_actor(context, &lattice, actor).await,
        What::Provider(provider) => start_provider(context, &lattice, provider).await,
    }
}

async fn start_actor(context: &Context, lattice: &Connected, actor: Actor) -> anyhow::Result<()> {
    let Actor { id, reference, max, update, place } = actor;
    let reference = absolute_reference(&reference);
    let attempt = || format!("start actor {id} from {reference}");
    let annotations = place.annotations()?;
    let host = match &place.host {
        Some(name) => lattice.host(name).await.with_context(attempt)?,
        None => {
            let constraints = map_of(&place.label)?;
            let auction = ComponentAuction { component_ref: reference.clone(), component_id: id.clone(), constraints };
            let bids =
                context.output.waiting("looking for a host".to_owned(), lattice.client.auction_component(&auction));
            let bids: Vec<HostId> = bids.await?.into_iter().map(|bid| bid.host_id).collect();
            choose(lattice, bids, &auction.constraints).await.with_context(attempt)?
        }
    };
    let scale = ScaleComponent {
        component_ref: reference.clone(),
        component_id: id.clone(),
        count: max,
        host_id: host.clone(),
        config: place.configs()?,
        allow_update: update,
        annotations,
        component_limits: None,
    };
    let work = lattice.client.scale(&scale);
    context.output.waiting(format!("starting actor {id}"), work).await.with_context(attempt)?;
    let started = json!({"actor": id.as_str(), "host": host.as_str(), "reference": reference, "max": max});
    context.output.result(&started, format!("actor {id} runs on host {host}"))
}

async fn start_provider(context: &Context, lattice: &Connected, provider: Provider) -> anyhow::Result<()> {
    let Provider { id, reference, update, place } = provider;
    let reference = absolute_reference(&reference);
    let attempt = || format!("start provider {id} from {reference}");
    let annotations = place.annotations()?;
    let host = match &place.host {
        Some(name) => lattice.host(name).await.with_context(attempt)?,
        None if update => host_of(lattice, &id).await.with_context(attempt)?,
        None => {
            let constraints = map_of(&place.label)?;
            let auction = ProviderAuction { provider_ref: reference.clone(), provider_id: id.clone(), constraints };
            let bids =
                context.output.waiting("looking for a host".to_owned(), lattice.client.auction_provider(&auction));
            let bids: Vec<HostId> = bids.await?.into_iter().map(|bid| bid.host_id).collect();
            choose(lattice, bids, &auction.constraints).await.with_context(attempt)?
        }
    };
    let start = StartProvider {
        provider_id: id.clone(),
        provider_ref: reference.clone(),
        host_id: host.clone(),
        config: place.configs()?,
        allow_update: update,
        annotations,
    };
    let work = lattice.client.start_provider(&start);
    context.output.waiting(format!("starting provider {id}"), work).await.with_context(attempt)?;
    let started = json!({"provider": id.as_str(), "host": host.as_str(), "reference": reference});
    context.output.result(&started, format!("provider {id} runs on host {host}"))
}

/// The host that runs the provider.
async fn host_of(lattice: &Connected, id: &EntityId) -> anyhow::Result<HostId> {
    let inventories = lattice.inventories().await?;
    let mut hosts = inventories.into_iter().filter(|host| host.providers.iter().any(|provider| provider.id == *id));
    match (hosts.next(), hosts.next()) {
        (Some(host), None) => Ok(host.host_id),
        (None, _) => bail!("no host runs a provider {id}; start it without --update"),
        (Some(_), Some(_)) => bail!("several hosts run a provider {id}; name one with --host"),
    }
}

/// The bidder with least on it.
async fn choose(lattice: &Connected, bids: Vec<HostId>, labels: &StringMap) -> anyhow::Result<HostId> {
    match &bids[..] {
        [host] => return Ok(host.clone()),
        [] => bail!(nobody(lattice, labels)),
        _ => {}
    }
    let mut loads = Vec::new();
    for inventory in lattice.inventories().await? {
        if bids.contains(&inventory.host_id) {
            loads.push((inventory.components.len() + inventory.providers.len(), inventory.host_id));
        }
    }
    loads.into_iter().min().map(|(_, host)| host).with_context(|| nobody(lattice, labels))
}

fn nobody(lattice: &Connected, labels: &StringMap) -> String {
    let labelled =
        if labels.is_empty() { String::new() } else { format!(" with labels {}", crate::output::pairs(labels)) };
    format!(
        "no host of lattice {}{labelled} would take it: those that answer run it already, or there is none \
         (`trellis get hosts`, `trellis get inventory`)",
        lattice.lattice
    )
}
