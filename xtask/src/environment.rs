//! What the environment says, read once at the start; no other module reads it.

use std::env;
use std::path::{Path, PathBuf};

/// The environment variables that matter to `cargo xtask`, and the search path.
pub(crate) struct Environment {
    /// `CARGO`: the cargo that runs us, so that what we start is the same.
    pub(crate) cargo: PathBuf,
    /// `CARGO_TARGET_DIR`, or `CARGO_BUILD_TARGET_DIR`.
    pub(crate) target_dir: Option<PathBuf>,
    /// `$XDG_CACHE_HOME/trellis`, or `~/.cache/trellis`: what is made once a machine.
    pub(crate) cache_dir: PathBuf,
    /// `RUSTUP_HOME`, or `~/.rustup`.
    pub(crate) rustup_home: PathBuf,
    /// `TRELLIS_GUEST_ROUTE`: `rustup` or `debian`; anything else lets us choose.
    pub(crate) guest_route: Option<String>,
    /// `TRELLIS_NATS_SERVER`: a nats-server to test with.
    pub(crate) nats_server: Option<PathBuf>,
    /// `TRELLIS_REDIS_SERVER`: a redis-server to test with.
    pub(crate) redis_server: Option<PathBuf>,
    /// `TRELLIS_DOCKER_REGISTRY`: a docker-registry to test with.
    pub(crate) docker_registry: Option<PathBuf>,
    /// The folders of `PATH`.
    search_path: Vec<PathBuf>,
}

impl Environment {
    /// Reads the environment of this process.
    pub(crate) fn read() -> Self {
        let path = |name: &str| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let home = path("HOME").unwrap_or_else(env::temp_dir);
        Self {
            cargo: path("CARGO").unwrap_or_else(|| "cargo".into()),
            target_dir: path("CARGO_TARGET_DIR").or_else(|| path("CARGO_BUILD_TARGET_DIR")),
            cache_dir: path("XDG_CACHE_HOME").unwrap_or_else(|| home.join(".cache")).join("trellis"),
            rustup_home: path("RUSTUP_HOME").unwrap_or_else(|| home.join(".rustup")),
            guest_route: env::var("TRELLIS_GUEST_ROUTE").ok(),
            nats_server: path("TRELLIS_NATS_SERVER"),
            redis_server: path("TRELLIS_REDIS_SERVER"),
            docker_registry: path("TRELLIS_DOCKER_REGISTRY"),
            search_path: env::var_os("PATH").map(|path| env::split_paths(&path).collect()).unwrap_or_default(),
        }
    }

    /// The folders of `PATH`.
    pub(crate) fn search_path(&self) -> &[PathBuf] {
        &self.search_path
    }

    /// The program of this name on the search path.
    pub(crate) fn find_program(&self, name: &str) -> Option<PathBuf> {
        self.search_path.iter().map(|folder| folder.join(name)).find(|path| is_executable(path))
    }
}

fn is_executable(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    path.metadata().is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
}
