//! `cargo xtask demo`: a whole lattice in one process, to look at or to be checked.
//!
//! [`actors`] shows the example actors on two hosts, [`bank`] the bank of `examples/bank` on one. [`lattice`] holds the process
//! and runs commands against it, [`http`] is the client that makes the requests, [`table`] prints.

mod actors;
mod bank;
mod http;
mod lattice;
mod table;

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use clap::ValueEnum;
use signal_hook::consts::{SIGINT, SIGTERM};

use crate::environment::Environment;
use crate::workspace::Workspace;
use crate::{guests, step};
use lattice::Lattice;

/// The port that the demo serves on, if it is free.
const PORT: u16 = 8080;
/// How often we look whether the demo has ended or is to end.
const LOOK: Duration = Duration::from_millis(100);

/// What is shown.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Scene {
    /// The example actors on two hosts
    Actors,
    /// The bank of examples/bank on one host
    Bank,
}

/// What the demo does once it runs.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Serve until Ctrl-C.
    Serve,
    /// Make the requests, say what came back, and end.
    Check,
}

/// Builds what the demo needs, starts it, and serves or checks it.
pub(crate) fn run(workspace: &Workspace, environment: &Environment, scene: Scene, mode: Mode) -> Result<ExitCode> {
    let is_ended = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        signal_hook::flag::register(signal, Arc::clone(&is_ended)).context("cannot wait for Ctrl-C")?;
    }
    step::heading("demo: trellis");
    step::run(&mut workspace.cargo(["build", "--release", "-p", "trellis"]))?;
    guests::build(workspace, environment)?;

    let address = choose_address(mode)?;
    let folder = tempfile::Builder::new().prefix("demo-").tempdir_in(workspace.target())?;
    let (title, hosts) = match scene {
        Scene::Actors => ("demo: a lattice of two hosts in one process", actors::HOSTS),
        Scene::Bank => ("demo: a bank in one process", bank::HOSTS),
    };
    step::heading(title);
    let mut lattice = Lattice::start(&workspace.trellis(), folder.path(), hosts, Arc::clone(&is_ended))?;
    let started = match scene {
        Scene::Actors => actors::start(&lattice, &workspace.guests(), address),
        Scene::Bank => bank::start(&lattice, workspace, address),
    };
    started.map_err(|error| lattice.explain(error))?;
    let code = match (mode, scene) {
        (Mode::Serve, _) => serve(&mut lattice, &is_ended)?,
        (Mode::Check, Scene::Actors) => actors::check(&lattice, address),
        (Mode::Check, Scene::Bank) => bank::check(&mut lattice, address)?,
    };
    step::heading("demo: stopping");
    lattice.stop()?;
    Ok(code)
}

/// The usual port, or one that is free; for a check always one that is free.
fn choose_address(mode: Mode) -> Result<SocketAddr> {
    if mode == Mode::Serve {
        match TcpListener::bind((Ipv4Addr::LOCALHOST, PORT)) {
            Ok(listener) => return Ok(listener.local_addr()?),
            Err(error) => eprintln!("    port {PORT} cannot be used ({error}), taking another"),
        }
    }
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("no port is free")?.local_addr()?)
}

/// Serves until Ctrl-C, or until the lattice ends by itself.
fn serve(lattice: &mut Lattice, is_ended: &AtomicBool) -> Result<ExitCode> {
    println!("Look from another terminal:\n    {} get inventory", lattice.command_line());
    println!("Ctrl-C ends it.");
    while !is_ended.load(Ordering::Relaxed) {
        if let Some(status) = lattice.ended()? {
            return Err(lattice.explain(anyhow::anyhow!("the lattice ended by itself with {status}")));
        }
        std::thread::park_timeout(LOOK);
    }
    Ok(ExitCode::SUCCESS)
}
