//! HTTP hello: requests per second over 64 connections that are kept alive.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use super::Setting;
use super::figure::Figure;
use super::process::{self, Server, free_address};
use crate::step;

/// Connections at once.
const CONNECTIONS: &str = "64";

/// A server under load, and what it answered in each round.
struct Subject {
    name: &'static str,
    address: SocketAddr,
    per_second: Vec<f64>,
    _server: Server,
}

pub(super) fn measure(setting: &Setting) -> Result<Vec<Figure>> {
    let directory = tempfile::tempdir()?;
    let mut subjects = start_all(setting, directory.path())?;
    // The first round warms up.
    for round in 0..=setting.rounds {
        for subject in &mut subjects {
            let per_second = load(setting, subject.address).with_context(|| format!("load on {}", subject.name))?;
            if round > 0 {
                subject.per_second.push(per_second);
            }
        }
    }
    let of = |name: &str| subjects.iter().find(|subject| subject.name == name).map(|subject| &subject.per_second);
    let figure = |figure: &'static str, subject: &str, reference: &str, shown: &'static str| {
        let (values, reference) = (of(subject)?.clone(), of(reference)?);
        Some(Figure::absolute(figure, "requests/s", values).against(shown, reference))
    };
    let figures = [
        figure("http.hello", "hello", "bare", "bare host").map(|figure| figure.at_least(0.9)),
        figure("http.hello_async", "hello-async", "bare-async", "bare host 0.3").map(|figure| figure.at_least(0.9)),
        figure("http.hello_async_vs_bare_02", "hello-async", "bare", "bare host 0.2"),
        figure("http.hello_vs_native", "hello", "native", "native hyper"),
        figure("http.hello_async_vs_native", "hello-async", "native", "native hyper"),
        figure("http.hello_vs_wasmtime_serve", "hello", "wasmtime", "wasmtime serve"),
    ];
    Ok(figures.into_iter().flatten().collect())
}

fn start_all(setting: &Setting, directory: &Path) -> Result<Vec<Subject>> {
    let hello = setting.guests.join("hello.wasm");
    let hello_async = setting.guests.join("hello-async.wasm");
    let trellis = |component: &Path| {
        let mut command = setting.cores.server(&setting.trellis);
        let data = directory.join(component.file_stem().unwrap_or_default());
        command.args([
            "up".as_ref(),
            component.as_os_str(),
            "--data-dir".as_ref(),
            data.as_os_str(),
            "--http".as_ref(),
        ]);
        command
    };
    let bare = |arguments: &[&std::ffi::OsStr]| {
        let mut command = setting.cores.server(&setting.bare_host);
        command.args(arguments);
        command
    };
    let mut subjects = vec![
        ("hello", trellis(&hello)),
        ("bare", bare(&["http02".as_ref(), hello.as_os_str()])),
        ("hello-async", trellis(&hello_async)),
        ("bare-async", bare(&["http03".as_ref(), hello_async.as_os_str()])),
        ("native", bare(&["native".as_ref()])),
    ];
    if let Some(wasmtime) = &setting.wasmtime {
        let mut command = setting.cores.server(wasmtime);
        command.args(["serve", "-Scli"]).arg(&hello).arg("--addr");
        subjects.push(("wasmtime", command));
    }
    let start = |(name, command)| start(name, command, directory).with_context(|| format!("starting {name}"));
    subjects.into_iter().map(start).collect()
}

/// The address is the last argument of all of them.
fn start(name: &'static str, mut command: Command, directory: &Path) -> Result<Subject> {
    let address = free_address()?;
    let log = directory.join(name).with_extension("log");
    let mut server = Server::start(command.arg(address.to_string()), &log)?;
    server.until_answers(address)?;
    Ok(Subject { name, address, per_second: Vec::new(), _server: server })
}

/// Answers per second, by wrk where it is, which takes less of a processor than a load generator of ours.
pub(super) fn load(setting: &Setting, address: SocketAddr) -> Result<f64> {
    let Some(wrk) = &setting.wrk else {
        let mut load = setting.cores.load(&setting.bare_host);
        return process::json(load.args(["load", &address.to_string(), "--connections", CONNECTIONS]));
    };
    let mut load = setting.cores.load(wrk);
    let printed = step::output(load.args(["-t1", "-c", CONNECTIONS, "-d1s", &format!("http://{address}/")]))?;
    anyhow::ensure!(!printed.contains("Non-2xx"), "not all answers were 200:\n{printed}");
    let rate = printed.lines().find_map(|line| line.strip_prefix("Requests/sec:"));
    Ok(rate.with_context(|| format!("wrk printed no rate:\n{printed}"))?.trim().parse()?)
}
