//! `cargo xtask doctor`: which tools are there, in which version, and what is missing.

use std::process::{Command, ExitCode};

use anyhow::Result;

use crate::environment::Environment;
use crate::workspace::Workspace;
use crate::{guests, nats, package, postgres, redis, registry, step, test};

/// Where `tests/system/attacks.rs` has its script from.
const PERL: &str = "/usr/bin/perl";

/// One thing that some command needs.
struct Check {
    name: &'static str,
    /// What is there, or what to do.
    found: Result<String, String>,
    need: Need,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Need {
    /// Nothing works without it.
    Always,
    /// We make or fetch it when it is needed, or do without.
    Helpful,
}

/// Prints a line for each tool; fails if one is missing that nothing works without.
pub(crate) fn run(workspace: &Workspace, environment: &Environment) -> ExitCode {
    let checks = checks(workspace, environment);
    for check in &checks {
        match &check.found {
            Ok(found) => println!("ok       {:<15} {found}", check.name),
            Err(advice) if check.need == Need::Always => println!("MISSING  {:<15} {advice}", check.name),
            Err(advice) => println!("without  {:<15} {advice}", check.name),
        }
    }
    let is_usable = checks.iter().all(|check| check.found.is_ok() || check.need == Need::Helpful);
    if is_usable { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn checks(workspace: &Workspace, environment: &Environment) -> Vec<Check> {
    let guests = match guests::find(environment) {
        Some(route) => Ok(route.to_string()),
        None => Err("`cargo xtask guests` adds the target by rustup, or makes it from Debian's packages".to_owned()),
    };
    let server = match nats::find(environment).map(|server| package::version(&server)) {
        Some(Ok(version)) => Ok(version),
        Some(Err(error)) => Err(format!("{error:#}")),
        None => Err("`cargo xtask test` fetches it, or: apt-get install nats-server".to_owned()),
    };
    let redis = match redis::find(environment).map(|server| package::version(&server)) {
        Some(Ok(version)) => Ok(version),
        Some(Err(error)) => Err(format!("{error:#}")),
        None => Err("`cargo xtask test` installs it, or: apt-get install redis-server".to_owned()),
    };
    let registry = match registry::find(environment).map(|registry| package::version(&registry)) {
        Some(Ok(version)) => Ok(version),
        Some(Err(error)) => Err(format!("{error:#}")),
        None => Err("`cargo xtask test` fetches it, or: apt-get install docker-registry".to_owned()),
    };
    let postgres = match postgres::find(environment).map(|postgres| package::version(&postgres)) {
        Some(Ok(version)) => Ok(version),
        Some(Err(error)) => Err(format!("{error:#}")),
        None => Err("`cargo xtask test` fetches it, or: apt-get install postgresql".to_owned()),
    };
    let nextest = match test::has_nextest(workspace) {
        true => Ok("installed".to_owned()),
        false => Err("`cargo xtask test` takes `cargo test`; quicker: cargo install cargo-nextest".to_owned()),
    };
    let perl = match step::output(Command::new(PERL).args(["-e", "print $^V"])) {
        Ok(version) => Ok(version),
        Err(_) => Err(format!("{PERL}, by which a test makes calls to the kernel: apt-get install perl")),
    };
    let built = match workspace.trellis().metadata() {
        Ok(metadata) => Ok(format!("{} ({} MB)", workspace.trellis().display(), metadata.len() / 1_000_000)),
        Err(_) => Err("cargo build --release -p trellis".to_owned()),
    };
    vec![
        program("rustc", "rustup.rs has it", Need::Always),
        program("cargo", "rustup.rs has it", Need::Always),
        program("cc", "a C compiler, for parts of the dependencies: apt-get install gcc", Need::Always),
        program("rustup", "guests are then built by the route of Debian's packages", Need::Helpful),
        Check { name: "guest compiler", found: guests, need: Need::Helpful },
        Check { name: "nats-server", found: server, need: Need::Helpful },
        Check { name: "redis-server", found: redis, need: Need::Helpful },
        Check { name: "docker-registry", found: registry, need: Need::Helpful },
        Check { name: "postgresql", found: postgres, need: Need::Helpful },
        Check { name: "perl", found: perl, need: Need::Helpful },
        program("pgrep", "a test finds the processes of a database by it: apt-get install procps", Need::Helpful),
        Check { name: "cargo-nextest", found: nextest, need: Need::Helpful },
        program("wasmtime", "`cargo xtask bench` then leaves out `wasmtime serve`", Need::Helpful),
        Check { name: "trellis", found: built, need: Need::Helpful },
    ]
}

fn program(name: &'static str, advice: &str, need: Need) -> Check {
    let version = step::output(Command::new(name).arg("--version"));
    let found = match version {
        Ok(text) => Ok(text.lines().next().unwrap_or_default().to_owned()),
        Err(_) => Err(advice.to_owned()),
    };
    Check { name, found, need }
}
