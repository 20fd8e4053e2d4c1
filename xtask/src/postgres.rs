//! Finds PostgreSQL for the tests, or unpacks Debian's packages of it: a server is many files, found from where its
//! programs are.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::environment::Environment;
use crate::package;

/// The server; what else the tests need, `initdb` and `psql`, is beside it.
const PROGRAM: &str = "postgres";
const PACKAGE: &str = "postgresql";

/// The server that is there already: named by `TRELLIS_POSTGRES`, on the search path, where Debian puts it, or fetched
/// before.
pub(crate) fn find(environment: &Environment) -> Option<PathBuf> {
    let named = environment.postgres.clone().or_else(|| environment.find_program(PROGRAM));
    named.or_else(|| below(Path::new("/"))).or_else(|| below(&kept(environment)))
}

/// The server that is there, or a fetched one.
///
/// # Errors
/// If there is none and none can be fetched; the message says what to install.
pub(crate) fn prepare(environment: &Environment) -> Result<PathBuf> {
    if let Some(server) = find(environment) {
        return Ok(server);
    }
    let fetched = package::fetch_tree(PACKAGE, &kept(environment), environment);
    let server = fetched.and_then(|()| below(&kept(environment)).context("the packages have no server"));
    server.context(
        "there is no PostgreSQL, and none could be fetched: install it (`apt-get install postgresql`) or name its \
         `postgres` in TRELLIS_POSTGRES",
    )
}

/// Where it is kept. As root it runs as another user, who may not look into root's home.
fn kept(environment: &Environment) -> PathBuf {
    let is_root = fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0);
    if is_root { PathBuf::from("/var/cache/trellis").join(PACKAGE) } else { environment.cache_dir.join(PACKAGE) }
}

/// The server of the newest version below `root`, in the place that Debian gives it.
fn below(root: &Path) -> Option<PathBuf> {
    let versions = fs::read_dir(root.join("usr/lib/postgresql")).ok()?.flatten();
    let programs = versions.map(|version| version.path().join("bin").join(PROGRAM)).filter(|program| program.is_file());
    programs.max()
}
