//! `trellis provider`, for hosts: a provider that is built in, as this process.

use anyhow::Context as _;
use clap::Args;
use trellis_provider_sdk::process::run_builtin;

use crate::serve;

/// The arguments.
#[derive(Debug, Args)]
pub(crate) struct ProviderArgs {
    /// The name after `process:`
    name: String,
}

/// Runs it until the host closes the socket.
pub(crate) async fn run(arguments: &ProviderArgs) -> anyhow::Result<()> {
    let factory = serve::builtins().remove(&arguments.name);
    let factory = factory.with_context(|| format!("{} is not built in", arguments.name))?;
    Ok(run_builtin(factory).await?)
}
