//! `trellis push`: a component into a registry.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;
use trellis_host::artifact::registry::{Image, ImageRef};

use crate::component::Component;
use crate::context::Context;
use crate::output::say;

/// The arguments.
#[derive(Debug, Args)]
pub(crate) struct Push {
    /// Where to, e.g. registry.example/acme/hello:1.0
    reference: ImageRef,
    /// A component
    file: PathBuf,
}

pub(crate) async fn run(context: &Context, arguments: Push) -> anyhow::Result<()> {
    let Push { reference, file } = arguments;
    let component = Component::read(&file)?;
    if !component.is_signed() {
        say(format_args!("{} is not signed: hosts run it only where its digest is allowed", file.display()));
    }
    let size_bytes = component.bytes.len();
    let image = Image { bytes: component.bytes, imports: component.imports, exports: component.exports };
    let (bar, progress) = context.output.transfer(format!("pushing {reference}"), size_bytes as u64);
    let connection = context.registries().connect(&reference).await?;
    let pushed = connection.push(&image, &progress).await;
    bar.finish_and_clear();
    let pushed = pushed?;
    let fixed = reference.at(&pushed.manifest_digest);
    let value = json!({
        "reference": reference.to_string(),
        "digest": pushed.manifest_digest,
        "fixed_reference": fixed,
        "component_digest": pushed.digest,
        "size_bytes": size_bytes,
    });
    context.output.result(&value, format!("pushed {reference}\ndigest {}\nfor good {fixed}", pushed.manifest_digest))
}
