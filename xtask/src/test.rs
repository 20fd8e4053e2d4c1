//! `cargo xtask test`: formatting, lints and all tests, with a summary at the end.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::environment::Environment;
use crate::workspace::Workspace;
use crate::{guests, nats, package, postgres, redis, registry, step};

/// The tests by published clients of lattice v1: a workspace of its own.
const CLIENTS: &str = "tests/clients/Cargo.toml";

/// How many seeds of each kind the simulation of wadm runs at night.
const NIGHTLY_SEEDS: &str = "1000";

/// How much is tested.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Extent {
    /// Everything.
    Whole,
    /// Without the tests that start whole systems.
    Quick,
    /// Everything, with [`NIGHTLY_SEEDS`].
    Nightly,
}

/// Runs the steps; a failed one does not keep those from running that do not need it.
pub(crate) fn run(workspace: &Workspace, environment: &Environment, extent: Extent) -> Result<ExitCode> {
    let mut summary = Summary::default();
    summary.step("formatting", || check_formatting(workspace));
    summary.step("lints", || {
        step::run(
            workspace.cargo(["clippy", "--release", "--workspace", "--all-targets"]).args(["--", "-D", "warnings"]),
        )
    });
    let server = summary.step("nats-server", || find_nats(environment));
    let redis = summary.step("redis-server", || find_redis(environment));
    let registry = summary.step("docker-registry", || find_registry(environment));
    let postgres = summary.step("postgresql", || find_postgres(environment));
    let guests = summary.step("guests", || guests::build(workspace, environment));
    // Without the tests' own dependencies it would be another build of the same crates.
    let built = summary
        .step("build", || step::run(&mut workspace.cargo(["build", "--release", "--workspace", "--bins", "--tests"])));
    let foreign = match extent {
        Extent::Whole | Extent::Nightly => {
            summary.optional_step("other languages", || guests::build_foreign(workspace, environment))
        }
        Extent::Quick => None,
    };
    match (server, redis, registry, postgres, guests, built) {
        (Some(server), Some(redis), Some(registry), Some(postgres), Some(_), Some(())) => {
            let selection = match (extent, foreign) {
                (Extent::Quick, _) => Selection::NoWholeSystem,
                (_, Some(_)) => Selection::Everything,
                (_, None) => Selection::NoForeignActors,
            };
            let servers = Servers { nats: &server, redis: &redis, registry: &registry, postgres: &postgres };
            summary.step("tests", || run_tests(workspace, environment, servers, (extent, selection)));
            if extent != Extent::Quick {
                summary.step("clients", || run_clients(workspace, servers));
            }
        }
        _ => summary.lines.push(Line::left_out("tests", "a step that it needs has failed")),
    }
    Ok(summary.print())
}

fn check_formatting(workspace: &Workspace) -> Result<()> {
    step::run(&mut workspace.cargo(["fmt", "--all", "--check"]))?;
    for manifest in ["examples/Cargo.toml", CLIENTS] {
        step::run(&mut workspace.cargo(["fmt", "--all", "--check", "--manifest-path", manifest]))?;
    }
    Ok(())
}

fn find_nats(environment: &Environment) -> Result<PathBuf> {
    let server = nats::prepare(environment)?;
    eprintln!("    {} ({})", package::version(&server)?, server.display());
    Ok(server)
}

fn find_redis(environment: &Environment) -> Result<PathBuf> {
    let server = redis::prepare(environment)?;
    eprintln!("    {} ({})", package::version(&server)?, server.display());
    Ok(server)
}

fn find_registry(environment: &Environment) -> Result<PathBuf> {
    let registry = registry::prepare(environment)?;
    eprintln!("    {} ({})", package::version(&registry)?, registry.display());
    Ok(registry)
}

fn find_postgres(environment: &Environment) -> Result<PathBuf> {
    let postgres = postgres::prepare(environment)?;
    eprintln!("    {} ({})", package::version(&postgres)?, postgres.display());
    Ok(postgres)
}

/// Which tests are run.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Selection {
    Everything,
    /// Without those that need actors in JavaScript and Python.
    NoForeignActors,
    /// Without those that start whole systems.
    NoWholeSystem,
}

/// Programs that tests start.
#[derive(Clone, Copy)]
struct Servers<'a> {
    nats: &'a Path,
    redis: &'a Path,
    registry: &'a Path,
    postgres: &'a Path,
}

/// Drives the `trellis` that was built with the published clients.
fn run_clients(workspace: &Workspace, servers: Servers<'_>) -> Result<()> {
    let mut command = workspace.cargo(["test", "--manifest-path", CLIENTS]);
    let binary = workspace.trellis();
    let target = binary.parent().and_then(Path::parent).context("`trellis` is in no target folder")?.join("clients");
    command.env("CARGO_TARGET_DIR", target).env("TRELLIS_BINARY", &binary);
    command.env("TRELLIS_NATS_SERVER", servers.nats).env("TRELLIS_DOCKER_REGISTRY", servers.registry);
    step::run(&mut command)
}

fn run_tests(
    workspace: &Workspace,
    environment: &Environment,
    servers: Servers<'_>,
    (extent, selection): (Extent, Selection),
) -> Result<()> {
    let search_path = search_path_with(environment, &[servers.nats, servers.redis])?;
    let mut command = if has_nextest(workspace) {
        nextest(workspace, selection)
    } else {
        eprintln!("    cargo-nextest is not installed; `cargo test` does the same, one program after the other");
        cargo_test(workspace, selection)
    };
    command.env("TRELLIS_NATS_SERVER", servers.nats).env("TRELLIS_DOCKER_REGISTRY", servers.registry);
    command.env("TRELLIS_POSTGRES", servers.postgres);
    if extent == Extent::Nightly {
        command.env("TRELLIS_SIM_SEEDS", NIGHTLY_SEEDS).env("NEXTEST_PROFILE", "nightly");
    }
    step::run(command.env("PATH", &search_path))
}

/// Whether cargo-nextest is there.
pub(crate) fn has_nextest(workspace: &Workspace) -> bool {
    step::output(&mut workspace.cargo(["nextest", "--version"])).is_ok()
}

fn nextest(workspace: &Workspace, selection: Selection) -> Command {
    let mut command = workspace.cargo(["nextest", "run", "--release", "--workspace"]);
    match selection {
        Selection::Everything => &mut command,
        Selection::NoForeignActors => command.args(["-E", "not test(/^foreign::/)"]),
        Selection::NoWholeSystem => command.args(["-E", "not binary(system)"]),
    };
    command
}

fn cargo_test(workspace: &Workspace, selection: Selection) -> Command {
    let mut command = workspace.cargo(["test", "--release", "--workspace", "--no-fail-fast"]);
    match selection {
        Selection::Everything => &mut command,
        Selection::NoForeignActors => command.args(["--", "--skip", "foreign::"]),
        Selection::NoWholeSystem => command.args(["--lib", "--bins", "--test", "tidy"]),
    };
    command
}

/// The search path with the servers' folders in front, for tests that start them by name.
fn search_path_with(environment: &Environment, servers: &[&Path]) -> Result<OsString> {
    let folders = servers.iter().filter_map(|server| server.parent()).map(Path::to_owned);
    let folders = folders.chain(environment.search_path().iter().cloned());
    std::env::join_paths(folders).context("a folder of PATH cannot be in PATH")
}

/// What each step has come to.
#[derive(Default)]
struct Summary {
    lines: Vec<Line>,
}

struct Line {
    name: &'static str,
    took: Duration,
    outcome: Outcome,
}

enum Outcome {
    Passed,
    Failed(String),
    /// Not done, and why; no failure.
    LeftOut(String),
}

impl Line {
    fn left_out(name: &'static str, reason: &str) -> Self {
        let reason = reason.lines().next().unwrap_or_default().to_owned();
        Self { name, took: Duration::ZERO, outcome: Outcome::LeftOut(reason) }
    }
}

impl Summary {
    /// Runs a step; its result if it went well.
    fn step<T>(&mut self, name: &'static str, work: impl FnOnce() -> Result<T>) -> Option<T> {
        step::heading(name);
        let started = Instant::now();
        let result = work();
        let outcome = match &result {
            Ok(_) => Outcome::Passed,
            Err(error) => {
                eprintln!("    failed: {error:#}");
                Outcome::Failed(format!("{error:#}"))
            }
        };
        self.lines.push(Line { name, took: started.elapsed(), outcome });
        result.ok()
    }

    /// Runs a step that may not be possible on this machine; its result if it was.
    fn optional_step<T>(&mut self, name: &'static str, work: impl FnOnce() -> Result<T>) -> Option<T> {
        let result = self.step(name, work);
        if let Some(line) = self.lines.last_mut()
            && let Outcome::Failed(reason) = &line.outcome
        {
            *line = Line::left_out(name, reason);
        }
        result
    }

    fn print(&self) -> ExitCode {
        step::heading("summary");
        for Line { name, took, outcome } in &self.lines {
            let seconds = took.as_secs();
            match outcome {
                Outcome::Passed => eprintln!("    {name:<15} passed   {seconds:>5} s"),
                Outcome::Failed(error) => {
                    eprintln!("    {name:<15} FAILED   {seconds:>5} s  {}", error.lines().next().unwrap_or_default());
                }
                Outcome::LeftOut(reason) => eprintln!("    {name:<15} left out: {reason}"),
            }
        }
        let is_tested = self.lines.iter().any(|line| line.name == "tests" && matches!(line.outcome, Outcome::Passed));
        let is_passed = is_tested && !self.lines.iter().any(|line| matches!(line.outcome, Outcome::Failed(_)));
        eprintln!("{}", if is_passed { "everything passed" } else { "not everything passed" });
        if is_passed { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}
