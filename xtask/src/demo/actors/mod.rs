//! The example actors on two hosts. [`scenario`] says what runs where.

mod scenario;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::process::ExitCode;

use anyhow::Result;

use super::lattice::Lattice;
use super::{http, table};
use scenario::{PROBES, Probe};

pub(super) use scenario::HOSTS;

/// Starts all of it and says what there is to look at.
pub(super) fn start(lattice: &Lattice, guests: &Path, address: SocketAddr) -> Result<()> {
    scenario::start(lattice, guests, address)?;
    print_routes(address, &lattice.hosts_of_actors()?);
    Ok(())
}

fn print_routes(address: SocketAddr, hosts: &BTreeMap<String, String>) {
    let rows: Vec<[String; 4]> = PROBES
        .iter()
        .map(|probe| {
            let host = hosts.get(probe.actor).cloned().unwrap_or_else(|| "nowhere".to_owned());
            [probe.url(address), probe.actor.to_owned(), host, probe.shows.to_owned()]
        })
        .collect();
    table::print(["URL", "ACTOR", "HOST", "SHOWS"], &rows);
}

/// Makes each request and says what came back.
pub(super) fn check(lattice: &Lattice, address: SocketAddr) -> ExitCode {
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
