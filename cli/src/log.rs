//! Log lines on standard error.

use anyhow::Context as _;
use tracing_subscriber::EnvFilter;

use crate::args::{Cli, LogFormat};

/// What servers log when nobody said otherwise; other commands log warnings.
const SERVER_FILTER: &str = "info";
const COMMAND_FILTER: &str = "warn";

/// Starts logging as the command line says.
pub(crate) fn start(cli: &Cli) -> anyhow::Result<()> {
    let default = if cli.command.is_server() { SERVER_FILTER } else { COMMAND_FILTER };
    let filter = cli.global.log.as_deref().filter(|filter| !filter.is_empty()).unwrap_or(default);
    let filter = EnvFilter::try_new(filter).with_context(|| {
        format!("{filter:?} is no log filter: write a level (`debug`), or levels by crate (`trellis_host=debug,info`)")
    })?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match cli.global.log_format {
        LogFormat::Text => builder.with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr())).init(),
        LogFormat::Json => builder.json().init(),
    }
    Ok(())
}
