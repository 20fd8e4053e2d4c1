//! `cargo xtask demo`: a whole lattice in one process, with the example actors in it, to look at or to be checked.
//!
//! [`scenario`] says what runs where, [`lattice`] holds the process and runs commands against it, [`http`] is the client
//! that makes the requests.

mod http;
mod lattice;
mod scenario;

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use signal_hook::consts::{SIGINT, SIGTERM};

use crate::environment::Environment;
use crate::workspace::Workspace;
use crate::{guests, step};
use lattice::Lattice;
use scenario::{PROBES, Probe};

/// The port that the demo serves on, if it is free.
const PORT: u16 = 8080;
/// How often we look whether the demo has ended or is to end.
const LOOK: Duration = Duration::from_millis(100);

/// What the demo does once it runs.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Serve until Ctrl-C.
    Serve,
    /// Make the requests, say what came back, and end.
    Check,
}

/// Builds what the demo needs, starts it, and serves or checks it.
pub(crate) fn run(workspace: &Workspace, environment: &Environment, mode: Mode) -> Result<ExitCode> {
    let is_ended = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        signal_hook::flag::register(signal, Arc::clone(&is_ended)).context("cannot wait for Ctrl-C")?;
    }
    step::heading("demo: trellis");
    step::run(&mut workspace.cargo(["build", "--release", "-p", "trellis"]))?;
    guests::build(workspace, environment)?;

    step::heading("demo: a lattice of two hosts in one process");
    let address = choose_address(mode)?;
    let folder = tempfile::Builder::new().prefix("demo-").tempdir_in(workspace.target())?;
    let mut lattice = Lattice::start(&workspace.trellis(), folder.path(), Arc::clone(&is_ended))?;
    scenario::start(&lattice, &workspace.guests(), address).map_err(|error| lattice.explain(error))?;
    let hosts = lattice.hosts_of_actors()?;
    print_routes(address, &hosts);
    let code = match mode {
        Mode::Serve => serve(&mut lattice, &is_ended)?,
        Mode::Check => check(&lattice, address),
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

fn print_routes(address: SocketAddr, hosts: &BTreeMap<String, String>) {
    let rows: Vec<[String; 4]> = PROBES
        .iter()
        .map(|probe| {
            let host = hosts.get(probe.actor).cloned().unwrap_or_else(|| "nowhere".to_owned());
            [probe.url(address), probe.actor.to_owned(), host, probe.shows.to_owned()]
        })
        .collect();
    let width =
        |column: usize, title: &str| rows.iter().map(|row| row[column].len()).max().unwrap_or(0).max(title.len());
    let (url, actor, host) = (width(0, "URL"), width(1, "ACTOR"), width(2, "HOST"));
    println!("\n{:url$}  {:actor$}  {:host$}  SHOWS", "URL", "ACTOR", "HOST");
    for [at, name, place, shows] in &rows {
        println!("{at:url$}  {name:actor$}  {place:host$}  {shows}");
    }
    println!();
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

/// Makes each request and says what came back.
fn check(lattice: &Lattice, address: SocketAddr) -> ExitCode {
    let failures = PROBES.iter().filter(|probe| !passes(probe, address)).count();
    let is_called = calls_greeter(lattice);
    if failures == 0 && is_called {
        println!("\nthe demo works: {} routes and a call by the command line", PROBES.len());
        return ExitCode::SUCCESS;
    }
    println!("\nthe demo does not work; the log of the lattice:\n{}", lattice.log());
    ExitCode::FAILURE
}

/// Makes a probe's requests in their order.
fn passes(probe: &Probe, address: SocketAddr) -> bool {
    probe.expected.iter().all(|expected| {
        let (is_right, came) = match http::get_when_ready(address, probe.host, probe.path) {
            Ok(response) => (
                response.status == 200 && response.body.contains(expected),
                format!("{} {}", response.status, response.body.trim_end().replace('\n', " / ")),
            ),
            Err(error) => (false, format!("{error:#}")),
        };
        println!("{}  GET {}  {came}", if is_right { "ok  " } else { "FAIL" }, probe.url(address));
        is_right
    })
}

/// The command line calls a function of an actor that has no HTTP.
fn calls_greeter(lattice: &Lattice) -> bool {
    let call = scenario::CALL;
    let (is_right, came) = match lattice.run(&["call", "greeter", call]) {
        Ok(output) => (output.contains(scenario::CALL_ANSWER), output.trim_end().to_owned()),
        Err(error) => (false, format!("{error:#}")),
    };
    println!("{}  trellis call greeter '{call}'  {came}", if is_right { "ok  " } else { "FAIL" });
    is_right
}
