//! `trellis push`: a component, or the archive of a provider, into a registry.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use bytes::Bytes;
use clap::Args;
use serde_json::json;
use trellis_host::artifact::archive::Archive;
use trellis_host::artifact::registry::{Image, ImageRef};

use crate::component::Component;
use crate::context::Context;
use crate::key_store::now_unix_seconds;
use crate::output::say;

/// The arguments.
#[derive(Debug, Args)]
pub(crate) struct Push {
    /// Where to, e.g. registry.example/acme/hello:1.0
    reference: ImageRef,
    /// A component, or an archive of a provider
    file: PathBuf,
}

pub(crate) async fn run(context: &Context, arguments: Push) -> anyhow::Result<()> {
    let Push { reference, file } = arguments;
    let content = Content::read(&file)?;
    let size_bytes = content.size_bytes();
    let (bar, progress) = context.output.transfer(format!("pushing {reference}"), size_bytes as u64);
    let connection = context.registries().connect(&reference).await?;
    let (pushed, key) = match content {
        Content::Component(image) => (connection.push(&image, &progress).await, "component_digest"),
        Content::Archive(bytes) => (connection.push_archive(bytes, &progress).await, "archive_digest"),
    };
    bar.finish_and_clear();
    let pushed = pushed?;
    let fixed = reference.at(&pushed.manifest_digest);
    let value = json!({
        "reference": reference.to_string(),
        "digest": pushed.manifest_digest,
        "fixed_reference": fixed,
        key: pushed.digest,
        "size_bytes": size_bytes,
    });
    context.output.result(&value, format!("pushed {reference}\ndigest {}\nfor good {fixed}", pushed.manifest_digest))
}

/// What can be pushed.
enum Content {
    Component(Image),
    Archive(Bytes),
}

impl Content {
    fn read(file: &Path) -> anyhow::Result<Self> {
        if is_archive(file)? {
            // Nobody could use one whose claims do not hold.
            Archive::read(file, now_unix_seconds())?;
            let bytes = std::fs::read(file).with_context(|| format!("read {}", file.display()))?;
            return Ok(Self::Archive(bytes.into()));
        }
        let component = Component::read(file)?;
        if !component.is_signed() {
            say(format_args!("{} is not signed: hosts run it only where its digest is allowed", file.display()));
        }
        let Component { bytes, imports, exports, .. } = component;
        Ok(Self::Component(Image { bytes, imports, exports }))
    }

    fn size_bytes(&self) -> usize {
        match self {
            Self::Component(image) => image.bytes.len(),
            Self::Archive(bytes) => bytes.len(),
        }
    }
}

fn is_archive(file: &Path) -> anyhow::Result<bool> {
    let mut start = Vec::new();
    let opened = std::fs::File::open(file);
    opened
        .and_then(|opened| opened.take(512).read_to_end(&mut start))
        .with_context(|| format!("read {}", file.display()))?;
    Ok(Archive::is_one(&start))
}
