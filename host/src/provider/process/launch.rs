//! Starting a process: with an empty environment, a socket as standard input, a group of its own, and limits.

use std::ffi::OsString;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::net::UnixStream;
use tokio::process::{Child, Command};
use trellis_lattice::id::EntityId;

use super::output;
use crate::config::{Native, User};

/// The longest that a process may take to end when its socket was closed.
const END_TIMEOUT: Duration = Duration::from_secs(2);

/// What is to be run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Program {
    /// The file.
    pub(crate) file: PathBuf,
    /// Its arguments.
    pub(crate) arguments: Vec<OsString>,
}

/// A process with all that it started. Dropped, all of it is killed.
pub(super) struct Process {
    child: Child,
    group: Option<Pid>,
}

/// Starts `program`; the socket is the host's end of its standard input.
///
/// # Errors
/// As the system has it.
pub(super) fn launch(program: &Program, native: &Native, id: &EntityId) -> std::io::Result<(Process, UnixStream)> {
    let (own, given) = std::os::unix::net::UnixStream::pair()?;
    own.set_nonblocking(true)?;
    let mut command = confined(program, native);
    command
        .env_clear()
        .current_dir("/")
        .stdin(Stdio::from(OwnedFd::from(given)))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true);
    if let Some(User { uid, gid }) = native.user {
        command.uid(uid).gid(gid);
    }
    // On a thread that lives as long as the host: the process is ended when the thread that started it does.
    let mut child = command.spawn()?;
    let group = child.id().and_then(|pid| i32::try_from(pid).ok()).and_then(Pid::from_raw);
    output::follow(id, child.stdout.take());
    output::follow(id, child.stderr.take());
    Ok((Process { child, group }, UnixStream::from_std(own)?))
}

/// The program, started by way of one that first takes limits on itself: before the first instruction of it runs.
fn confined(program: &Program, native: &Native) -> Command {
    let Some(own) = &native.own else {
        let mut command = Command::new(&program.file);
        command.args(&program.arguments);
        return command;
    };
    let mut command = Command::new(own);
    command.arg("confine");
    command.arg(format!("--host-pid={}", std::process::id()));
    command.arg(format!("--memory-bytes={}", native.limits.memory_bytes));
    command.arg(format!("--open-files={}", native.limits.open_files));
    if native.user.is_some() {
        // The system counts all processes of a user: with the host's own it would count the host.
        command.arg(format!("--processes={}", native.limits.processes));
    }
    command.arg("--").arg(&program.file).args(&program.arguments);
    command
}

impl Process {
    /// Waits for it to end; how it did, for people. What it started ends with it. Cancel safe.
    pub(super) async fn ended(&mut self) -> String {
        let status = self.child.wait().await;
        self.kill();
        match status {
            Ok(status) => status.to_string(),
            Err(error) => format!("its end was missed: {error}"),
        }
    }

    /// Gives it a moment to end by itself, then ends it.
    pub(super) async fn end(mut self) {
        // Too late is the same as not at all.
        let _ = tokio::time::timeout(END_TIMEOUT, self.ended()).await;
    }

    /// Ends it and all that it started.
    pub(super) fn kill(&mut self) {
        if let Some(group) = self.group {
            // An error means that nobody is left in the group.
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // After its end was seen, the number may belong to somebody else.
        if self.child.id().is_some() {
            self.kill();
        }
    }
}
