//! `trellis`: one binary for running a lattice, joining one, and working with it.
//!
//! `args` reads the command line once; `command/` has one file per command; `context` finds the lattice that a command
//! is for; `output` tells people and programs what came of it: payload on stdout, talk on stderr.

#![forbid(unsafe_code)]

mod args;
mod command;
mod component;
mod context;
mod control_group;
mod data_dir;
mod deployer;
mod key_store;
mod log;
mod native;
mod output;
mod serve;
mod standing;

use std::process::ExitCode;

use clap::Parser as _;

/// A call takes some forty small pieces of memory and a few large ones, on any thread: what an allocator takes for that
/// is a tenth of a call's time with the system's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let cli = match args::Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return args::refuse(&error),
    };
    if let args::Command::Confine(arguments) = &cli.command {
        return command::confine::run(arguments);
    }
    if let Err(error) = log::start(&cli) {
        return output::fail(&error);
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return output::fail(&anyhow::Error::new(error).context("start threads")),
    };
    let result = runtime.block_on(command::run(cli));
    // What still runs on blocking threads (a compile that nobody waits for) must not hold up the end.
    runtime.shutdown_background();
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => output::fail(&error),
    }
}
