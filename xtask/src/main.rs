//! `cargo xtask`: what people and CI run on this repository.
//!
//! Each command has a module of its own; what they share is beside them: [`environment`] (the only place that reads the
//! environment), [`workspace`] (where things are) and [`step`] (running programs and showing how far they are).

#![forbid(unsafe_code)]

mod bench;
mod demo;
mod doctor;
mod environment;
mod guests;
mod nats;
mod package;
mod postgres;
mod redis;
mod registry;
mod step;
mod test;
mod workspace;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

use crate::environment::Environment;
use crate::workspace::Workspace;

/// Builds, shows and checks Trellis.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Measures how fast Trellis is, beside what it is compared with
    Bench(bench::Bench),
    /// Prepares the guest tool chain and builds the example actors into target/guests
    Guests {
        /// Build the actors in JavaScript and Python too; needs npm and python3
        #[arg(long)]
        foreign: bool,
    },
    /// Runs a lattice with example actors and serves them until Ctrl-C
    Demo {
        /// What is shown
        #[arg(value_enum, default_value = "actors")]
        scene: demo::Scene,
        /// Make the requests, print what came back, and end
        #[arg(long)]
        check: bool,
    },
    /// Checks formatting and lints and runs all tests
    Test {
        /// Leave out the tests that start whole systems
        #[arg(long)]
        quick: bool,
        /// Run 1,000 seeds of each kind of wadm's simulation instead of 20; takes hours
        #[arg(long, conflicts_with = "quick")]
        nightly: bool,
    },
    /// Says which tools are there and what is missing
    Doctor,
}

fn main() -> ExitCode {
    match run(Args::parse()) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: Args) -> Result<ExitCode> {
    let environment = Environment::read();
    let workspace = Workspace::locate(&environment)?;
    match args.command {
        Command::Bench(bench) => bench::run(&workspace, &environment, &bench),
        Command::Guests { foreign } => {
            let languages = if foreign { guests::Languages::All } else { guests::Languages::Rust };
            guests::run(&workspace, &environment, languages)
        }
        Command::Demo { scene, check } => {
            let mode = if check { demo::Mode::Check } else { demo::Mode::Serve };
            demo::run(&workspace, &environment, scene, mode)
        }
        Command::Test { quick, nightly } => {
            let extent = match (quick, nightly) {
                (true, _) => test::Extent::Quick,
                (false, true) => test::Extent::Nightly,
                (false, false) => test::Extent::Whole,
            };
            test::run(&workspace, &environment, extent)
        }
        Command::Doctor => Ok(doctor::run(&workspace, &environment)),
    }
}
