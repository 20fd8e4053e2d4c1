//! `trellis inspect`: what is in a component.

use std::path::PathBuf;

use clap::Args;
use serde_json::{Value, json};
use trellis_host::inspect::{Contract, Contracts, contracts};
use trellis_lattice::contract::Signature;
use trellis_lattice::identity::claims::ActorClaims;
use trellis_lattice::identity::component::verify;

use crate::component::Component;
use crate::context::Context;
use crate::key_store::now_unix_seconds;
use crate::output::describe;

/// The arguments.
#[derive(Debug, Args)]
pub(crate) struct Inspect {
    /// A component
    file: PathBuf,
}

/// What its claims are worth.
enum Claims {
    None,
    Verified(Box<ActorClaims>),
    Refused(String),
}

pub(crate) fn run(context: &Context, arguments: &Inspect) -> anyhow::Result<()> {
    let component = Component::read(&arguments.file)?;
    let claims = match verify(&component.bytes, now_unix_seconds()) {
        Ok(None) => Claims::None,
        Ok(Some(claims)) => Claims::Verified(Box::new((*claims).clone())),
        Err(error) => Claims::Refused(describe(&error.into())),
    };
    let mut rows = vec![
        ["file".to_owned(), arguments.file.display().to_string()],
        ["size".to_owned(), format!("{} bytes", component.bytes.len())],
        ["digest".to_owned(), format!("sha256:{}", component.digest)],
    ];
    rows.extend(claims_rows(&claims));
    let contracts = contracts(&component.bytes).unwrap_or_else(|error| {
        rows.push(["types".to_owned(), format!("not known: {error}")]);
        Contracts::default()
    });
    rows.extend(component.imports.iter().map(|name| ["import".to_owned(), with_signature(name, &contracts.imports)]));
    rows.extend(component.exports.iter().map(|name| ["export".to_owned(), with_signature(name, &contracts.exports)]));
    let value = json!({
        "file": arguments.file,
        "size_bytes": component.bytes.len(),
        "digest": component.digest,
        "claims": claims_json(&claims),
        "imports": component.imports,
        "exports": component.exports,
        "contracts": {"imports": as_json(&contracts.imports), "exports": as_json(&contracts.exports)},
    });
    context.output.list(&value, ["what", "is"], rows)
}

/// The name of an interface, with its signature if it is a custom one: what callers have to agree with.
fn with_signature(name: &str, contracts: &[Contract]) -> String {
    let contract = contracts.iter().find(|contract| contract.interface.as_str() == name);
    match contract.and_then(|contract| contract.signature) {
        Some(signature) => format!("{name} (signature {signature})"),
        None => name.to_owned(),
    }
}

fn as_json(contracts: &[Contract]) -> Value {
    let custom = contracts.iter().filter_map(|contract| Some((contract, contract.signature?)));
    let entry = |(contract, signature): (&Contract, Signature)| {
        json!({
            "interface": contract.interface.as_str(),
            "signature": signature.to_string(),
            "functions": contract.functions,
        })
    };
    custom.map(entry).collect()
}

fn claims_json(claims: &Claims) -> Value {
    match claims {
        Claims::None => json!({"state": "none"}),
        Claims::Refused(why) => json!({"state": "refused", "reason": why}),
        Claims::Verified(claims) => json!({
            "state": "verified",
            "issuer": claims.issuer.as_str(),
            "subject": claims.subject,
            "name": claims.name,
            "revision": claims.revision,
            "version": claims.version,
            "call_alias": claims.call_alias,
            "tags": claims.tags,
            "issued_at": claims.issued_at,
            "expires_at": claims.expires_at,
            "not_before": claims.not_before,
            "imports": claims.imports,
        }),
    }
}

fn claims_rows(claims: &Claims) -> Vec<[String; 2]> {
    let row = |name: &str, value: String| [name.to_owned(), value];
    let claims = match claims {
        Claims::None => return vec![row("claims", "none: it is not signed (`trellis sign`)".to_owned())],
        Claims::Refused(why) => return vec![row("claims", format!("refused: {why}"))],
        Claims::Verified(claims) => claims,
    };
    let mut rows = vec![
        row("claims", "verified".to_owned()),
        row("issuer", claims.issuer.to_string()),
        row("subject", claims.subject.clone()),
    ];
    let texts = [("name", &claims.name), ("version", &claims.version), ("call alias", &claims.call_alias)];
    rows.extend(texts.into_iter().filter_map(|(name, text)| text.clone().map(|text| row(name, text))));
    rows.extend(claims.revision.map(|revision| row("revision", revision.to_string())));
    rows.extend(claims.expires_at.map(|time| row("expires at", format!("{time} s after 1970"))));
    if !claims.tags.is_empty() {
        rows.push(row("tags", claims.tags.join(", ")));
    }
    let grants = claims.imports.as_ref().map(|imports| imports.join(", "));
    rows.push(row("may import", grants.unwrap_or_else(|| "what the host lists for this issuer".to_owned())));
    rows
}
