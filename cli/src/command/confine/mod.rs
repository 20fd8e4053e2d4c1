//! `trellis confine`, for hosts: gives up what is not a provider's, then becomes its program.
//!
//! A host could bound a process that it has started, but by then its first instructions have run. All that is done here
//! holds for the program, too, and cannot be undone by it: `limits` bounds what it uses, `rights` says as whom it runs,
//! `files` what it opens, `calls` what it asks of the kernel.

mod calls;
mod files;
mod limits;
mod rights;

use std::ffi::OsString;
use std::io::ErrorKind;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use clap::{Args, ValueEnum};
use rustix::process::{Signal, getppid, set_parent_process_death_signal};
use rustix::thread::set_no_new_privs;

use crate::native::UserArg;
use crate::output::{describe, say};

/// The first descriptor that is neither standard input nor output nor error.
const FIRST_OTHER: i32 = 3;

/// The arguments.
#[derive(Debug, Args)]
pub(crate) struct Confine {
    #[command(flatten)]
    limits: limits::Limits,
    /// The user to become, by numbers
    #[arg(long)]
    user: Option<UserArg>,
    /// The process that starts this: when it ends, this ends
    #[arg(long)]
    host_pid: i32,
    /// How far to confine the program
    #[arg(long, value_enum)]
    confinement: Level,
    /// What it may read beside what every program may
    #[arg(long)]
    read: Vec<PathBuf>,
    /// What it may read and write
    #[arg(long)]
    write: Vec<PathBuf>,
    /// Whether it may use Unix sockets: for programs that are trusted not to talk to other servers of this machine
    #[arg(long)]
    unix_sockets: bool,
    /// What to run
    #[arg(last = true, required = true)]
    program: Vec<OsString>,
}

/// How far a program is confined.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Level {
    /// Only its limits hold
    Off,
    /// As far as this kernel can
    Prefer,
    /// Not at all, unless this kernel can
    Require,
}

/// What this kernel lacks for a provider to be confined as it should be, for people.
pub(crate) fn missing() -> Vec<&'static str> {
    files::missing().into_iter().chain(calls::missing()).collect()
}

/// Becomes the program, or says why not.
pub(crate) fn run(arguments: &Confine) -> ExitCode {
    if let Err(error) = confine(arguments) {
        say(format_args!("cannot confine the process of a provider: {}", describe(&error)));
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

/// Each step takes away what a later one does not need.
fn confine(arguments: &Confine) -> anyhow::Result<()> {
    limits::take(&arguments.limits)?;
    // Whoever started the host may have left files open for it, and for what it starts.
    close_fds::set_fds_cloexec(FIRST_OTHER, &[]);
    let user = arguments.user.map(UserArg::user);
    match arguments.confinement {
        Level::Off => rights::become_user(user)?,
        Level::Prefer | Level::Require => rights::give_up(user)?,
    }
    set_no_new_privs(true).context("give up new privileges")?;
    end_with(arguments.host_pid)?;
    if arguments.confinement == Level::Off {
        return Ok(());
    }
    let missing = missing();
    if arguments.confinement == Level::Require && !missing.is_empty() {
        bail!("this kernel has no {}, and the host is to run no provider without", missing.join(", no "));
    }
    // Asked before, since `files` takes away what says so.
    let can_filter = calls::missing().is_none();
    files::keep_to(&files::Allowed {
        program: arguments.program[0].as_ref(),
        readable: &arguments.read,
        writable: &arguments.write,
    })?;
    if can_filter {
        calls::refuse(if arguments.unix_sockets { calls::NETWORK_AND_UNIX } else { calls::NETWORK })?;
    }
    Ok(())
}

/// Ends this process when the host ends. After the user was changed, since that forgets it.
fn end_with(host_pid: i32) -> anyhow::Result<()> {
    set_parent_process_death_signal(Some(Signal::KILL)).context("end with the host")?;
    // It may have ended before the signal was asked for.
    match getppid().is_some_and(|parent| parent.as_raw_nonzero().get() == host_pid) {
        true => Ok(()),
        false => bail!("its host has ended"),
    }
}
