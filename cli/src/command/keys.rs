//! `trellis keys gen|list|issue`.

use std::path::PathBuf;

use anyhow::{Context as _, anyhow, bail};
use clap::{Args, Subcommand, ValueEnum};
use serde_json::json;
use trellis_lattice::id::{EntityId, PeerId};
use trellis_lattice::identity::key::KeyKind;
use trellis_lattice::identity::token::verify_peer;

use crate::command::{Pair, map_of};
use crate::context::Context;
use crate::data_dir;
use crate::key_store::{AUTHORITY, Grant, KINDS, issue, now_unix_seconds, public_halves};

/// The arguments.
#[derive(Debug, Args)]
pub(crate) struct Keys {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Make a key
    Gen {
        /// What it is for
        kind: Kind,
        /// Its name in the key store
        name: String,
    },
    /// List the keys, without their secret halves
    List {
        /// Only those of this kind
        kind: Option<Kind>,
    },
    /// Sign a token for a peer of a lattice, with the authority's key
    Issue(Issue),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Kind {
    /// Signs actors; the one called `authority` signs tokens
    Account,
    /// A host
    Host,
    /// Someone who calls from the command line
    User,
    /// A provider process
    Provider,
    /// An actor
    Actor,
}

impl From<Kind> for KeyKind {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Account => Self::Account,
            Kind::Host => Self::Host,
            Kind::User => Self::User,
            Kind::Provider => Self::Provider,
            Kind::Actor => Self::Actor,
        }
    }
}

#[derive(Debug, Args)]
struct Issue {
    #[command(subcommand)]
    peer: Peer,
}

#[derive(Debug, Subcommand)]
enum Peer {
    /// For a host
    Host {
        #[command(flatten)]
        whom: Whom,
        /// A label that is granted to it; may be repeated
        #[arg(long, value_name = "KEY=VALUE")]
        label: Vec<Pair>,
    },
    /// For someone who calls from the command line
    Caller {
        #[command(flatten)]
        whom: Whom,
        /// The id under which it calls
        #[arg(long, value_name = "ID")]
        entity: EntityId,
        /// What it may call without a link, e.g. `greeter/demo:greet/*`; may be repeated
        #[arg(long, value_name = "TARGET/INTERFACE", required = true)]
        call: Vec<String>,
    },
}

#[derive(Debug, Args)]
struct Whom {
    /// The name of a key of this store (made if it is not there), or `<public key>:<exchange key>` as `keys list` shows
    /// it on the other machine
    #[arg(value_name = "NAME|KEY:EXCHANGE")]
    whom: String,
    /// The token ends after so many days
    #[arg(long, default_value_t = 365, value_name = "DAYS", value_parser = clap::value_parser!(u32).range(1..=3650))]
    days: u32,
    /// A file for the token [default: standard output]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

pub(crate) fn run(context: &Context, arguments: Keys) -> anyhow::Result<()> {
    match arguments.action {
        Action::Gen { kind, name } => {
            let key = context.keys.make(kind.into(), &name)?;
            let kind = KeyKind::from(kind).as_str();
            let value = json!({"kind": kind, "name": name, "public": key.public()});
            context.output.result(&value, key.public())
        }
        Action::List { kind } => list(context, kind.map(KeyKind::from)),
        Action::Issue(Issue { peer: Peer::Host { whom, label } }) => {
            let grant = Grant { labels: map_of(&label)?, ..Grant::default() };
            issue_token(context, KeyKind::Host, &whom, grant)
        }
        Action::Issue(Issue { peer: Peer::Caller { whom, entity, call } }) => {
            for pattern in &call {
                check_call(pattern)?;
            }
            let grant = Grant { entity: Some(entity), call, ..Grant::default() };
            issue_token(context, KeyKind::User, &whom, grant)
        }
    }
}

fn list(context: &Context, only: Option<KeyKind>) -> anyhow::Result<()> {
    let (mut values, mut rows) = (Vec::new(), Vec::new());
    for kind in KINDS.into_iter().filter(|kind| only.is_none_or(|only| only == *kind)) {
        for named in context.keys.list(kind)? {
            let request = match kind {
                KeyKind::Host | KeyKind::User | KeyKind::Provider => request(public_halves(&named.key)?),
                KeyKind::Account | KeyKind::Actor => String::new(),
            };
            let public = named.key.public();
            values.push(json!({"kind": kind.as_str(), "name": named.name, "public": public, "request": request}));
            rows.push([kind.as_str().to_owned(), named.name, if request.is_empty() { public } else { request }]);
        }
    }
    context.output.list(&values, ["kind", "name", "public"], rows)
}

/// Both public halves of a peer's key as one text, to carry to the machine that signs.
fn request((peer, exchange): (PeerId, [u8; 32])) -> String {
    let hex: String = exchange.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{peer}:{hex}")
}

fn parse_request(text: &str, kind: KeyKind) -> anyhow::Result<(PeerId, [u8; 32])> {
    let form =
        || anyhow!("{text:?} is not of the form <public key>:<exchange key>; `trellis keys list` shows it there");
    let (peer, hex) = text.split_once(':').ok_or_else(form)?;
    let peer = PeerId::parse(peer)?;
    if (kind == KeyKind::Host) != peer.as_host().is_some() {
        bail!("{peer} is not the key of a {}", kind.as_str());
    }
    let mut exchange = [0; 32];
    if hex.len() != 64 || !hex.is_ascii() {
        return Err(form());
    }
    for (byte, digits) in exchange.iter_mut().zip(hex.as_bytes().chunks(2)) {
        let digits = std::str::from_utf8(digits).map_err(|_| form())?;
        *byte = u8::from_str_radix(digits, 16).map_err(|_| form())?;
    }
    Ok((peer, exchange))
}

fn issue_token(context: &Context, kind: KeyKind, whom: &Whom, grant: Grant) -> anyhow::Result<()> {
    let authority = context.keys.authority()?.ok_or_else(|| {
        anyhow!(
            "there is no authority in {}: it is made by the first `trellis up` or `trellis host`, or by `trellis keys \
             gen account {AUTHORITY}`",
            context.data.keys().display()
        )
    })?;
    let peer = if whom.whom.contains(':') {
        parse_request(&whom.whom, kind)?
    } else {
        public_halves(&context.keys.get_or_make(kind, &whom.whom)?)?
    };
    let lattice = context.lattice()?;
    let grant = Grant { lifetime_seconds: u64::from(whom.days) * 86_400, ..grant };
    let token = issue(&authority, &lattice, peer, grant)?;
    let claims = verify_peer(&token, now_unix_seconds()).context("check the token that was signed")?;
    if let Some(file) = &whom.out {
        data_dir::replace_private(file, &token)?;
    }
    let value = json!({
        "peer": claims.peer.as_str(), "lattice": lattice.as_str(), "issuer": claims.issuer.as_str(),
        "expires_at": claims.expires_at, "file": whom.out, "token": token,
    });
    let text = match &whom.out {
        Some(file) => format!("{} holds a token for {} in lattice {lattice}", file.display(), claims.peer),
        None => token,
    };
    context.output.result(&value, text)
}

/// `target/namespace:package/interface`, `*` at the end of either part.
fn check_call(pattern: &str) -> anyhow::Result<()> {
    let is_valid = pattern.split_once('/').is_some_and(|(target, interface)| {
        let id = target.strip_suffix('*').unwrap_or(target);
        (id.is_empty() && target == "*" || EntityId::parse(id).is_ok()) && (interface == "*" || interface.contains(':'))
    });
    if !is_valid {
        bail!("{pattern:?} is not of the form target/interface, e.g. greeter/demo:greet/* or */wasi:http/*");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use trellis_lattice::identity::key::{Key, KeyKind};

    use super::{check_call, parse_request, public_halves, request};

    #[test]
    fn both_public_halves_travel_as_one_text() {
        let halves = public_halves(&Key::generate(KeyKind::Host)).expect("a peer");
        let text = request(halves.clone());
        assert_eq!(parse_request(&text, KeyKind::Host).expect("valid"), halves);
        assert!(parse_request(&text, KeyKind::User).is_err(), "a host is no caller");
        for bad in ["", "N:", &text[..60], &format!("{text}0"), &text.replace(':', " ")] {
            assert!(parse_request(bad, KeyKind::Host).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn call_grants_name_a_target_and_an_interface() {
        for good in ["greeter/demo:greet/greeter", "greeter/demo:greet/*", "*/wasi:http/*", "gree*/*"] {
            assert!(check_call(good).is_ok(), "{good}");
        }
        for bad in ["", "greeter", "/demo:greet/x", "a.b/demo:greet/x", "greeter/demo"] {
            assert!(check_call(bad).is_err(), "{bad}");
        }
    }
}
