//! Starting a process: with a socket as standard input, in groups of its own, and ending it with all that it started.
//! What it may do is decided by `confined`.

use std::ffi::OsString;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{DumpableBehavior, Pid, Signal, kill_process_group, set_dumpable_behavior};
use tokio::net::UnixStream;
use tokio::process::Child;
use trellis_lattice::id::EntityId;

use super::group::Group;
use super::{confined, output};
use crate::config::{Confinement, Native};

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
    /// After `child`, so that it is removed after that was killed.
    bounds: Group,
}

/// Starts `program`, whose files are in `data_dir`; the socket is the host's end of its standard input.
///
/// # Errors
/// As the system has it.
pub(super) fn launch(
    program: &Program,
    native: &Native,
    (id, data_dir): (&EntityId, &Path),
) -> std::io::Result<(Process, UnixStream)> {
    let (own, given) = std::os::unix::net::UnixStream::pair()?;
    own.set_nonblocking(true)?;
    let bounds = match native.own {
        Some(_) => Group::make(&native.groups, &native.limits)?,
        None => Group::default(),
    };
    hide(native);
    let mut command = confined::command(program, native, data_dir, &bounds);
    command
        .current_dir("/")
        .stdin(Stdio::from(OwnedFd::from(given)))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true);
    // On a thread that lives as long as the host: the process is ended when the thread that started it does.
    let mut child = command.spawn()?;
    let group = child.id().and_then(|pid| i32::try_from(pid).ok()).and_then(Pid::from_raw);
    output::follow(id, child.stdout.take());
    output::follow(id, child.stderr.take());
    Ok((Process { child, group, bounds }, UnixStream::from_std(own)?))
}

/// Closes the memory of this process to others of its user from now on, for kernels that cannot confine those.
fn hide(native: &Native) {
    if native.own.is_some() && native.confinement != Confinement::Off {
        // It cannot fail with a number that every kernel knows.
        let _ = set_dumpable_behavior(DumpableBehavior::NotDumpable);
    }
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
        self.bounds.kill();
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
