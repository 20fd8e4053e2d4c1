//! Messages through JetStream to an actor on another host than the provider: how many a second against a handler in native
//! code, whether any is lost, and how much memory the hosts take meanwhile.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};

use super::Setting;
use super::calls::figures;
use super::figure::Figure;
use super::lattice::Lattice;
use super::process::Server;

const COUNT: &str = "100000";

/// After so many all that handling needs is there.
const WARM_UP: &str = "5000";

/// What hosts may take for more messages than fit into it.
const FLAT_MIB: f64 = 32.0;

/// How often the memory of the hosts is looked at.
const LOOK: Duration = Duration::from_millis(20);

pub(super) fn measure(setting: &Setting) -> Result<Vec<Figure>> {
    let Some(lattice) = Lattice::start(setting)? else { return Ok(Vec::new()) };
    start(&lattice)?;
    let url = lattice.url();
    let directory = tempfile::tempdir()?;
    let mut native = setting.cores.server(&setting.driver);
    let _native = Server::start(native.args(["handle-messages", &url]), &directory.path().join("native.log"))?;

    let send = |count: &str| {
        let mut driver = setting.cores.load(&setting.driver);
        figures(driver.args(["messages", &url, "--count", count]))
    };
    send(WARM_UP)?;
    let before = lattice.resident_bytes()?;
    let (measured, most) = watched(&lattice, before, || send(COUNT))?;
    let mut measured = measured?;
    let mut take = |name: &str| measured.remove(name).with_context(|| format!("the driver did not measure {name}"));
    let actor = Figure::absolute("messages.jetstream", "messages/s", take("actor")?);
    let lost = vec![take("lost")?.iter().sum()];
    let grown = (most - before) as f64 / f64::from(1 << 20);
    Ok(vec![
        actor.against("native handler", &take("plain")?),
        Figure::absolute("messages.lost", "of 100,000", lost).at_most(0.0),
        Figure::absolute("messages.twice", "of 100,000", vec![take("twice")?.iter().sum()]),
        Figure::absolute("messages.growth_mib", "MiB", vec![grown]).at_most(FLAT_MIB),
    ])
}

/// The provider on one host, the actor that handles `orders.*` on another.
fn start(lattice: &Lattice<'_>) -> Result<()> {
    let broker = format!("cluster_uris={}", lattice.url());
    let streams = "stream_subjects=orders.*,plain.*,seen.>";
    lattice.run(&["config", "put", "broker", "backend=jetstream", &broker, streams])?;
    lattice.run(&["config", "put", "listens", "subscriptions=orders.*", "max_in_flight=256"])?;
    lattice.run(&["start", "provider", "messaging", "builtin:messaging", "--host", "one", "--config", "broker"])?;
    lattice.run(&["link", "put", "listener", "messaging", "wasmcloud:messaging/consumer"])?;
    let handler = "wasmcloud:messaging/handler";
    lattice.run(&["link", "put", "messaging", "listener", handler, "--source-config", "listens"])?;
    let listener = lattice.sign("listener", &["wasmcloud:messaging/*"])?.display().to_string();
    lattice.run(&["start", "actor", "listener", &listener, "--host", "two", "--max", "256"])?;
    Ok(())
}

/// What `work` gives, and the most memory that the hosts had meanwhile.
fn watched<T: Send>(lattice: &Lattice<'_>, before: u64, work: impl FnOnce() -> T + Send) -> Result<(T, u64)> {
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let working = scope.spawn(|| {
            let outcome = work();
            is_over.store(true, Ordering::Release);
            outcome
        });
        let mut most = before;
        while !is_over.load(Ordering::Acquire) && !working.is_finished() {
            most = most.max(lattice.resident_bytes()?);
            std::thread::park_timeout(LOOK);
        }
        Ok((working.join().ok().context("what was measured panicked")?, most))
    })
}
