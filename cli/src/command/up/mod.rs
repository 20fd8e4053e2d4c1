//! `trellis up`: a whole lattice in this process: bus, store, hosts, built-in providers; and a component served at once.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::bail;
use clap::Args;
use serde_json::json;
use trellis_lattice::id::EntityId;
use trellis_lattice::message::command::StringMap;
use trellis_wadm::api::Client;

use crate::command::app::file as manifest;
use crate::command::app::wait::until_it_stands;
use crate::command::app::{accepted, request};
use crate::command::{Pair, map_of};
use crate::context::Context;
use crate::deployer::{Deployer, Lattice};
use crate::native::NativeArgs;
use crate::output::say;
use crate::serve::Signals;

mod app;
mod embedded;

use self::app::App;
use self::embedded::Embedded;

/// How long the wadm of this process may take to answer.
const API_PATIENCE: Duration = Duration::from_secs(10);

/// How long an application that is deployed at the start is waited for.
const DEPLOY_PATIENCE: Duration = Duration::from_secs(60);

/// The arguments.
#[derive(Debug, Args)]
pub(crate) struct Up {
    /// A component to serve over HTTP at once; it may be unsigned
    app: Option<PathBuf>,
    /// An application to deploy, or a folder of them; may be repeated
    #[arg(long = "file", short, value_name = "FILE|DIR")]
    files: Vec<PathBuf>,
    /// A component that may run unsigned: a file, or the hex SHA-256 of one
    #[arg(long, value_name = "FILE|DIGEST")]
    allow_unsigned: Vec<String>,
    /// Where the component is served
    #[arg(long, default_value = "127.0.0.1:8080", env = "TRELLIS_HTTP", value_name = "ADDRESS")]
    http: SocketAddr,
    /// A host, with labels; may be repeated [default: one host called local]
    #[arg(long = "host", value_name = "NAME[:LABEL=VALUE,…]")]
    hosts: Vec<HostSpec>,
    /// Where NATS clients reach the bus, on loopback; port 0 takes a free one [default: the port of the last time, or a
    /// free one]
    #[arg(long, value_name = "ADDRESS")]
    gateway: Option<SocketAddr>,
    /// Start what the hosts ran when they last ended
    #[arg(long)]
    resume: bool,
    /// How long calls in flight are waited for at the end, in milliseconds
    #[arg(long, default_value_t = 10_000, value_name = "MS")]
    drain_ms: u64,
    #[command(flatten)]
    native: NativeArgs,
}

/// A host of an embedded lattice.
#[derive(Debug, Clone, PartialEq, Eq)]
struct HostSpec {
    name: String,
    labels: StringMap,
}

impl std::str::FromStr for HostSpec {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        let (name, labels) = text.split_once(':').unwrap_or((text, ""));
        let name = EntityId::parse(name).map_err(|error| anyhow::anyhow!("host name: {error}"))?.to_string();
        let pairs: Vec<Pair> =
            labels.split(',').filter(|pair| !pair.is_empty()).map(str::parse).collect::<anyhow::Result<_>>()?;
        Ok(Self { name, labels: map_of(&pairs)? })
    }
}

pub(crate) async fn run(context: &Context, mut arguments: Up) -> anyhow::Result<()> {
    let mut signals = Signals::listen()?;
    if arguments.hosts.is_empty() {
        arguments.hosts.push(HostSpec { name: "local".to_owned(), labels: StringMap::new() });
    }
    for (at, host) in arguments.hosts.iter().enumerate() {
        if arguments.hosts[..at].iter().any(|other| other.name == host.name) {
            bail!("two hosts are called {}; give each a name of its own", host.name);
        }
    }
    let app = match &arguments.app {
        Some(file) => Some(App::read(file, arguments.http).await?),
        None => None,
    };
    let manifests = manifest::read_all(&arguments.files)?;
    let lock = context.data.lock_lattice()?;
    let embedded = signals.unless_ended(embedded::start(context, &arguments, app.as_ref())).await?;
    let Embedded { lattice, hosts, gateway, client, wadm } = embedded;
    say(format_args!("lattice {lattice} is up: bus nats://{}, data {}", gateway.addr(), context.data.path().display()));
    let mut deployer = None;
    let begin = async {
        if let (Some(app), Some(host)) = (&app, hosts.first()) {
            let serving = app.serve(&client, host.id());
            context.output.waiting(format!("compiling and starting {}", app.id), serving).await?;
            let url = format!("http://{}/", arguments.http);
            let value = json!({"lattice": lattice.as_str(), "actor": app.id.as_str(), "url": url});
            context.output.result(&value, format!("{} answers on {url}", app.id))?;
        }
        deployer = Some(Deployer::start(context, wadm.clone()).await?);
        deploy(context, &wadm, &manifests).await
    };
    signals.until_ended(begin).await?;
    let ended = signals.run(hosts, Duration::from_millis(arguments.drain_ms)).await;
    if let Some(deployer) = deployer {
        deployer.stop().await;
    }
    context.data.retract();
    gateway.close().await;
    drop(lock);
    ended
}

/// Deploys applications and waits until they stand; one that does not leaves the others and the lattice running.
async fn deploy(context: &Context, lattice: &Lattice, manifests: &[manifest::File]) -> anyhow::Result<()> {
    let client = Client::new(lattice.transport.clone(), &lattice.name, API_PATIENCE);
    for manifest in manifests {
        let put = manifest.put(&client).await?;
        let reply = client.deploy(manifest.app(), &request(Some(put.current_version))).await?;
        accepted(reply.result, &reply.message)?;
        let standing = until_it_stands(&client, manifest.app(), reply.generation.unwrap_or(0), DEPLOY_PATIENCE);
        match standing.await {
            Ok(status) => context.output.result(&status, format!("{} is deployed", manifest.app()))?,
            Err(error) => {
                say(format_args!("error: {error}; wadm goes on trying (`trellis app status {}`)", manifest.app()))
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::HostSpec;

    #[test]
    fn a_host_has_a_name_and_labels() {
        let spec: HostSpec = "edge-1:zone=edge,disk=ssd".parse().expect("valid");
        assert_eq!(spec.name, "edge-1");
        assert_eq!(spec.labels.get("zone").map(String::as_str), Some("edge"));
        assert_eq!("local".parse::<HostSpec>().expect("valid").labels.len(), 0);
        for bad in ["", ":a=b", "a b", "a.b", "a:zone", "a:z=1,z=2"] {
            assert!(bad.parse::<HostSpec>().is_err(), "{bad:?}");
        }
    }
}
