//! `trellis par`: archives of providers, with one program for each target.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use bytes::Bytes;
use clap::{Args, Subcommand};
use serde_json::json;
use trellis_host::artifact::archive::{Archive, Programs, Statement, own_target, pack};
use trellis_lattice::identity::key::{Key, KeyKind};

use crate::command::sign::{key, replace};
use crate::context::Context;
use crate::key_store::{AUTHORITY, ISSUER, now_unix_seconds};

/// The arguments.
#[derive(Debug, Args)]
pub(crate) struct Par {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Make an archive of a provider's program, and sign it
    Create(Create),
    /// Add the program for another target, and sign anew
    Insert(Insert),
    /// Show what is in an archive, and whether it is what was signed
    Inspect {
        /// An archive
        file: PathBuf,
    },
}

#[derive(Debug, Args)]
struct Create {
    /// The program
    program: PathBuf,
    /// Where the archive goes [default: <PROGRAM>.par beside it]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// What the program runs on, e.g. aarch64-linux [default: this machine]
    #[arg(long)]
    target: Option<String>,
    /// A name for people [default: the program's name]
    #[arg(long)]
    name: Option<String>,
    /// Who made it, for people
    #[arg(long, default_value = "unknown")]
    vendor: String,
    /// A number that grows with each signing
    #[arg(long = "rev", value_name = "NUMBER")]
    revision: Option<i32>,
    /// A version for people, e.g. 1.2.3
    #[arg(long = "ver", value_name = "VERSION")]
    version: Option<String>,
    /// The claims end after so many days
    #[arg(long, value_name = "DAYS")]
    expires_in_days: Option<u32>,
    #[command(flatten)]
    keys: Keys,
}

#[derive(Debug, Args)]
struct Insert {
    /// An archive
    file: PathBuf,
    /// The program
    program: PathBuf,
    /// What it runs on, e.g. aarch64-linux [default: this machine]
    #[arg(long)]
    target: Option<String>,
    #[command(flatten)]
    keys: Keys,
}

/// Who signs what.
#[derive(Debug, Args)]
struct Keys {
    /// The name of the account key that signs; made if it is not there
    #[arg(long, default_value = ISSUER, value_name = "NAME")]
    issuer: String,
    /// The name of the provider's key; made if it is not there [default: the provider's name]
    #[arg(long, value_name = "NAME")]
    key: Option<String>,
}

impl Keys {
    fn get(&self, context: &Context, name: &str) -> anyhow::Result<(Key, Key)> {
        if self.issuer == AUTHORITY {
            bail!("the key {AUTHORITY} signs tokens of hosts, not providers; name another one with --issuer");
        }
        let name = self.key.clone().unwrap_or_else(|| crate::command::sign::key_name(Path::new(name)));
        Ok((key(context, KeyKind::Account, &self.issuer)?, key(context, KeyKind::Provider, &name)?))
    }
}

pub(crate) fn run(context: &Context, arguments: Par) -> anyhow::Result<()> {
    match arguments.what {
        What::Create(create) => self::create(context, create),
        What::Insert(insert) => self::insert(context, insert),
        What::Inspect { file } => inspect(context, &file),
    }
}

fn create(context: &Context, create: Create) -> anyhow::Result<()> {
    let stem = create.program.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let statement = Statement {
        name: create.name.unwrap_or(stem),
        vendor: create.vendor,
        revision: create.revision,
        version: create.version,
        expires_in_seconds: create.expires_in_days.map(|days| u64::from(days) * 86_400),
        config_schema: None,
    };
    let out = create.out.unwrap_or_else(|| create.program.with_extension("par"));
    let programs = Programs::from([(create.target.unwrap_or_else(own_target), read(&create.program)?)]);
    let keys = create.keys.get(context, &statement.name)?;
    write(context, &out, &statement, &programs, &keys)
}

fn insert(context: &Context, insert: Insert) -> anyhow::Result<()> {
    let archive = Archive::read(&insert.file, now_unix_seconds())?;
    let mut programs = archive.programs().with_context(|| format!("use {}", insert.file.display()))?;
    programs.insert(insert.target.unwrap_or_else(own_target), read(&insert.program)?);
    let claims = &archive.claims;
    let statement = Statement {
        name: claims.name.clone(),
        vendor: claims.vendor.clone(),
        revision: claims.revision,
        version: claims.version.clone(),
        expires_in_seconds: claims.expires_at.map(|end| end.saturating_sub(now_unix_seconds())),
        config_schema: claims.config_schema.clone(),
    };
    let keys = insert.keys.get(context, &statement.name)?;
    write(context, &insert.file, &statement, &programs, &keys)
}

fn read(program: &Path) -> anyhow::Result<Bytes> {
    let bytes = std::fs::read(program).with_context(|| format!("read {}", program.display()))?;
    Ok(bytes.into())
}

fn write(
    context: &Context,
    out: &Path,
    statement: &Statement,
    programs: &Programs,
    (issuer, provider): &(Key, Key),
) -> anyhow::Result<()> {
    let archive = pack(statement, programs, (issuer, provider), now_unix_seconds())
        .with_context(|| format!("make {}", out.display()))?;
    replace(out, &archive)?;
    let written = Archive::open(archive.clone().into(), now_unix_seconds())?;
    let targets: Vec<&str> = written.targets().collect();
    let value = json!({
        "file": out, "size_bytes": archive.len(), "issuer": issuer.public(), "subject": provider.public(),
        "targets": targets,
    });
    context.output.result(&value, format!("{} is signed by {}", out.display(), issuer.public()))
}

fn inspect(context: &Context, file: &Path) -> anyhow::Result<()> {
    let archive = Archive::read(file, now_unix_seconds())?;
    let claims = &archive.claims;
    let row = |name: &str, value: &str| [name.to_owned(), value.to_owned()];
    let mut rows = vec![
        row("file", &file.display().to_string()),
        row("name", &claims.name),
        row("vendor", &claims.vendor),
        row("issuer", claims.issuer.as_str()),
        row("subject", &claims.subject),
    ];
    rows.extend(claims.version.as_ref().map(|version| row("version", version)));
    rows.extend(claims.revision.map(|revision| row("revision", &revision.to_string())));
    rows.extend(claims.expires_at.map(|time| row("expires at", &format!("{time} s after 1970"))));
    let mut targets = serde_json::Map::new();
    for target in archive.targets() {
        let state = archive
            .program(target)
            .map_or_else(|error| error.to_string(), |bytes| format!("{} bytes, as signed", bytes.len()));
        rows.push(row(target, &state));
        targets.insert(target.to_owned(), state.into());
    }
    let shown = |bytes: Option<&Bytes>| bytes.map(|bytes| format!("{} bytes, as signed", bytes.len()));
    let world = archive.world().map_or_else(|error| Some(error.to_string()), shown);
    rows.extend(world.as_ref().map(|state| row("world", state)));
    let value = json!({
        "file": file,
        "name": claims.name,
        "vendor": claims.vendor,
        "issuer": claims.issuer.as_str(),
        "subject": claims.subject,
        "version": claims.version,
        "revision": claims.revision,
        "issued_at": claims.issued_at,
        "expires_at": claims.expires_at,
        "targets": targets,
        "world": world,
        "config_schema": claims.config_schema,
    });
    context.output.list(&value, ["what", "is"], rows)
}
