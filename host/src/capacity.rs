//! What this machine, or the part of it that this process may use, has room for.

use std::path::Path;

use trellis_lattice::message::inventory::Capacity;

/// Where the kernel says how much memory there is, and how much of it a control group may use.
const MEMINFO: &str = "/proc/meminfo";
const CGROUP_LIMIT: &str = "/sys/fs/cgroup/memory.max";

/// As it is now, with room for `max_instances` instances.
pub(crate) fn measure(max_instances: u32) -> Capacity {
    let read = |path: &str| std::fs::read_to_string(Path::new(path)).unwrap_or_default();
    let memory_bytes = memory_bytes(&read(MEMINFO), &read(CGROUP_LIMIT));
    // Knows of the quota of a control group as well.
    let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get() as u64);
    Capacity { memory_bytes, cpu_millis: cores * 1_000, max_instances }
}

/// The lower of what the machine has and what the group may use; 0 where neither can be read.
fn memory_bytes(meminfo: &str, limit: &str) -> u64 {
    let total = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    let kib = total.and_then(|rest| rest.trim().trim_end_matches("kB").trim().parse::<u64>().ok());
    let total = kib.map(|kib| kib * 1_024);
    let limit = limit.trim().parse::<u64>().ok();
    total.into_iter().chain(limit).min().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::{measure, memory_bytes};

    #[test]
    fn memory_is_the_lower_of_machine_and_group() {
        let meminfo = "MemTotal:        8000 kB\nMemFree:         100 kB\n";
        assert_eq!(memory_bytes(meminfo, "max\n"), 8_192_000);
        assert_eq!(memory_bytes(meminfo, "4096\n"), 4_096);
        assert_eq!(memory_bytes("", ""), 0);
    }

    #[test]
    fn this_machine_has_some() {
        let capacity = measure(7);
        assert!(capacity.cpu_millis >= 1_000 && capacity.max_instances == 7, "{capacity:?}");
    }
}
