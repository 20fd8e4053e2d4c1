//! Where this host may make control groups for the processes of its providers.
//!
//! Of version 2 that is the group that the host itself was given, if it is there alone (systemd: `Delegate=yes`): the
//! kernel wants processes in leaves only, so the host moves into one below. Of version 1 each controller has a tree of
//! its own, and groups are made below the host's.

use std::path::{Path, PathBuf};

/// Where systems mount control groups.
const MOUNTED: &str = "/sys/fs/cgroup";
/// What is needed: threads and memory.
const CONTROLLERS: [&str; 2] = ["pids", "memory"];
/// The group of version 2 that a host moves into.
const LEAF: &str = "trellis-host";

/// The groups below which a host makes one for each process.
///
/// # Errors
/// Why there are none, for people.
pub(crate) fn parents() -> Result<Vec<PathBuf>, String> {
    let own = std::fs::read_to_string("/proc/self/cgroup").map_err(|error| format!("/proc/self/cgroup: {error}"))?;
    let parents = find(Path::new(MOUNTED), &own)?;
    for parent in &parents {
        remove_old(parent);
        may_make(parent)?;
    }
    Ok(parents)
}

/// Those below `mounted`, for a process whose groups are `own`, as the kernel lists them.
fn find(mounted: &Path, own: &str) -> Result<Vec<PathBuf>, String> {
    if mounted.join("cgroup.controllers").is_file() {
        let path = own.lines().find_map(|line| line.strip_prefix("0::/")).ok_or("this process is in no group")?;
        return delegated(&mounted.join(path)).map(|parent| vec![parent]);
    }
    let parent = |controller: &str| {
        let path = own.lines().find_map(|line| {
            let (controllers, path) = line.split_once(':')?.1.split_once(":/")?;
            controllers.split(',').any(|name| name == controller).then_some(path)
        });
        let parent = path.map(|path| mounted.join(controller).join(path)).filter(|parent| parent.is_dir());
        parent.ok_or_else(|| format!("there is no controller {controller} in {}", mounted.display()))
    };
    CONTROLLERS.into_iter().map(parent).collect()
}

/// The group `own` of version 2, once groups below it have controllers.
fn delegated(own: &Path) -> Result<PathBuf, String> {
    let said = |what: &str, error: &std::io::Error| format!("{what} {}: {error}", own.display());
    let read = |file: &str| std::fs::read_to_string(own.join(file)).unwrap_or_default();
    let has = |names: &str| CONTROLLERS.iter().all(|name| names.split_whitespace().any(|known| known == *name));
    if own.ends_with(LEAF) {
        // A host before this one, or whoever started it, has done what follows.
        return own.parent().map(Path::to_owned).ok_or_else(|| "this process is in no group".to_owned());
    }
    if !has(&read("cgroup.controllers")) {
        return Err(format!("{} has no pids and memory to give (systemd: Delegate=yes)", own.display()));
    }
    if has(&read("cgroup.subtree_control")) {
        return Ok(own.to_owned());
    }
    let alone = read("cgroup.procs").lines().all(|pid| pid == std::process::id().to_string());
    if !alone {
        return Err(format!("{} has other processes than this host (systemd: Delegate=yes)", own.display()));
    }
    let leaf = own.join(LEAF);
    if !leaf.is_dir() {
        std::fs::create_dir(&leaf).map_err(|error| said("cannot make a group below", &error))?;
    }
    std::fs::write(leaf.join("cgroup.procs"), "0").map_err(|error| said("cannot move within", &error))?;
    std::fs::write(own.join("cgroup.subtree_control"), "+pids +memory").map_err(|error| {
        // As it was; the group is ours still.
        let _ = std::fs::write(own.join("cgroup.procs"), "0");
        said("cannot give controllers to groups below", &error)
    })?;
    Ok(own.to_owned())
}

/// Tries it: a folder that can be written to may be read-only all the same.
fn may_make(parent: &Path) -> Result<(), String> {
    let probe = parent.join(format!("trellis-{}-probe", std::process::id()));
    let made = std::fs::create_dir(&probe).and_then(|()| std::fs::remove_dir(&probe));
    made.map_err(|error| format!("cannot make a group in {}: {error}", parent.display()))
}

/// Removes what hosts that ended have left. A group in which something runs cannot be removed.
fn remove_old(parent: &Path) {
    let Ok(entries) = std::fs::read_dir(parent) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let host = name.strip_prefix("trellis-").and_then(|rest| rest.split_once('-')?.0.parse::<u32>().ok());
        if host.is_some_and(|host| !Path::new(&format!("/proc/{host}")).exists()) {
            // The next host tries again.
            let _ = std::fs::remove_dir(entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{LEAF, find, remove_old};

    fn write(file: &Path, text: &str) {
        std::fs::create_dir_all(file.parent().expect("is below")).expect("made");
        std::fs::write(file, text).expect("written");
    }

    #[test]
    fn of_version_one_each_controller_has_its_own_tree() {
        let mounted = tempfile::tempdir().expect("a folder");
        let own = "9:name=systemd:/\n8:pids:/\n4:cpu,memory:/a/b\n0::/\n";
        let error = find(mounted.path(), own).expect_err("nothing is mounted");
        assert!(error.contains("pids"), "{error}");
        for folder in ["pids", "memory/a/b"] {
            std::fs::create_dir_all(mounted.path().join(folder)).expect("made");
        }
        let found = find(mounted.path(), own).expect("found");
        assert_eq!(found, [mounted.path().join("pids"), mounted.path().join("memory/a/b")]);
    }

    #[test]
    fn of_version_two_a_host_uses_the_group_that_it_has_alone() {
        let mounted = tempfile::tempdir().expect("a folder");
        write(&mounted.path().join("cgroup.controllers"), "cpu memory pids");
        let own = mounted.path().join("host.service");
        let find = |path: &str| find(mounted.path(), &format!("0::/{path}\n"));
        write(&own.join("cgroup.controllers"), "cpu");
        assert!(find("host.service").expect_err("nothing to give").contains("Delegate=yes"));
        write(&own.join("cgroup.controllers"), "cpu memory pids");
        write(&own.join("cgroup.procs"), &format!("{}\n1\n", std::process::id()));
        assert!(find("host.service").expect_err("not alone").contains("other processes"));
        write(&own.join("cgroup.procs"), &format!("{}\n", std::process::id()));
        assert_eq!(find("host.service").expect("alone"), std::slice::from_ref(&own));
        let given = std::fs::read_to_string(own.join("cgroup.subtree_control")).expect("given");
        assert_eq!(given, "+pids +memory");
        assert_eq!(std::fs::read_to_string(own.join(LEAF).join("cgroup.procs")).expect("moved"), "0");
        assert_eq!(find(&format!("host.service/{LEAF}")).expect("moved before"), [own]);
    }

    #[test]
    fn what_hosts_that_ended_have_left_is_removed() {
        let parent = tempfile::tempdir().expect("a folder");
        // No process has a number like the first.
        let (old, own) = ("trellis-4194999-1".to_owned(), format!("trellis-{}-1", std::process::id()));
        for name in [&*old, &*own, "others"] {
            std::fs::create_dir(parent.path().join(name)).expect("made");
        }
        remove_old(parent.path());
        let left = |name: &str| parent.path().join(name).is_dir();
        assert!(!left(&old) && left(&own) && left("others"));
    }
}
