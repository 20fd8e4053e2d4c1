//! Calls from actor to actor: on one host against the bare loop, over the network against plain NATS.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Context, Result};

use super::Setting;
use super::figure::Figure;
use super::process::{self, Server, free_address};

/// Batches of one round, whose median counts.
const BATCHES: &str = "5";

/// Two actors, and the loop in one that calls the other.
struct Pair {
    caller: PathBuf,
    callee: PathBuf,
    interface: &'static str,
    driver: &'static str,
    function: &'static str,
    concurrent: &'static [&'static str],
}

impl Pair {
    fn plain(setting: &Setting, function: &'static str) -> Self {
        Self {
            caller: setting.wat.join("caller.wat"),
            callee: setting.wat.join("callee.wat"),
            interface: "bench:calls/echo",
            driver: "bench:calls/driver",
            function,
            concurrent: &[],
        }
    }

    fn concurrent(setting: &Setting) -> Self {
        Self {
            caller: setting.guests.join("bench-async-caller.wasm"),
            callee: setting.guests.join("bench-async-callee.wasm"),
            interface: "bench:async-calls/echo",
            driver: "bench:async-calls/driver",
            function: "string64",
            concurrent: &["--concurrent"],
        }
    }

    /// Microseconds per call, of Trellis and of the bare loop, in turns.
    fn measure(&self, setting: &Setting) -> Result<(Vec<f64>, Vec<f64>)> {
        let (mut ours, mut bare) = (Vec::new(), Vec::new());
        for _ in 0..setting.rounds {
            let mut driver = setting.cores.server(&setting.driver);
            driver.arg("calls").args([&self.caller, &self.callee]);
            driver.args([&format!("{}.{}", self.driver, self.function), self.interface, "--batches", BATCHES]);
            ours.push(median_microseconds(figures(&mut driver)?.remove("nanoseconds").context("no figure")?));
            let mut reference = setting.cores.server(&setting.bare_host);
            reference.arg("calls").args([&self.caller, &self.callee]);
            reference.args([self.function, "--batches", BATCHES]).args(self.concurrent);
            bare.push(median_microseconds(process::json(&mut reference)?));
        }
        Ok((ours, bare))
    }
}

pub(super) fn local(setting: &Setting) -> Result<Vec<Figure>> {
    let (text, bare_text) = Pair::plain(setting, "string64").measure(setting)?;
    let (bytes, bare_bytes) = Pair::plain(setting, "bytes4k").measure(setting)?;
    let (concurrent, bare_concurrent) = Pair::concurrent(setting).measure(setting)?;
    let figure = |name, values: &[f64]| Figure::absolute(name, "µs", values.to_vec());
    Ok(vec![
        figure("call.local.string64", &text).against("bare loop", &bare_text).at_most(1.4),
        figure("call.local.bytes4k", &bytes).against("our 64 B call", &text).at_most(2.0),
        figure("call.local.bytes4k_vs_bare", &bytes).against("bare loop", &bare_bytes),
        figure("call.local.async", &concurrent).against("bare async loop", &bare_concurrent),
    ])
}

pub(super) fn remote(setting: &Setting) -> Result<Vec<Figure>> {
    let callee = setting.wat.join("callee.wat");
    let Some(mut figures) = beside_nats(setting, |driver| driver.arg("remote").arg(&callee))? else {
        return Ok(Vec::new());
    };
    let mut take = |name: &str| figures.remove(name).with_context(|| format!("the driver did not measure {name}"));
    let one = Figure::absolute("call.remote.one", "µs", take("one")?);
    let many = Figure::absolute("call.remote.many", "calls/s", take("many")?);
    Ok(vec![
        one.against("plain NATS", &take("one_plain")?).at_most(1.5),
        many.against("plain NATS", &take("many_plain")?).at_least(0.6),
    ])
}

/// A key-value get through a provider that is a process on the same host.
pub(super) fn provider(setting: &Setting) -> Result<Vec<Figure>> {
    let Some(mut figures) = beside_nats(setting, |driver| driver.arg("provider").arg(&setting.trellis))? else {
        return Ok(Vec::new());
    };
    let mut take = |name: &str| figures.remove(name).with_context(|| format!("the driver did not measure {name}"));
    let one = Figure::absolute("provider.process.one", "µs", take("one")?);
    let many = Figure::absolute("provider.process.many", "calls/s", take("many")?);
    Ok(vec![
        one.against("plain NATS", &take("one_plain")?).at_most(1.15),
        many.against("plain NATS", &take("many_plain")?),
    ])
}

/// What the driver measures with a nats-server of its own; `None` when there is no such program.
fn beside_nats(
    setting: &Setting,
    what: impl FnOnce(&mut std::process::Command) -> &mut std::process::Command,
) -> Result<Option<BTreeMap<String, Vec<f64>>>> {
    let Some(nats_server) = &setting.nats_server else {
        eprintln!(
            "    left out: there is no nats-server on the search path, `cargo xtask doctor` says where to get it"
        );
        return Ok(None);
    };
    let directory = tempfile::tempdir()?;
    let address = free_address()?;
    let mut server = setting.cores.server(nats_server);
    server.args(["-a", "127.0.0.1", "-js", "-p", &address.port().to_string(), "-sd"]).arg(directory.path());
    let mut nats = Server::start(&mut server, &directory.path().join("nats.log"))?;
    nats.until_listens(address)?;
    // All on one processor: on two that are idle, most of the time goes into waking the other.
    let mut driver = setting.cores.server(&setting.driver);
    let driver = what(&mut driver).arg(format!("nats://{address}"));
    figures(driver.args(["--rounds", &setting.rounds.to_string()])).map(Some)
}

/// A get through the built-in provider, on one host.
pub(super) fn keyvalue(setting: &Setting) -> Result<Vec<Figure>> {
    let mut driver = setting.cores.server(&setting.driver);
    driver
        .arg("keyvalue")
        .args(["caller", "reader"].map(|half| setting.guests.join(format!("bench-keyvalue-{half}.wasm"))));
    let mut figures = figures(driver.args(["--rounds", &setting.rounds.to_string()]))?;
    let mut take = |name: &str| figures.remove(name).with_context(|| format!("the driver did not measure {name}"));
    let get = Figure::absolute("keyvalue.get", "µs", take("get")?);
    Ok(vec![get.against("the actor doing nothing", &take("nothing")?).at_most(1.3)])
}

/// What the driver prints.
pub(super) fn figures(driver: &mut std::process::Command) -> Result<BTreeMap<String, Vec<f64>>> {
    process::json(driver)
}

fn median_microseconds(mut nanoseconds: Vec<f64>) -> f64 {
    nanoseconds.sort_by(f64::total_cmp);
    nanoseconds.get(nanoseconds.len() / 2).copied().unwrap_or(0.0) / 1e3
}
