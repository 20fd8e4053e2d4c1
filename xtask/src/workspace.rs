//! Where the parts of this repository are, and cargo started in it.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::environment::Environment;

/// The folders of one checkout.
pub(crate) struct Workspace {
    root: PathBuf,
    target: PathBuf,
    cargo: PathBuf,
}

impl Workspace {
    /// The checkout that this program was built from.
    pub(crate) fn locate(environment: &Environment) -> Result<Self> {
        let manifest_dir = Path::new(env!("CARGO_MANIFEST_DIR"));
        let root = manifest_dir.parent().context("xtask is not in a workspace")?.to_owned();
        anyhow::ensure!(
            root.join("Cargo.toml").is_file(),
            "{} is gone: build xtask again, by `cargo xtask`, in the checkout that you mean",
            root.display()
        );
        let target = match &environment.target_dir {
            Some(folder) => root.join(folder),
            None => root.join("target"),
        };
        Ok(Self { root, target, cargo: environment.cargo.clone() })
    }

    /// The folder of the checkout.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// Where cargo puts what it builds.
    pub(crate) fn target(&self) -> &Path {
        &self.target
    }

    /// The release binary `trellis`.
    pub(crate) fn trellis(&self) -> PathBuf {
        self.target.join("release/trellis")
    }

    /// The built example actors.
    pub(crate) fn guests(&self) -> PathBuf {
        self.target.join("guests")
    }

    /// Cargo, in this checkout and with its target folder.
    pub(crate) fn cargo<const N: usize>(&self, args: [&str; N]) -> Command {
        let mut command = Command::new(&self.cargo);
        command.current_dir(&self.root).env("CARGO_TARGET_DIR", &self.target).args(args);
        // Cargo tells us about our own package; what we start must not take that for its own.
        // Build scripts that look (ring's does) would run again, and most of the build with them.
        for name in INHERITED {
            command.env_remove(name);
        }
        command
    }
}

/// What cargo tells about the package that it runs.
const INHERITED: [&str; 9] = [
    "CARGO_MANIFEST_DIR",
    "CARGO_MANIFEST_LINKS",
    "CARGO_MANIFEST_PATH",
    "CARGO_PKG_NAME",
    "CARGO_PKG_VERSION",
    "CARGO_PKG_VERSION_MAJOR",
    "CARGO_PKG_VERSION_MINOR",
    "CARGO_PKG_VERSION_PATCH",
    "CARGO_PKG_VERSION_PRE",
];
