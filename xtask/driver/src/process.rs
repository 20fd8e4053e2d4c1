//! What this process takes of the machine, from /proc.

use std::time::Duration;

use anyhow::Context as _;

/// Resident memory, in bytes.
pub(crate) fn resident_bytes() -> anyhow::Result<u64> {
    status("VmRSS:")
}

/// The most resident memory that this process ever had, in bytes.
pub(crate) fn peak_resident_bytes() -> anyhow::Result<u64> {
    status("VmHWM:")
}

fn status(name: &str) -> anyhow::Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    let line = line.with_context(|| format!("no {name} in /proc/self/status"))?;
    let kib: u64 = line.trim().trim_end_matches(" kB").parse()?;
    Ok(kib << 10)
}

/// Time on a processor of the calling thread, in nanoseconds' steps.
pub(crate) fn thread_cpu_time() -> anyhow::Result<Duration> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat")?;
    let nanoseconds = text.split_whitespace().next().context("nothing in /proc/thread-self/schedstat")?;
    Ok(Duration::from_nanos(nanoseconds.parse()?))
}

/// Time on a processor since the start of this process, threads that have ended included; in steps of 10 ms.
pub(crate) fn cpu_time() -> anyhow::Result<Duration> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    // The program's name, in parentheses, may hold blanks.
    let (_, fields) = stat.rsplit_once(')').context("no name in /proc/self/stat")?;
    let ticks = |index| fields.split_whitespace().nth(index).context("too few fields in /proc/self/stat");
    let (user, system): (u64, u64) = (ticks(11)?.parse()?, ticks(12)?.parse()?);
    Ok(Duration::from_millis((user + system) * 10))
}
