//! `trellis secret put|rotate|grant|revoke|list|del`: secrets, sealed here to the hosts that may open them. Values come
//! from standard input or a file, never from the command line, and are never shown.

use std::path::PathBuf;

use anyhow::{Context as _, bail};
use clap::{Args, Subcommand};
use serde_json::json;
use trellis_lattice::id::{EntityId, SecretName};
use trellis_lattice::secret::SecretValue;
use trellis_lattice::secrets::{HostGrant, Opener, Reference, SecretRecord, Terms};

use crate::command::{Pair, map_of};
use crate::context::Context;
use crate::output::say;

mod input;
mod place;

use self::input::Form;
use self::place::Place;

/// The arguments.
#[derive(Debug, Args)]
pub(crate) struct SecretArgs {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Write a secret; what is granted is added to what was
    Put(Put),
    /// Give a secret that is there another value; running actors see it at their next read
    Rotate {
        /// Its name
        name: SecretName,
        #[command(flatten)]
        input: Input,
        #[command(flatten)]
        at: At,
    },
    /// Let more actors, providers or hosts read a secret
    Grant(Change),
    /// Let some of them read it no longer; they know the value it has, so rotate it afterwards
    Revoke(Change),
    /// Show which secrets there are and who may read them
    List(At),
    /// Delete a secret; succeeds when there is none
    Del {
        /// Its name
        name: SecretName,
        #[command(flatten)]
        at: At,
    },
}

#[derive(Debug, Args)]
struct Put {
    /// Its name
    name: SecretName,
    #[command(flatten)]
    input: Input,
    #[command(flatten)]
    grants: Grants,
    #[command(flatten)]
    at: At,
}

#[derive(Debug, Args)]
struct Change {
    /// Its name
    name: SecretName,
    #[command(flatten)]
    grants: Grants,
    #[command(flatten)]
    at: At,
}

/// Where the value is.
#[derive(Debug, Args)]
struct Input {
    /// A file with the value [default: standard input]
    #[arg(long, value_name = "FILE")]
    from: Option<PathBuf>,
    /// It is bytes: taken as they are; of a text, a line break at the end is left out
    #[arg(long)]
    bytes: bool,
}

impl Input {
    fn read(&self) -> anyhow::Result<SecretValue> {
        input::read(self.from.as_deref(), if self.bytes { Form::Bytes } else { Form::Text })
    }
}

/// Who may read it, and on which hosts.
#[derive(Debug, Args)]
struct Grants {
    /// The id of an actor or provider that may read it; may be repeated
    #[arg(long = "for", value_name = "ID", value_delimiter = ',')]
    readers: Vec<EntityId>,
    /// The id or name of a host that may open it; may be repeated
    #[arg(long, value_name = "HOST")]
    host: Vec<String>,
    /// Labels, granted by the token of a host, with all of which it may open it; may be repeated
    #[arg(long, value_name = "KEY=VALUE[,…]")]
    host_label: Vec<Labels>,
    /// Every host of the lattice may open it [default when the lattice is one `trellis up`]
    #[arg(long)]
    all_hosts: bool,
}

#[derive(Debug, Clone)]
struct Labels(HostGrant);

impl std::str::FromStr for Labels {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        let pairs: Vec<Pair> = text.split(',').map(str::parse).collect::<anyhow::Result<_>>()?;
        Ok(Self(HostGrant::Labels(map_of(&pairs)?)))
    }
}

/// Where secrets are kept.
#[derive(Debug, Args)]
struct At {
    /// Keep it in files of this host, whose key is in this data directory, and not in the lattice
    #[arg(long, value_name = "HOST")]
    file: Option<EntityId>,
}

pub(crate) async fn run(context: &Context, arguments: SecretArgs) -> anyhow::Result<()> {
    match arguments.action {
        Action::Put(Put { name, input, grants, at }) => put(context, &name, &input, (&grants, &at)).await,
        Action::Rotate { name, input, at } => {
            let value = input.read()?;
            let place = Place::open(context, at.file.as_ref()).await?;
            let old = existing(&place, &name).await?;
            let statement = old.statement();
            write(&place, (&name, statement.version + 1), statement.terms.clone(), &value, Some(&old)).await?;
            tell(context, &name, &format!("secret {name} has another value: version {}", statement.version + 1))
        }
        Action::Grant(change) => {
            regrant(context, change, |terms, by| {
                terms.readers.extend(by.readers);
                terms.hosts.extend(by.hosts);
            })
            .await
        }
        Action::Revoke(change) => {
            regrant(context, change, |terms, by| {
                terms.readers.retain(|reader| !by.readers.contains(reader));
                terms.hosts.retain(|host| !by.hosts.contains(host));
            })
            .await
        }
        Action::List(at) => list(context, &at).await,
        Action::Del { name, at } => {
            Place::open(context, at.file.as_ref()).await?.delete(&name).await?;
            tell(context, &name, &format!("secret {name} is deleted"))
        }
    }
}

async fn put(context: &Context, name: &SecretName, input: &Input, (grants, at): (&Grants, &At)) -> anyhow::Result<()> {
    Reference::config_name(name)?;
    let value = input.read()?;
    let place = Place::open(context, at.file.as_ref()).await?;
    let old = place.load(name).await?;
    let mut terms = old.as_ref().map(|old| old.statement().terms.clone()).unwrap_or_default();
    let added = place.terms(grants).await?;
    terms.readers.extend(added.readers);
    terms.hosts.extend(added.hosts);
    if terms.hosts.is_empty() {
        terms.hosts.extend(place.default_hosts());
    }
    if terms.hosts.is_empty() {
        bail!("say which hosts may open secret {name}: --host <host>, --host-label <key=value> or --all-hosts");
    }
    let version = old.as_ref().map_or(1, |old| old.statement().version + 1);
    let record = write(&place, (name, version), terms, &value, old.as_ref()).await?;
    place.put_reference(name).await?;
    if record.statement().terms.readers.is_empty() {
        say(format_args!("nobody may read it yet: `trellis secret grant {name} --for <actor or provider>`"));
    }
    tell(context, name, &format!("secret {name} is put: version {version}"))
}

/// Who may read it changes, the value does not; it is sealed anew, so that nobody opens it with an old key.
async fn regrant(context: &Context, change: Change, apply: impl FnOnce(&mut Terms, Terms)) -> anyhow::Result<()> {
    let Change { name, grants, at } = change;
    let place = Place::open(context, at.file.as_ref()).await?;
    let old = existing(&place, &name).await?;
    let mut terms = old.statement().terms.clone();
    apply(&mut terms, place.terms(&grants).await?);
    let value = old.open(&Opener::of(place.signer())).with_context(|| format!("open secret {name}"))?;
    let record = write(&place, (&name, old.statement().version), terms, &value, Some(&old)).await?;
    tell(context, &name, &format!("secret {name} may be read {}", describe(&record.statement().terms)))
}

async fn existing(place: &Place<'_>, name: &SecretName) -> anyhow::Result<SecretRecord> {
    let found = place.load(name).await?;
    found.with_context(|| format!("there is no secret {name}: put it first (`trellis secret put {name}`)"))
}

async fn write(
    place: &Place<'_>,
    (name, version): (&SecretName, u64),
    terms: Terms,
    value: &SecretValue,
    old: Option<&SecretRecord>,
) -> anyhow::Result<SecretRecord> {
    let recipients = place.recipients(&terms).await?;
    let after = old.map_or(0, |old| old.statement().signed_at_ms + 1);
    let when = (version, input::now_ms().max(after));
    let record = SecretRecord::seal((place.lattice(), name), when, terms, value, (place.signer(), &recipients))?;
    place.save(name, &record).await?;
    Ok(record)
}

async fn list(context: &Context, at: &At) -> anyhow::Result<()> {
    let place = Place::open(context, at.file.as_ref()).await?;
    let (mut values, mut rows) = (Vec::new(), Vec::new());
    for name in place.names().await? {
        let Some(record) = place.load(&name).await? else { continue };
        let statement = record.statement();
        let readers: Vec<&str> = statement.terms.readers.iter().map(EntityId::as_str).collect();
        let hosts: Vec<String> = statement.terms.hosts.iter().map(ToString::to_string).collect();
        let sealed_to: Vec<&str> = record.holders().filter(|holder| *holder != place.signer().public()).collect();
        values.push(json!({
            "name": name.as_str(), "version": statement.version, "readers": readers, "hosts": hosts, "sealed_to": sealed_to,
        }));
        let count = sealed_to.len().to_string();
        rows.push([name.to_string(), statement.version.to_string(), readers.join(", "), hosts.join("; "), count]);
    }
    context.output.list(&values, ["secret", "version", "for", "hosts", "sealed to"], rows)
}

fn describe(terms: &Terms) -> String {
    let readers: Vec<&str> = terms.readers.iter().map(EntityId::as_str).collect();
    let hosts: Vec<String> = terms.hosts.iter().map(ToString::to_string).collect();
    let or_none = |all: String| if all.is_empty() { "none".to_owned() } else { all };
    format!("by {} on {}", or_none(readers.join(", ")), or_none(hosts.join("; ")))
}

fn tell(context: &Context, name: &SecretName, text: &str) -> anyhow::Result<()> {
    context.output.result(&json!({"secret": name.as_str(), "outcome": text}), text)
}
