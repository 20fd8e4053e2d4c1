//! `trellis confine`, for hosts: takes limits on this process, then becomes the program of a provider.
//!
//! A host could set limits on a process that it has started, but by then its first instructions have run.

use std::ffi::OsString;
use std::io::ErrorKind;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use clap::Args;
use rustix::process::{Resource, Rlimit, Signal, getppid, set_parent_process_death_signal, setrlimit};
use rustix::thread::set_no_new_privs;

use crate::output::say;

/// The arguments.
#[derive(Debug, Args)]
pub(crate) struct Confine {
    /// Private memory
    #[arg(long)]
    memory_bytes: u64,
    /// Open files and sockets
    #[arg(long)]
    open_files: u64,
    /// Processes and threads of the user
    #[arg(long)]
    processes: Option<u64>,
    /// The process that starts this: when it ends, this ends
    #[arg(long)]
    host_pid: i32,
    /// What to run
    #[arg(last = true, required = true)]
    program: Vec<OsString>,
}

/// Becomes the program, or says why not.
pub(crate) fn run(arguments: &Confine) -> ExitCode {
    if let Err(error) = confine(arguments) {
        say(format_args!("cannot take limits on a provider's process: {error}"));
        return ExitCode::FAILURE;
    }
    let error = become_program(&arguments.program);
    say(format_args!("cannot run {}: {error}", arguments.program[0].display()));
    ExitCode::FAILURE
}

/// Returns only when it cannot be done. A program that was just written may seem to be written still for a moment.
fn become_program(program: &[OsString]) -> std::io::Error {
    let give_up = Instant::now() + Duration::from_secs(1);
    loop {
        let error = Command::new(&program[0]).args(&program[1..]).exec();
        if error.kind() != ErrorKind::ExecutableFileBusy || Instant::now() > give_up {
            return error;
        }
        std::thread::park_timeout(Duration::from_millis(10));
    }
}

fn confine(arguments: &Confine) -> rustix::io::Result<()> {
    limit(Resource::Data, arguments.memory_bytes)?;
    limit(Resource::Nofile, arguments.open_files)?;
    limit(Resource::Core, 0)?;
    if let Some(processes) = arguments.processes {
        limit(Resource::Nproc, processes)?;
    }
    set_no_new_privs(true)?;
    set_parent_process_death_signal(Some(Signal::KILL))?;
    // It may have ended before the signal was asked for.
    let is_there = getppid().is_some_and(|parent| parent.as_raw_nonzero().get() == arguments.host_pid);
    if is_there { Ok(()) } else { Err(rustix::io::Errno::SRCH) }
}

/// Lowers a limit; one that is lower already stays.
fn limit(resource: Resource, most: u64) -> rustix::io::Result<()> {
    let most = rustix::process::getrlimit(resource).maximum.map_or(most, |allowed| allowed.min(most));
    setrlimit(resource, Rlimit { current: Some(most), maximum: Some(most) })
}
