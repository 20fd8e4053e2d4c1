//! A disk that is soon full.

use std::path::{Path, PathBuf};
use std::process::Command;

/// A file system of a few mebibytes; taken away when dropped.
#[derive(Debug)]
pub struct SmallDisk(PathBuf);

impl SmallDisk {
    /// Mounts one of `mebibytes` on the folder `at`.
    ///
    /// # Panics
    /// When that is not allowed: only root may.
    pub fn mount(at: &Path, mebibytes: u32) -> Self {
        let size = format!("size={mebibytes}m");
        let mount = Command::new("mount").args(["-t", "tmpfs", "-o", &size, "none"]).arg(at).output();
        let mount = mount.expect("mount is there");
        assert!(mount.status.success(), "this test mounts a file system, so it needs root: {mount:?}");
        Self(at.to_owned())
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // What is still open there goes with its process.
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}
