//! `trellis` as a process: commands that end, and servers that are ended.

use std::io::{BufRead as _, BufReader, Read, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};

use super::wait;

/// The `trellis` that was built beside this test.
pub(crate) fn binary() -> PathBuf {
    let test = std::env::current_exe().expect("a test has a path");
    let profile = test.parent().and_then(Path::parent).expect("tests lie in <profile>/deps");
    let binary = profile.join("trellis");
    assert!(binary.exists(), "{} is missing: `cargo xtask test` builds it", binary.display());
    binary
}

/// What a command that ended left behind.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Outcome {
    /// The standard output of a command that succeeded.
    pub(crate) fn ok(self) -> String {
        assert!(self.status.success(), "exit {}\nstdout: {}\nstderr: {}", self.status, self.stdout, self.stderr);
        self.stdout
    }

    /// The standard error of a command that failed.
    pub(crate) fn refused(self) -> String {
        assert!(!self.status.success(), "it succeeded\nstdout: {}\nstderr: {}", self.stdout, self.stderr);
        self.stderr
    }
}

/// Runs `trellis` with `arguments` and the data directory `data`, to its end.
pub(crate) fn run(data: &Path, arguments: &[&str]) -> Outcome {
    let output = command(data, arguments).output().expect("trellis runs");
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Outcome { status: output.status, stdout: text(output.stdout), stderr: text(output.stderr) }
}

/// The same with `input` on standard input.
pub(crate) fn run_with_input(data: &Path, arguments: &[&str], input: &[u8]) -> Outcome {
    let mut command = command(data, arguments);
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("trellis starts");
    child.stdin.take().expect("piped").write_all(input).expect("it reads");
    let output = child.wait_with_output().expect("trellis runs");
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Outcome { status: output.status, stdout: text(output.stdout), stderr: text(output.stderr) }
}

fn command(data: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(binary());
    command.env_clear().env("TRELLIS_DATA_DIR", data).env("RUST_LOG", "info").args(arguments).stdin(Stdio::null());
    command
}

/// A `trellis` process that serves until it is ended; killed when dropped.
#[derive(Debug)]
pub(crate) struct Server {
    child: Child,
    output: Arc<Mutex<String>>,
}

impl Server {
    /// Starts `trellis` with `arguments` and the data directory `data`.
    pub(crate) fn start(data: &Path, arguments: &[&str]) -> Self {
        Self::spawn(command(data, arguments))
    }

    /// The same from a shell that runs `before`, e.g. to leave something open or in the environment.
    pub(crate) fn start_after(before: &str, data: &Path, arguments: &[&str]) -> Self {
        let mut shell = Command::new("/bin/sh");
        shell.args(["-c", &format!("{before}\nexec \"$0\" \"$@\"")]).arg(binary()).args(arguments);
        shell.env_clear().env("TRELLIS_DATA_DIR", data).env("RUST_LOG", "info").stdin(Stdio::null());
        Self::spawn(shell)
    }

    fn spawn(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("trellis starts");
        let output = Arc::default();
        collect(child.stdout.take().expect("piped"), &output);
        collect(child.stderr.take().expect("piped"), &output);
        Self { child, output }
    }

    /// All that it printed so far.
    pub(crate) fn output(&self) -> String {
        self.output.lock().expect("no reader panics").clone()
    }

    /// Waits until it printed `text`.
    pub(crate) fn wait_for(&self, text: &str) {
        wait::until(&format!("{text:?} in the output"), || {
            let output = self.output();
            if output.contains(text) { Ok(()) } else { Err(output) }
        });
    }

    /// Its process id.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Resident memory, in bytes.
    pub(crate) fn resident_bytes(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.id())).expect("it runs");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("Linux has VmRSS");
        let kib: u64 = line.trim().trim_end_matches(" kB").parse().expect("a number");
        kib * 1_024
    }

    /// Asks it to stop (SIGTERM) and waits until it did.
    pub(crate) fn terminate(self) -> (ExitStatus, String) {
        self.signal("TERM");
        self.wait()
    }

    /// Sends it the signal of that name.
    pub(crate) fn signal(&self, name: &str) {
        let status = Command::new("kill").args(["-s", name, &self.id().to_string()]).status().expect("kill runs");
        assert!(status.success(), "it had ended before");
    }

    /// Waits until it ended.
    pub(crate) fn wait(mut self) -> (ExitStatus, String) {
        let status = wait::until("the end of the process", || match self.child.try_wait() {
            Ok(Some(status)) => Ok(status),
            other => Err(format!("{other:?}: {}", self.output())),
        });
        (status, self.output())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself; then there is nothing to kill.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("--- output of process {} ---\n{}", self.id(), self.output());
        }
    }
}

/// The process of the built-in provider `name` that the process `host` has started.
pub(crate) fn provider_of(host: u32, name: &str) -> u32 {
    wait::until("the process of a provider", || {
        let processes = std::fs::read_dir("/proc").expect("Linux").flatten();
        let pids = processes.filter_map(|entry| entry.file_name().to_string_lossy().parse::<u32>().ok());
        let found = pids.filter(|pid| parent(*pid) == Some(host)).find(|pid| {
            let arguments = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            let arguments: Vec<_> = arguments.split(|byte| *byte == 0).collect();
            arguments.get(1..3) == Some(&[b"provider", name.as_bytes()])
        });
        found.ok_or_else(|| format!("{host} has none"))
    })
}

fn parent(pid: u32) -> Option<u32> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    status.lines().find_map(|line| line.strip_prefix("PPid:"))?.trim().parse().ok()
}

/// Sends the signal of that name.
pub(crate) fn signal(pid: u32, name: &str) {
    assert!(Command::new("kill").args(["-s", name, &pid.to_string()]).status().expect("kill runs").success());
}

fn collect(stream: impl Read + Send + 'static, output: &Arc<Mutex<String>>) {
    let output = Arc::clone(output);
    std::thread::spawn(move || {
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            let mut output = output.lock().expect("no reader panics");
            output.push_str(&line);
            output.push('\n');
        }
    });
}
