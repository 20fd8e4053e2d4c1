//! Finds redis-server for the tests, or installs it.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};

use crate::environment::Environment;
use crate::{package, step};

const PROGRAM: &str = "redis-server";

/// The server that is there already: named by `TRELLIS_REDIS_SERVER`, or on the search path.
pub(crate) fn find(environment: &Environment) -> Option<PathBuf> {
    environment.redis_server.clone().or_else(|| environment.find_program(PROGRAM))
}

/// The server that is there, or one installed from Debian's packages: it needs libraries beside it, which is why it is
/// not unpacked into the cache.
///
/// # Errors
/// If there is none and none can be installed; the message says what to install.
pub(crate) fn prepare(environment: &Environment) -> Result<PathBuf> {
    if let Some(server) = find(environment) {
        return Ok(server);
    }
    install(environment).context(
        "there is no redis-server, and none could be installed: install it (`apt-get install redis-server`, \
         `brew install redis`) or name one in TRELLIS_REDIS_SERVER",
    )?;
    find(environment).context("redis-server was installed, and is not on PATH")
}

fn install(environment: &Environment) -> Result<()> {
    environment.find_program("apt-get").context("there is no apt-get on PATH")?;
    let place = tempfile::tempdir()?;
    for arguments in [&["update"][..], &["install", "-y", "--no-install-recommends", PROGRAM]] {
        let mut apt_get = Command::new("apt-get");
        apt_get.arg("-q").args(arguments).env("DEBIAN_FRONTEND", "noninteractive");
        let log = place.path().join("log");
        step::run_logged("installing Debian's redis-server", &mut apt_get, &log, package::FETCH_DEADLINE)?;
    }
    Ok(())
}
