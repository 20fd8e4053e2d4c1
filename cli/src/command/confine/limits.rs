//! What a process may use: limits that the kernel keeps for it, and the control group that a host made for it.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::Args;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// How much more than private memory a process may address: code, files and stacks that it only reserves.
const ADDRESSED: u64 = 8;

/// The limits.
#[derive(Debug, Args)]
pub(super) struct Limits {
    /// Private memory
    #[arg(long)]
    memory_bytes: u64,
    /// Open files and sockets
    #[arg(long)]
    open_files: u64,
    /// The largest file that it writes
    #[arg(long)]
    file_bytes: u64,
    /// Processes and threads of the user
    #[arg(long)]
    processes: Option<u64>,
    /// The folder of a control group that it goes into
    #[arg(long)]
    group: Vec<PathBuf>,
}

/// Takes them on this process.
pub(super) fn take(limits: &Limits) -> anyhow::Result<()> {
    for group in &limits.group {
        // This process by the number that stands for whoever writes it.
        std::fs::write(group.join("cgroup.procs"), "0")
            .with_context(|| format!("go into the control group {}", group.display()))?;
    }
    let memory = [
        (Resource::Data, limits.memory_bytes),
        (Resource::As, limits.memory_bytes.saturating_mul(ADDRESSED)),
        (Resource::Fsize, limits.file_bytes),
        (Resource::Nofile, limits.open_files),
        (Resource::Core, 0),
    ];
    for (resource, most) in memory {
        lower(resource, most)?;
    }
    // A user of its own has all of them to itself. Beside others it gets half of what their user may have, so that the
    // rest goes on when it takes all that it gets.
    match limits.processes {
        Some(processes) => lower(Resource::Nproc, processes),
        None => match getrlimit(Resource::Nproc).maximum {
            Some(all) => lower(Resource::Nproc, all / 2),
            None => Ok(()),
        },
    }
}

/// Lowers a limit; one that is lower already stays.
fn lower(resource: Resource, most: u64) -> anyhow::Result<()> {
    let most = getrlimit(resource).maximum.map_or(most, |allowed| allowed.min(most));
    setrlimit(resource, Rlimit { current: Some(most), maximum: Some(most) })
        .with_context(|| format!("take the limit {resource:?}"))
}
