//! `trellis completions`.

use clap::{Args, CommandFactory as _};
use clap_complete::Shell;

use crate::args::Cli;

/// The arguments.
#[derive(Debug, Args)]
pub(crate) struct Completions {
    /// The shell, e.g. `trellis completions bash > /etc/bash_completion.d/trellis`
    #[arg(value_enum)]
    shell: Shell,
}

pub(crate) fn run(arguments: &Completions) -> anyhow::Result<()> {
    clap_complete::generate(arguments.shell, &mut Cli::command(), "trellis", &mut std::io::stdout());
    Ok(())
}
