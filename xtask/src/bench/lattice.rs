//! A lattice of processes: a nats-server, a wadm and three hosts, all on the processor of servers.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::Setting;
use super::process::{Server, free_address, status_of};
use crate::step;

/// The hosts; the first one has a label of its own. Of three the loss of one is less than half: wadm may conclude from it.
pub(super) const HOSTS: [(&str, &str); 3] = [("front", "role=front"), ("one", "role=worker"), ("two", "role=worker")];

/// Nothing takes longer.
const PATIENCE: Duration = Duration::from_secs(60);

/// How often something is looked at.
const LOOK: Duration = Duration::from_millis(1);

/// How long an answer may take before the request is made again.
const ANSWER: Duration = Duration::from_millis(250);

/// The processes; all end with it.
pub(super) struct Lattice<'a> {
    setting: &'a Setting,
    directory: tempfile::TempDir,
    nats: SocketAddr,
    hosts: Vec<(&'static str, Server)>,
    _servers: [Server; 2],
}

impl<'a> Lattice<'a> {
    /// Starts all of it; nothing without a nats-server.
    pub(super) fn start(setting: &'a Setting) -> Result<Option<Self>> {
        let Some(nats_server) = &setting.nats_server else {
            eprintln!("    left out: there is no nats-server, `cargo xtask doctor` says where to get it");
            return Ok(None);
        };
        let directory = tempfile::tempdir()?;
        let nats = free_address()?;
        let mut command = setting.cores.server(nats_server);
        command
            .args(["-a", "127.0.0.1", "-js", "-p", &nats.port().to_string(), "-sd"])
            .arg(directory.path().join("js"));
        let mut server = Server::start(&mut command, &directory.path().join("nats.log"))?;
        server.until_listens(nats)?;
        // The first host makes the keys that the others need.
        let first = start_host(setting, directory.path(), nats, HOSTS[0])?;
        let wadm = start_trellis(setting, directory.path(), nats, ("wadm", &["wadm"]))?;
        let _servers = [server, wadm];
        let mut lattice = Self { setting, directory, nats, hosts: vec![(HOSTS[0].0, first)], _servers };
        lattice.until_hosts(1)?;
        for host in &HOSTS[1..] {
            lattice.start_host(host.0)?;
        }
        Ok(Some(lattice))
    }

    /// Starts the host `name` and waits until all that were started are there.
    pub(super) fn start_host(&mut self, name: &str) -> Result<()> {
        let host = *HOSTS.iter().find(|host| host.0 == name).context("no such host")?;
        let server = start_host(self.setting, self.directory.path(), self.nats, host)?;
        self.hosts.push((host.0, server));
        self.until_hosts(self.hosts.len())
    }

    /// Ends the process of the host `name` without a word.
    pub(super) fn kill(&mut self, name: &str) -> Result<()> {
        let at = self.hosts.iter().position(|(host, _)| *host == name).context("no such host runs")?;
        drop(self.hosts.remove(at));
        Ok(())
    }

    /// Where its nats-server is.
    pub(super) fn url(&self) -> String {
        format!("nats://{}", self.nats)
    }

    /// Resident memory of all hosts together.
    pub(super) fn resident_bytes(&self) -> Result<u64> {
        self.hosts.iter().map(|(_, host)| host.resident_bytes()).sum()
    }

    /// The example actor `name`, signed and granted `imports`.
    pub(super) fn sign(&self, name: &str, imports: &[&str]) -> Result<PathBuf> {
        let signed = self.directory.path().join(format!("{name}.signed.wasm"));
        let mut command = self.command(&["sign"]);
        command.arg(self.setting.guests.join(format!("{name}.wasm"))).arg("--out").arg(&signed);
        command.args(imports.iter().flat_map(|import| ["--import", import]));
        step::output(&mut command)?;
        Ok(signed)
    }

    /// A file with this text.
    pub(super) fn write(&self, name: &str, text: &str) -> Result<PathBuf> {
        let file = self.directory.path().join(name);
        std::fs::write(&file, text)?;
        Ok(file)
    }

    /// `trellis` with these arguments, on the processor of load.
    pub(super) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.setting.cores.load(&self.setting.trellis);
        command.args(arguments).args(["--nats-url", &self.url()]);
        command.arg("--data-dir").arg(self.directory.path().join("data"));
        command
    }

    /// Runs `trellis` with these arguments to its end; what it printed.
    pub(super) fn run(&self, arguments: &[&str]) -> Result<String> {
        step::output(&mut self.command(arguments))
    }

    /// The name of the host that runs the actor `id`, once one does.
    pub(super) fn host_of(&self, id: &str) -> Result<String> {
        until(&format!("a host of {id}"), || {
            let inventories: Value = serde_json::from_str(&self.run(&["get", "inventory", "--output", "json"])?)?;
            let runs = |host: &&Value| {
                host["components"].as_array().is_some_and(|all| all.iter().any(|actor| actor["id"] == id))
            };
            let host = inventories.as_array().and_then(|hosts| hosts.iter().find(runs));
            Ok(host.and_then(|host| host["friendly_name"].as_str()).map(str::to_owned))
        })
    }

    /// Waits until the application `app` stands as it was deployed.
    pub(super) fn until_deployed(&self, app: &str) -> Result<()> {
        until(&format!("{app} to be deployed"), || {
            let status: Value = serde_json::from_str(&self.run(&["app", "status", app, "--output", "json"])?)?;
            Ok((status["status"]["type"] == "deployed").then_some(()))
        })
    }

    fn until_hosts(&self, count: usize) -> Result<()> {
        until(&format!("{count} hosts"), || {
            let hosts: Value = serde_json::from_str(&self.run(&["get", "hosts", "--output", "json"])?)?;
            Ok(hosts.as_array().is_some_and(|hosts| hosts.len() == count).then_some(()))
        })
    }
}

/// Milliseconds since `began` until `GET /` is answered with 200 at `address`.
pub(super) fn answered_after(began: Instant, address: SocketAddr) -> Result<f64> {
    until("an answer with 200", || Ok(status_of(address, ANSWER).is_ok_and(|status| status == 200).then_some(())))?;
    Ok(began.elapsed().as_secs_f64() * 1e3)
}

fn start_host(setting: &Setting, directory: &Path, nats: SocketAddr, (name, label): (&str, &str)) -> Result<Server> {
    start_trellis(setting, directory, nats, (name, &["host", "--name", name, "--label", label]))
}

fn start_trellis(
    setting: &Setting,
    directory: &Path,
    nats: SocketAddr,
    (name, arguments): (&str, &[&str]),
) -> Result<Server> {
    let mut command = setting.cores.server(&setting.trellis);
    command.args(arguments).args(["--nats-url", &format!("nats://{nats}")]);
    command.arg("--data-dir").arg(directory.join("data"));
    let log = directory.join(format!("{name}.log"));
    let mut server = Server::start(&mut command, &log)?;
    server.until("join", || std::fs::read_to_string(&log).is_ok_and(|log| log.contains(" in lattice ")))?;
    Ok(server)
}

fn until<T>(what: &str, mut probe: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let began = Instant::now();
    loop {
        if let Some(value) = probe().with_context(|| format!("waiting for {what}"))? {
            return Ok(value);
        }
        if began.elapsed() > PATIENCE {
            bail!("{what} did not happen within {} s", PATIENCE.as_secs());
        }
        std::thread::park_timeout(LOOK);
    }
}
