//! What this process uses, in which clients are as well: memory at its peak, and time of the processor.

use std::time::Duration;

/// What it may grow by.
const MAX_GROWTH_BYTES: u64 = 64 << 20;
/// What it may work for: far more than any attack here takes, far less than one that works.
const MAX_WORK: Duration = Duration::from_secs(20);

/// What it had used when an attack began.
pub(crate) struct Usage {
    peak_bytes: u64,
    worked: Duration,
}

impl Usage {
    /// Measures from here on.
    pub(crate) fn begin() -> Self {
        std::fs::write("/proc/self/clear_refs", "5").expect("Linux lets a process reset its own peak");
        Self { peak_bytes: peak_bytes(), worked: worked() }
    }

    /// Says what `attack` took, which must not be much.
    pub(crate) fn check(&self, attack: &str) {
        let growth = peak_bytes().saturating_sub(self.peak_bytes);
        let work = worked().saturating_sub(self.worked);
        eprintln!("{attack}: grew by {} MiB, worked for {} ms", growth >> 20, work.as_millis());
        assert!(growth < MAX_GROWTH_BYTES, "{attack}: grew by {} MiB", growth >> 20);
        assert!(work < MAX_WORK, "{attack}: worked for {work:?}");
    }
}

/// The most that this process had in memory since it was started, or since that was reset.
fn peak_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("Linux has VmHWM");
    let kib: u64 = line.trim().trim_end_matches(" kB").parse().expect("a number");
    kib << 10
}

/// How long its threads have run, to ten milliseconds.
fn worked() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").expect("Linux");
    // The name of the program, in brackets, may have spaces in it; after it, user and system time are the 12th and 13th.
    let (_, fields) = stat.rsplit_once(") ").expect("it has a name");
    let ticks = fields.split(' ').skip(11).take(2).map(|field| field.parse::<u64>().expect("a number"));
    Duration::from_millis(10 * ticks.sum::<u64>())
}
