//! `trellis link put|get|del`: the grants by which actors and providers call each other.

use anyhow::{anyhow, bail};
use clap::{Args, Subcommand};
use serde::Serialize;
use serde_json::json;
use trellis_lattice::contract::Interface;
use trellis_lattice::id::{ConfigName, EntityId, LinkName, PolicyName, SecretName};
use trellis_lattice::message::command::DeleteLink;
use trellis_lattice::message::inventory::HostInventory;
use trellis_lattice::message::link::Link;
use trellis_lattice::policy::{config_name, is_policy, name_of};

use crate::command::configs;
use crate::context::Context;
use crate::standing::Standing;

/// The arguments.
#[derive(Debug, Args)]
pub(crate) struct LinkArgs {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Let a source call a target
    Put(Put),
    /// Show links
    Get {
        /// Only those of this source or target
        entity: Option<EntityId>,
    },
    /// Take a link away; succeeds when there is none
    Del(Del),
}

#[derive(Debug, Args)]
struct Put {
    /// Who calls: the id of an actor, or of a provider such as an HTTP server
    source: EntityId,
    /// Who is called
    target: EntityId,
    /// Interfaces of one package, e.g. `wasi:keyvalue/store,atomics` or `wasi:http/incoming-handler`
    #[arg(value_name = "NAMESPACE:PACKAGE/INTERFACE[,INTERFACE…]")]
    interfaces: Interfaces,
    /// Its name, to tell links of one source to one package apart
    #[arg(long, default_value = "default")]
    name: LinkName,
    /// The policy of how calls behave (`trellis policy put`); what the source's configs say of that goes before it
    #[arg(long, value_name = "POLICY")]
    policy: Option<PolicyName>,
    /// Configs for the source's side; later ones win
    #[arg(long, value_name = "CONFIG")]
    source_config: Vec<ConfigName>,
    /// Configs for the target's side; later ones win
    #[arg(long, value_name = "CONFIG")]
    target_config: Vec<ConfigName>,
    /// Secrets for the source's side
    #[arg(long, value_name = "SECRET")]
    source_secret: Vec<SecretName>,
    /// Secrets for the target's side
    #[arg(long, value_name = "SECRET")]
    target_secret: Vec<SecretName>,
}

#[derive(Debug, Args)]
struct Del {
    /// Who calls
    source: EntityId,
    /// The package, e.g. `wasi:keyvalue`
    #[arg(value_name = "NAMESPACE:PACKAGE")]
    package: Package,
    /// Its name
    #[arg(long, default_value = "default")]
    name: LinkName,
}

#[derive(Debug, Clone)]
struct Package {
    namespace: String,
    package: String,
}

impl std::str::FromStr for Package {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        // Interfaces and a version may follow: they do not matter here.
        let package = text.split(['/', '@']).next().unwrap_or_default();
        let interface = Interface::parse(&format!("{package}/x"))
            .map_err(|_| anyhow!("{text:?} is not of the form namespace:package, e.g. wasi:keyvalue"))?;
        Ok(Self { namespace: interface.namespace().to_owned(), package: interface.package().to_owned() })
    }
}

/// Interfaces of one package.
#[derive(Debug, Clone)]
struct Interfaces {
    package: Package,
    names: Vec<String>,
}

impl std::str::FromStr for Interfaces {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        let package: Package = text.parse()?;
        let Some((_, list)) = text.split_once('/') else {
            bail!("{text:?} names no interface: write e.g. {text}/store");
        };
        let (list, _version) = list.split_once('@').unwrap_or((list, ""));
        let mut names = Vec::new();
        for name in list.split(',') {
            let whole = format!("{}:{}/{name}", package.namespace, package.package);
            let interface = Interface::parse(&whole).map_err(|error| anyhow!("{error}"))?;
            if !names.iter().any(|known| known == interface.name()) {
                names.push(interface.name().to_owned());
            }
        }
        Ok(Self { package, names })
    }
}

pub(crate) async fn run(context: &Context, arguments: LinkArgs) -> anyhow::Result<()> {
    match arguments.action {
        Action::Put(put) => {
            let policy = put.policy.as_ref().map(config_name).transpose()?;
            let source_config = policy.into_iter().chain(configs(&put.source_config, &put.source_secret)?).collect();
            let link = Link {
                source_id: put.source,
                target: put.target,
                name: put.name,
                wit_namespace: put.interfaces.package.namespace,
                wit_package: put.interfaces.package.package,
                interfaces: put.interfaces.names,
                source_config,
                target_config: configs(&put.target_config, &put.target_secret)?,
            };
            context.connect().await?.client.put_link(&link).await?;
            let text = format!("{} may call {} by {}", link.source_id, link.target, contract(&link));
            context.output.result(&link, text)
        }
        Action::Get { entity } => get(context, entity.as_ref()).await,
        Action::Del(del) => {
            let Package { namespace, package } = del.package;
            let text = format!("{} has no link {} to {namespace}:{package} any more", del.source, del.name);
            let link =
                DeleteLink { source_id: del.source, name: del.name, wit_namespace: namespace, wit_package: package };
            context.connect().await?.client.delete_link(&link).await?;
            context.output.result(&json!({"deleted": link}), text)
        }
    }
}

/// Lists links: all, or those of one source or target.
pub(crate) async fn get(context: &Context, entity: Option<&EntityId>) -> anyhow::Result<()> {
    let lattice = context.connect().await?;
    let mut links = lattice.client.links().await?;
    links.retain(|link| entity.is_none_or(|id| link.source_id == *id || link.target == *id));
    links.sort_by(|one, other| key(one).cmp(&key(other)));
    let hosts = context.output.waiting("asking the hosts".to_owned(), lattice.inventories()).await?;
    let shown: Vec<Shown> = links.into_iter().map(|link| Shown::new(link, &hosts)).collect();
    context.output.list(&shown, HEADER, shown.iter().map(row))
}

const HEADER: [&str; 10] = [
    "source",
    "target",
    "contract",
    "name",
    "state",
    "policy",
    "in flight",
    "breaker",
    "source config",
    "target config",
];

/// A link as it is shown.
#[derive(Debug, Serialize)]
struct Shown {
    #[serde(flatten)]
    link: Link,
    /// The policies that it names.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    policies: Vec<String>,
    #[serde(flatten)]
    standing: Standing,
}

impl Shown {
    fn new(link: Link, hosts: &[HostInventory]) -> Self {
        let policies = link.source_config.iter().filter_map(name_of).map(str::to_owned).collect();
        Self { standing: Standing::of(&link, hosts), policies, link }
    }
}

fn row(Shown { link, policies, standing }: &Shown) -> [String; 10] {
    let configs = |names: &[ConfigName]| {
        let others = names.iter().filter(|name| !is_policy(name));
        others.map(ConfigName::as_str).collect::<Vec<_>>().join(", ")
    };
    [
        link.source_id.to_string(),
        link.target.to_string(),
        contract(link),
        link.name.to_string(),
        standing.to_string(),
        policies.join(", "),
        standing.in_flight(),
        standing.breaker(),
        configs(&link.source_config),
        configs(&link.target_config),
    ]
}

fn key(link: &Link) -> (&EntityId, &str, &str, &LinkName) {
    (&link.source_id, &link.wit_namespace, &link.wit_package, &link.name)
}

fn contract(link: &Link) -> String {
    format!("{}:{}/{}", link.wit_namespace, link.wit_package, link.interfaces.join(","))
}

#[cfg(test)]
mod tests {
    use super::{Interfaces, Package};

    #[test]
    fn interfaces_of_one_package_are_read() {
        for (text, names) in [
            ("wasi:keyvalue/store,atomics", vec!["store", "atomics"]),
            ("wasi:keyvalue/store,store", vec!["store"]),
            ("wasi:http/incoming-handler@0.2.2", vec!["incoming-handler"]),
        ] {
            let interfaces: Interfaces = text.parse().expect(text);
            assert_eq!(
                (interfaces.package.namespace.as_str(), interfaces.names),
                ("wasi", names.into_iter().map(str::to_owned).collect())
            );
        }
        for bad in ["", "wasi", "wasi:keyvalue", "wasi:keyvalue/", "wasi:keyvalue/a,,b", "wasi:keyvalue/a b", "a/b"] {
            assert!(bad.parse::<Interfaces>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_package_may_have_an_interface_and_a_version_behind_it() {
        for text in ["wasi:keyvalue", "wasi:keyvalue/store", "wasi:keyvalue@0.2.0", "wasi:keyvalue/store@0.2.0"] {
            let package: Package = text.parse().expect(text);
            assert_eq!((&*package.namespace, &*package.package), ("wasi", "keyvalue"));
        }
        assert!("keyvalue".parse::<Package>().is_err());
    }
}
