//! `trellis pull`: a component, or the archive of a provider, from a registry.

use std::path::PathBuf;

use anyhow::{Context as _, bail};
use clap::Args;
use serde_json::json;
use trellis_host::artifact::registry::{Connection, ImageRef, Resolved, Wanted};

use crate::context::Context;

/// The arguments.
#[derive(Debug, Args)]
pub(crate) struct Pull {
    /// Which, e.g. registry.example/acme/hello:1.0, or with @sha256:… one that never changes
    reference: ImageRef,
    /// Where to [default: the last part of its name, with .wasm or .par]
    file: Option<PathBuf>,
    /// Replace the file if it is there
    #[arg(long)]
    force: bool,
}

pub(crate) async fn run(context: &Context, arguments: Pull) -> anyhow::Result<()> {
    let Pull { reference, file, force } = arguments;
    let connection = context.registries().connect(&reference).await?;
    let (found, wanted) = find(&connection).await?;
    let (ending, key) = match wanted {
        Wanted::Component => ("wasm", "component_digest"),
        Wanted::Archive => ("par", "archive_digest"),
    };
    let file = file.unwrap_or_else(|| format!("{}.{ending}", reference.name()).into());
    if file.exists() && !force {
        bail!("{} is there already: name another file, or replace it with --force", file.display());
    }
    let (bar, progress) = context.output.transfer(format!("pulling {reference}"), found.size_bytes);
    let bytes = connection.download(&found, &progress).await;
    bar.finish_and_clear();
    let bytes = bytes?;
    std::fs::write(&file, &bytes).with_context(|| format!("write {}", file.display()))?;
    let value = json!({
        "reference": reference.to_string(),
        "digest": found.manifest_digest,
        key: found.digest,
        "size_bytes": bytes.len(),
        "file": file,
    });
    let text = format!("pulled {reference} to {}\ndigest {}", file.display(), found.manifest_digest);
    context.output.result(&value, text)
}

/// What the artifact is.
async fn find(connection: &Connection) -> anyhow::Result<(Resolved, Wanted)> {
    let error = match connection.find(Wanted::Component).await {
        Ok(found) => return Ok((found, Wanted::Component)),
        Err(error) => error,
    };
    match connection.find(Wanted::Archive).await {
        Ok(found) => Ok((found, Wanted::Archive)),
        Err(_) => Err(error.into()),
    }
}
