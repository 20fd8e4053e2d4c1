//! `cargo xtask bench`: how fast Trellis is, compared in turns with the same work done by something simpler.
//!
//! What is measured from outside is here; what needs the libraries is measured by the driver (`xtask/driver`), the
//! references are the bare host (`xtask/bare-host`) and a nats-server. Servers have one processor, load has another.

mod body;
mod calls;
mod deploy;
mod figure;
mod http;
mod idle;
mod lattice;
mod messages;
mod out;
mod plan;
mod process;
mod start;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{Args, ValueEnum};

use crate::environment::Environment;
use crate::workspace::Workspace;
use crate::{guests, nats, step};

use self::figure::Figure;
use self::process::Cores;

/// The arguments.
#[derive(Debug, Args)]
pub(crate) struct Bench {
    /// What to measure [default: all]
    #[arg(value_enum)]
    group: Vec<Group>,
    /// How the figures are printed to standard output
    #[arg(long, short, value_enum, default_value = "table")]
    output: Format,
    /// Rounds of each figure that is measured in turns
    #[arg(long, default_value_t = 7)]
    rounds: u32,
    /// Fail if a figure misses its target
    #[arg(long)]
    check: bool,
}

/// Figures that are measured together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Group {
    /// http.hello, http.hello_async, and both against native code
    Http,
    /// out.proxy: in by HTTP, through an actor, out by HTTP
    Out,
    /// call.local.string64, call.local.bytes4k, call.local.async
    Local,
    /// call.remote.one, call.remote.many
    Remote,
    /// keyvalue.get, against the same actor doing nothing
    Keyvalue,
    /// provider.process.one, provider.process.many
    Provider,
    /// messages.jetstream, messages.lost, messages.growth_mib: 100,000 messages to an actor
    Messages,
    /// start.cached, up.first_response
    Start,
    /// idle.actor_kib, idle.cpu_percent
    Idle,
    /// plan.cpu_10k, plan.rss_10k_mib, and how they grow; plan.converge_1k
    Plan,
    /// deploy.first_response, failover.kill, on three hosts and a nats-server
    Deploy,
    /// body.growth_mib
    Body,
    /// binary.size_mb
    Size,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people
    Table,
    /// For programs
    Json,
}

/// What the measurements need.
struct Setting {
    /// Where Trellis is.
    trellis: PathBuf,
    /// The reference.
    bare_host: PathBuf,
    /// What measures from inside.
    driver: PathBuf,
    /// wadm among simulated hosts, if that is to be measured.
    converge: Option<PathBuf>,
    /// The built example actors.
    guests: PathBuf,
    /// The actors in text form that call each other.
    wat: PathBuf,
    /// Programs that may or may not be there.
    nats_server: Option<PathBuf>,
    wasmtime: Option<PathBuf>,
    wrk: Option<PathBuf>,
    /// Which processor does what.
    cores: Cores,
    /// Rounds in turns.
    rounds: u32,
}

/// Builds what is needed, measures, prints.
pub(crate) fn run(workspace: &Workspace, environment: &Environment, bench: &Bench) -> Result<ExitCode> {
    let groups = if bench.group.is_empty() { Group::value_variants() } else { bench.group.as_slice() };
    let mut setting = prepare(workspace, environment, bench.rounds)?;
    if groups.contains(&Group::Plan) {
        setting.converge = Some(build_converge(workspace)?);
    }
    let mut figures = Vec::new();
    for group in groups {
        step::heading(&format!("bench: {}", describe(*group)));
        let measured = measure(*group, &setting).with_context(|| format!("measuring {}", describe(*group)))?;
        measured.iter().for_each(|figure| eprintln!("    {figure}"));
        figures.extend(measured);
    }
    match bench.output {
        Format::Table => print!("{}", figure::table(&figures)),
        Format::Json => println!("{}", serde_json::to_string_pretty(&figures)?),
    }
    let missed = figures.iter().filter(|figure| figure.misses()).count();
    if bench.check && missed > 0 {
        eprintln!("{missed} of {} figures miss their targets", figures.len());
        return Ok(ExitCode::FAILURE);
    }
    Ok(ExitCode::SUCCESS)
}

fn measure(group: Group, setting: &Setting) -> Result<Vec<Figure>> {
    match group {
        Group::Http => http::measure(setting),
        Group::Out => out::measure(setting),
        Group::Local => calls::local(setting),
        Group::Remote => calls::remote(setting),
        Group::Keyvalue => calls::keyvalue(setting),
        Group::Provider => calls::provider(setting),
        Group::Messages => messages::measure(setting),
        Group::Start => start::measure(setting),
        Group::Idle => idle::measure(setting),
        Group::Plan => plan::measure(setting),
        Group::Deploy => deploy::measure(setting),
        Group::Body => body::measure(setting),
        Group::Size => Ok(vec![size(setting)?]),
    }
}

fn describe(group: Group) -> String {
    group.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
}

fn prepare(workspace: &Workspace, environment: &Environment, rounds: u32) -> Result<Setting> {
    guests::build(workspace, environment)?;
    step::heading("bench: trellis, the bare host and the driver");
    // The packages that decide about features, so that this shares what the other builds of a release make.
    step::run(&mut workspace.cargo([
        "build",
        "--release",
        "--locked",
        "--package=trellis",
        "--package=trellis-bench-bare",
        "--package=trellis-bench-driver",
    ]))?;
    let release = workspace.target().join("release");
    Ok(Setting {
        trellis: workspace.trellis(),
        bare_host: release.join("bare-host"),
        driver: release.join("bench-driver"),
        converge: None,
        guests: workspace.guests(),
        wat: workspace.root().join("xtask/bare-host/guests"),
        nats_server: nats::find(environment),
        wasmtime: environment.find_program("wasmtime"),
        wrk: environment.find_program("wrk"),
        cores: Cores::find(environment)?,
        rounds: rounds.max(1),
    })
}

/// By itself: with what tests need, tokio's clock is another one, and that is not for the figures of the others.
fn build_converge(workspace: &Workspace) -> Result<PathBuf> {
    let arguments = ["build", "--release", "--locked", "--workspace", "--example=converge"];
    step::run(&mut workspace.cargo(arguments))?;
    Ok(workspace.target().join("release/examples/converge"))
}

fn size(setting: &Setting) -> Result<Figure> {
    let bytes = setting.trellis.metadata().context("trellis is not built")?.len();
    Ok(Figure::absolute("binary.size_mb", "MB", vec![bytes as f64 / 1e6]).at_most(60.0))
}
