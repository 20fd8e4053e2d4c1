//! `trellis sign`: puts claims into a component.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use clap::Args;
use serde_json::json;
use trellis_lattice::identity::component::{Statement, sign};
use trellis_lattice::identity::key::{Key, KeyKind};

use crate::component::Component;
use crate::context::Context;
use crate::key_store::{AUTHORITY, ISSUER, now_unix_seconds};
use crate::output::say;

/// The arguments.
#[derive(Debug, Args)]
pub(crate) struct Sign {
    /// A component
    file: PathBuf,
    /// Where the signed component goes [default: <FILE>.signed.wasm beside it]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) claims: Claims,
}

/// What is claimed, and by whom.
#[derive(Debug, Args)]
pub(crate) struct Claims {
    /// A name for people [default: the file's name]
    #[arg(long)]
    name: Option<String>,
    /// A number that grows with each signing
    #[arg(long = "rev", value_name = "NUMBER")]
    revision: Option<i32>,
    /// A version for people, e.g. 1.2.3
    #[arg(long = "ver", value_name = "VERSION")]
    version: Option<String>,
    /// Another name to call it by
    #[arg(long)]
    call_alias: Option<String>,
    /// A tag; may be repeated
    #[arg(long = "tag", value_name = "TAG")]
    tags: Vec<String>,
    /// An interface it may import, e.g. `wasi:keyvalue/*`; may be repeated [default: what hosts list for the issuer]
    #[arg(long = "import", value_name = "NAMESPACE:PACKAGE/INTERFACE", conflicts_with = "import_all")]
    imports: Vec<String>,
    /// It may import what it imports now
    #[arg(long)]
    import_all: bool,
    /// The claims end after so many days
    #[arg(long, value_name = "DAYS")]
    expires_in_days: Option<u32>,
    /// The name of the account key that signs; made if it is not there
    #[arg(long, default_value = ISSUER, value_name = "NAME")]
    issuer: String,
    /// The name of the actor's key; made if it is not there [default: the file's name]
    #[arg(long, value_name = "NAME")]
    key: Option<String>,
}

pub(crate) fn run(context: &Context, arguments: &Sign) -> anyhow::Result<()> {
    let out = arguments.out.clone().unwrap_or_else(|| arguments.file.with_extension("signed.wasm"));
    sign_file(context, &arguments.file, &out, &arguments.claims)
}

/// Signs the component in `file` into `to`, and says so.
pub(crate) fn sign_file(context: &Context, file: &Path, to: &Path, claims: &Claims) -> anyhow::Result<()> {
    let component = Component::read(file)?;
    let (issuer, actor) = keys(context, file, claims)?;
    let signed = sign(&component.bytes, &statement(claims, file, &component), &issuer, &actor, now_unix_seconds())
        .with_context(|| format!("sign {}", file.display()))?;
    replace(to, &signed)?;
    let value = json!({
        "file": to, "size_bytes": signed.len(), "issuer": issuer.public(), "subject": actor.public(),
    });
    context.output.result(&value, format!("{} is signed by {}", to.display(), issuer.public()))
}

fn keys(context: &Context, file: &Path, claims: &Claims) -> anyhow::Result<(Key, Key)> {
    if claims.issuer == AUTHORITY {
        bail!("the key {AUTHORITY} signs tokens of hosts, not actors; name another one with --issuer");
    }
    let name = claims.key.clone().unwrap_or_else(|| key_name(file));
    Ok((key(context, KeyKind::Account, &claims.issuer)?, key(context, KeyKind::Actor, &name)?))
}

/// A key by its name; one that is not there is made.
pub(crate) fn key(context: &Context, kind: KeyKind, name: &str) -> anyhow::Result<Key> {
    if let Some(key) = context.keys.find(kind, name)? {
        return Ok(key);
    }
    let key = context.keys.make(kind, name)?;
    say(format_args!("made {} key {name}: {}", kind.as_str(), key.public()));
    Ok(key)
}

/// The file's name as the name of a key: `my.app.wasm` is `my-app`.
pub(crate) fn key_name(file: &Path) -> String {
    let stem = stem(file);
    let name: String =
        stem.chars().map(|c| if c.is_ascii_alphanumeric() || c == '_' { c } else { '-' }).take(64).collect();
    if name.is_empty() { "actor".to_owned() } else { name }
}

fn stem(file: &Path) -> String {
    let name = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    name.strip_suffix(".signed").map(str::to_owned).unwrap_or(name)
}

fn statement(claims: &Claims, file: &Path, component: &Component) -> Statement {
    let imports = if claims.import_all {
        Some(component.imports.iter().map(|name| without_version(name)).filter(|name| name.contains('/')).collect())
    } else {
        (!claims.imports.is_empty()).then(|| claims.imports.clone())
    };
    Statement {
        name: claims.name.clone().or_else(|| Some(stem(file))),
        revision: claims.revision,
        version: claims.version.clone(),
        call_alias: claims.call_alias.clone(),
        tags: claims.tags.clone(),
        imports,
        expires_in_seconds: claims.expires_in_days.map(|days| u64::from(days) * 86_400),
    }
}

fn without_version(name: &str) -> String {
    name.split('@').next().unwrap_or(name).to_owned()
}

/// Writes all of a file or none of it.
pub(crate) fn replace(file: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    let new = file.with_extension(format!("{}.new", std::process::id()));
    std::fs::write(&new, bytes)
        .and_then(|()| std::fs::rename(&new, file))
        .with_context(|| format!("write {}", file.display()))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    #[test]
    fn a_file_name_becomes_the_name_of_a_key() {
        for (file, name) in
            [("a/hello.wasm", "hello"), ("my.app v2.wasm", "my-app-v2"), ("hello.signed.wasm", "hello"), ("", "actor")]
        {
            assert_eq!(super::key_name(Path::new(file)), name, "{file}");
        }
    }
}
