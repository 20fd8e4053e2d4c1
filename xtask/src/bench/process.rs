//! Processes with a processor of their own, and what they take of the machine.

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::environment::Environment;
use crate::step;

/// How long a server may take until it answers.
const START_LIMIT: Duration = Duration::from_secs(30);

/// How long a server may take for one answer.
const ANSWER: Duration = Duration::from_secs(5);

/// How often a server that does not answer yet is asked.
const POLL: Duration = Duration::from_millis(1);

/// Which processor does what.
pub(crate) struct Cores {
    taskset: Option<PathBuf>,
}

impl Cores {
    /// Servers get the first processor, load the second, where there are two and `taskset` can say so.
    pub(crate) fn find(environment: &Environment) -> Result<Self> {
        let count = std::thread::available_parallelism()?.get();
        let taskset = environment.find_program("taskset").filter(|_| count > 1);
        if taskset.is_none() {
            eprintln!("    nothing is pinned: that needs two processors and `taskset`; figures scatter more");
        }
        Ok(Self { taskset })
    }

    /// `program` on the processor of servers.
    pub(crate) fn server(&self, program: &Path) -> Command {
        self.pinned(program, "0")
    }

    /// `program` on the processor of load.
    pub(crate) fn load(&self, program: &Path) -> Command {
        self.pinned(program, "1")
    }

    fn pinned(&self, program: &Path, core: &str) -> Command {
        let Some(taskset) = &self.taskset else { return Command::new(program) };
        let mut command = Command::new(taskset);
        command.args(["-c", core]).arg(program);
        command
    }
}

/// A server; ended when dropped.
pub(crate) struct Server {
    child: Child,
    log: PathBuf,
}

impl Server {
    /// Starts it; what it prints goes to `log`.
    pub(crate) fn start(command: &mut Command, log: &Path) -> Result<Self> {
        let output = File::create(log).with_context(|| format!("cannot write {}", log.display()))?;
        let errors = output.try_clone()?;
        let child = command.stdin(Stdio::null()).stdout(output).stderr(errors).spawn();
        let child = child.with_context(|| format!("cannot start {command:?}"))?;
        Ok(Self { child, log: log.to_owned() })
    }

    /// Waits until `GET /` is answered with 200 at `address`.
    pub(crate) fn until_answers(&mut self, address: SocketAddr) -> Result<()> {
        self.until("answer with 200", || status_of(address, ANSWER).is_ok_and(|status| status == 200))
    }

    /// Waits until something listens at `address`.
    pub(crate) fn until_listens(&mut self, address: SocketAddr) -> Result<()> {
        self.until("listen", || TcpStream::connect(address).is_ok())
    }

    /// Waits until it is so, unless the server ends before.
    pub(crate) fn until(&mut self, what: &str, is_so: impl Fn() -> bool) -> Result<()> {
        let started = Instant::now();
        while !is_so() {
            let log = || fs::read_to_string(&self.log).unwrap_or_default();
            if let Some(status) = self.child.try_wait()? {
                bail!("a server ended with {status}:\n{}", log());
            }
            if started.elapsed() > START_LIMIT {
                bail!("a server does not {what} within {} s:\n{}", START_LIMIT.as_secs(), log());
            }
            std::thread::park_timeout(POLL);
        }
        Ok(())
    }

    /// Resident memory, in bytes.
    pub(crate) fn resident_bytes(&self) -> Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS in /proc")?;
        let kib: u64 = line.trim().trim_end_matches(" kB").parse()?;
        Ok(kib << 10)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Only this child: `taskset` replaces itself by the program.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// An address that nobody listens at now.
pub(crate) fn free_address() -> Result<SocketAddr> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?)
}

/// The status of `GET /`, if it comes within `patience`.
pub(crate) fn status_of(address: SocketAddr, patience: Duration) -> Result<u16> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(patience))?;
    stream.write_all(format!("GET / HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").as_bytes())?;
    let mut start = [0; 12];
    stream.read_exact(&mut start)?;
    Ok(std::str::from_utf8(&start[9..])?.parse()?)
}

/// What a program prints as JSON.
pub(crate) fn json<T: serde::de::DeserializeOwned>(command: &mut Command) -> Result<T> {
    let text = step::output(command)?;
    serde_json::from_str(&text).with_context(|| format!("{command:?} printed {text:?}"))
}
