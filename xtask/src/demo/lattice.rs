//! The process of the demo, and commands run against it. The process ends when the value is dropped.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::step;

/// How long the hosts may take until they answer, and a command until it has ended.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long the lattice may take to end when it is asked to.
const STOP_PATIENCE: Duration = Duration::from_secs(20);
const LOOK: Duration = Duration::from_millis(50);

/// A running `trellis up`.
pub(super) struct Lattice {
    trellis: PathBuf,
    folder: PathBuf,
    hosts: &'static [&'static str],
    child: Child,
    is_ended: Arc<AtomicBool>,
}

impl Lattice {
    /// Starts `trellis up` with these hosts and all that it keeps in `folder`, and waits until the hosts answer.
    pub(super) fn start(
        trellis: &Path,
        folder: &Path,
        hosts: &'static [&'static str],
        is_ended: Arc<AtomicBool>,
    ) -> Result<Self> {
        let child = spawn(trellis, folder, hosts)?;
        let mut lattice = Self { trellis: trellis.to_owned(), folder: folder.to_owned(), hosts, child, is_ended };
        lattice.wait_for_hosts()?;
        Ok(lattice)
    }

    /// Ends the process without a word, as a loss of power does.
    pub(super) fn kill(&mut self) -> Result<()> {
        self.child.kill().context("cannot kill the lattice")?;
        self.child.wait().context("the lattice does not end").map(drop)
    }

    /// Starts it with all that it kept, and waits until the hosts answer.
    pub(super) fn start_again(&mut self) -> Result<()> {
        self.child = spawn(&self.trellis, &self.folder, self.hosts)?;
        self.wait_for_hosts()
    }

    fn wait_for_hosts(&mut self) -> Result<()> {
        let started = Instant::now();
        loop {
            if let Some(status) = self.ended()? {
                return Err(self.explain(anyhow::anyhow!("`trellis up` ended with {status}")));
            }
            let seen = self.json(&["get", "hosts"]);
            if seen.as_ref().is_ok_and(|hosts| hosts.as_array().is_some_and(|hosts| hosts.len() == self.hosts.len())) {
                return Ok(());
            }
            if started.elapsed() > PATIENCE {
                return Err(self.explain(anyhow::anyhow!("the hosts do not answer; last seen: {seen:?}")));
            }
            std::thread::park_timeout(LOOK);
        }
    }

    /// Runs a command that must succeed, and shows it as a user would type it.
    pub(super) fn show(&self, arguments: &[&str]) -> Result<()> {
        eprintln!("    $ trellis {}", arguments.join(" "));
        self.run(arguments).map(drop)
    }

    /// The same with `input` on standard input.
    pub(super) fn show_with_input(&self, arguments: &[&str], input: &str) -> Result<()> {
        eprintln!("    $ trellis {} < …", arguments.join(" "));
        let file = self.folder.join("command.in");
        File::create(&file).and_then(|mut file| file.write_all(input.as_bytes())).context("cannot write the input")?;
        self.run_with(arguments, Stdio::from(File::open(&file)?)).map(drop)
    }

    /// Runs a command that must succeed within its time; its standard output.
    pub(super) fn run(&self, arguments: &[&str]) -> Result<String> {
        self.run_with(arguments, Stdio::null())
    }

    fn run_with(&self, arguments: &[&str], input: Stdio) -> Result<String> {
        if self.is_ended.load(Ordering::Relaxed) {
            bail!("interrupted");
        }
        let (output, errors) = (self.folder.join("command.out"), self.folder.join("command.err"));
        let mut command = command(&self.trellis, &self.folder);
        command.args(arguments).stdin(input);
        command.stdout(File::create(&output)?).stderr(File::create(&errors)?);
        let mut child = command.spawn().context("cannot start trellis")?;
        let Some(status) = step::wait_until(&mut child, PATIENCE)? else {
            bail!("`trellis {}` took more than {} s", arguments.join(" "), PATIENCE.as_secs());
        };
        if !status.success() {
            let text = fs::read_to_string(&errors).unwrap_or_default();
            bail!("`trellis {}` ended with {status}: {}", arguments.join(" "), text.trim());
        }
        fs::read_to_string(&output).context("cannot read the output of trellis")
    }

    fn json(&self, arguments: &[&str]) -> Result<Value> {
        let mut all = arguments.to_vec();
        all.extend(["--output", "json"]);
        serde_json::from_str(&self.run(&all)?).context("trellis did not write JSON")
    }

    /// The host's name for each actor, as the hosts themselves say.
    pub(super) fn hosts_of_actors(&self) -> Result<BTreeMap<String, String>> {
        let inventories = self.json(&["get", "inventory"])?;
        let mut hosts = BTreeMap::new();
        for inventory in inventories.as_array().into_iter().flatten() {
            let name = inventory["friendly_name"].as_str().unwrap_or_default();
            for actor in inventory["components"].as_array().into_iter().flatten() {
                hosts.insert(actor["id"].as_str().unwrap_or_default().to_owned(), name.to_owned());
            }
        }
        Ok(hosts)
    }

    /// The folder with all that it keeps, in which commands run.
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// How a user reaches this lattice.
    pub(super) fn command_line(&self) -> String {
        format!("{} --data-dir {}", self.trellis.display(), self.folder.join("data").display())
    }

    /// What the lattice has logged.
    pub(super) fn log(&self) -> String {
        step::tail(&self.folder.join("up.log"))
    }

    /// An error with the end of the log, which may say why.
    pub(super) fn explain(&self, error: anyhow::Error) -> anyhow::Error {
        error.context(format!("the end of the lattice's log:\n{}\n", self.log()))
    }

    /// How the process has ended, if it has.
    pub(super) fn ended(&mut self) -> Result<Option<ExitStatus>> {
        Ok(self.child.try_wait()?)
    }

    /// Ends the process in order.
    pub(super) fn stop(mut self) -> Result<()> {
        kill_process(pid(&self.child), Signal::TERM).context("cannot end the lattice")?;
        match step::wait_until(&mut self.child, STOP_PATIENCE)? {
            Some(status) if status.success() => Ok(()),
            Some(status) => Err(self.explain(anyhow::anyhow!("the lattice ended with {status}"))),
            None => bail!("the lattice had to be killed after {} s", STOP_PATIENCE.as_secs()),
        }
    }
}

impl Drop for Lattice {
    fn drop(&mut self) {
        // Both fail only if it has ended, which is what is wanted.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// `trellis up`, with what it says at the end of its log.
fn spawn(trellis: &Path, folder: &Path, hosts: &[&str]) -> Result<Child> {
    let log = File::options().create(true).append(true).open(folder.join("up.log"));
    let log = log.context("cannot write the log of the lattice")?;
    let mut command = command(trellis, folder);
    command.arg("up");
    for host in hosts {
        command.args(["--host", host]);
    }
    // In a process group of its own, so that Ctrl-C reaches us alone and we end it in order.
    std::os::unix::process::CommandExt::process_group(&mut command, 0);
    command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
    command.spawn().with_context(|| format!("cannot start {}", trellis.display()))
}

/// `trellis` with a data directory of its own and without what the user's environment says to it.
fn command(trellis: &Path, folder: &Path) -> Command {
    let mut command = Command::new(trellis);
    command.current_dir(folder).env_clear().env("TRELLIS_DATA_DIR", folder.join("data")).env("RUST_LOG", "info");
    command
}

fn pid(child: &Child) -> Pid {
    Pid::from_child(child)
}
