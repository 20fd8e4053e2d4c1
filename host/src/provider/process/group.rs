//! The control group of one process, where the host may make some: it bounds memory and threads of all that runs in it,
//! whatever their user. Which groups there are is found by the binary and said by the settings.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::config::ProcessLimits;

/// How often it is tried to remove a group whose processes are about to end.
const REMOVALS: u32 = 100;
/// The pause between.
const REMOVAL_PAUSE: Duration = Duration::from_millis(20);

/// The group of one process, as one folder, or as one for each controller. Removed when dropped, once it is empty.
#[derive(Debug, Default)]
pub(super) struct Group {
    folders: Vec<PathBuf>,
}

impl Group {
    /// Makes a group below each of `parents`, with `limits`.
    ///
    /// # Errors
    /// As the system has it.
    pub(super) fn make(parents: &[PathBuf], limits: &ProcessLimits) -> std::io::Result<Self> {
        static MADE: AtomicU64 = AtomicU64::new(0);
        let name = format!("trellis-{}-{}", std::process::id(), MADE.fetch_add(1, Ordering::Relaxed));
        let mut group = Self::default();
        for parent in parents {
            let folder = parent.join(&name);
            std::fs::create_dir(&folder)?;
            group.folders.push(folder.clone());
            bound(&folder, limits)?;
        }
        Ok(group)
    }

    /// Its folders.
    pub(super) fn folders(&self) -> &[PathBuf] {
        &self.folders
    }

    /// Ends all that is in it, where the kernel can do that.
    pub(super) fn kill(&self) {
        for folder in &self.folders {
            // Groups of version 1, and kernels before 5.14, have no such file.
            let _ = write(&folder.join("cgroup.kill"), "1");
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let folders: Vec<_> = self.folders.drain(..).filter(|folder| !is_removed(folder)).collect();
        if let (false, Ok(runtime)) = (folders.is_empty(), tokio::runtime::Handle::try_current()) {
            // It owns nothing but names, and ends within seconds; nobody needs to wait for it.
            runtime.spawn(remove(folders));
        }
    }
}

/// Removes groups whose processes were killed a moment ago.
async fn remove(mut folders: Vec<PathBuf>) {
    for _ in 0..REMOVALS {
        folders.retain(|folder| !is_removed(folder));
        if folders.is_empty() {
            return;
        }
        tokio::time::sleep(REMOVAL_PAUSE).await;
    }
}

fn is_removed(folder: &Path) -> bool {
    match std::fs::remove_dir(folder) {
        Ok(()) => true,
        Err(error) => error.kind() == ErrorKind::NotFound,
    }
}

/// Writes the limits to those of the files that this folder has: which ones says what it is a group of.
fn bound(folder: &Path, limits: &ProcessLimits) -> std::io::Result<()> {
    let (memory, processes) = (limits.memory_bytes.to_string(), limits.processes.to_string());
    for (file, value) in [
        ("pids.max", &*processes),
        ("memory.max", &*memory),
        ("memory.swap.max", "0"),
        ("memory.limit_in_bytes", &*memory),
    ] {
        write(&folder.join(file), value)?;
    }
    Ok(())
}

/// Writes to a file that the kernel has made, if it has.
fn write(file: &Path, value: &str) -> std::io::Result<()> {
    match std::fs::OpenOptions::new().write(true).open(file) {
        Ok(mut file) => std::io::Write::write_all(&mut file, value.as_bytes()),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::{Group, bound};
    use crate::config::ProcessLimits;

    #[test]
    fn limits_go_to_the_files_that_are_there() {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("pids.max"), "max").expect("written");
        let limits = ProcessLimits { processes: 64, ..ProcessLimits::default() };
        bound(folder.path(), &limits).expect("bounded");
        let written = std::fs::read_to_string(folder.path().join("pids.max")).expect("read");
        assert!(written.starts_with("64"), "{written}");
        assert_eq!(std::fs::read_dir(folder.path()).expect("listed").count(), 1, "nothing is made");
    }

    #[test]
    fn a_group_is_gone_with_its_process() {
        let parent = tempfile::tempdir().expect("a folder");
        let parents = [parent.path().to_owned()];
        let group = Group::make(&parents, &ProcessLimits::default()).expect("made");
        assert_eq!(group.folders().len(), 1);
        assert!(group.folders()[0].is_dir());
        drop(group);
        assert_eq!(std::fs::read_dir(parent.path()).expect("listed").count(), 0);
    }
}
