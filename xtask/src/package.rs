//! Programs from Debian's packages, unpacked into the cache: nothing is installed.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::environment::Environment;
use crate::step;

/// The longest that fetching a program may take.
pub(crate) const FETCH_DEADLINE: Duration = Duration::from_secs(300);

/// Where `program` is once it was fetched.
pub(crate) fn cached(program: &str, environment: &Environment) -> PathBuf {
    environment.cache_dir.join(program).join(program)
}

/// Fetches the package that is called as its `program` is, and keeps the program.
pub(crate) fn fetch(program: &'static str, environment: &Environment) -> Result<PathBuf> {
    environment.find_program("apt-get").context("there is no apt-get on PATH")?;
    let place = tempfile::tempdir()?;
    let log = place.path().join("log");
    step::run_logged(
        "fetching Debian's lists of packages",
        &mut apt_get(place.path(), &["update"])?,
        &log,
        FETCH_DEADLINE,
    )?;
    let mut download = apt_get(place.path(), &["download", program])?;
    step::run_logged(&format!("fetching Debian's {program}"), &mut download, &log, FETCH_DEADLINE)?;
    let package = find_file(place.path(), |name| name.ends_with(".deb")).context("apt-get has brought no package")?;
    let unpacked = place.path().join("unpacked");
    step::output(Command::new("dpkg-deb").arg("-x").arg(&package).arg(&unpacked))?;
    keep(&unpacked, program, environment)
}

/// Fetches a package with all that it needs and is not installed here, and unpacks them into the folder `kept`.
pub(crate) fn fetch_tree(package: &str, kept: &Path, environment: &Environment) -> Result<()> {
    environment.find_program("apt-get").context("there is no apt-get on PATH")?;
    let place = tempfile::tempdir()?;
    let log = place.path().join("log");
    let mut update = apt_get(place.path(), &["update"])?;
    step::run_logged("fetching Debian's lists of packages", &mut update, &log, FETCH_DEADLINE)?;
    let arguments =
        ["-y", "--no-install-recommends", "--download-only", "-o", "Debug::NoLocking=1", "install", package];
    let mut download = apt_get(place.path(), &arguments)?;
    step::run_logged(&format!("fetching Debian's {package}"), &mut download, &log, FETCH_DEADLINE)?;
    let unpacked = kept.with_extension("new");
    if unpacked.exists() {
        fs::remove_dir_all(&unpacked)?;
    }
    fs::create_dir_all(&unpacked)?;
    for archive in find_files(place.path(), |name| name.ends_with(".deb")) {
        step::output(Command::new("dpkg-deb").arg("-x").arg(&archive).arg(&unpacked))?;
    }
    fs::rename(&unpacked, kept)?;
    Ok(())
}

/// apt-get with lists and caches of its own in `place`: a fresh machine has none, and may not let us write its own.
fn apt_get(place: &Path, arguments: &[&str]) -> Result<Command> {
    let (lists, cache) = (place.join("lists"), place.join("cache"));
    fs::create_dir_all(lists.join("partial"))?;
    fs::create_dir_all(cache.join("archives/partial"))?;
    let option = |name: &str, folder: &Path| format!("{name}={}", folder.display());
    let mut command = Command::new("apt-get");
    command.current_dir(place).arg("-q");
    command.args(["-o", &option("Dir::State::lists", &lists), "-o", &option("Dir::Cache", &cache)]).args(arguments);
    Ok(command)
}

/// Moves `program` from an unpacked archive to the cache.
pub(crate) fn keep(unpacked: &Path, program: &'static str, environment: &Environment) -> Result<PathBuf> {
    let is_executable =
        |path: &Path| path.metadata().is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0);
    let found = find_files(unpacked, |name| name == program).into_iter().find(|path| is_executable(path));
    let found = found.with_context(|| format!("the archive has no {program}"))?;
    let kept = cached(program, environment);
    fs::create_dir_all(kept.parent().expect("it is in a folder"))?;
    let unfinished = kept.with_extension("new");
    fs::copy(&found, &unfinished)?;
    fs::set_permissions(&unfinished, fs::Permissions::from_mode(0o755))?;
    version(&unfinished).with_context(|| format!("the fetched {program} does not run"))?;
    fs::rename(&unfinished, &kept)?;
    Ok(kept)
}

/// What `program --version` says.
pub(crate) fn version(program: &Path) -> Result<String> {
    let text = step::output(Command::new(program).arg("--version"))?;
    Ok(text.lines().next().unwrap_or_default().to_owned())
}

/// The first file below a folder whose name is wanted.
pub(crate) fn find_file(folder: &Path, is_wanted: impl Fn(&str) -> bool) -> Option<PathBuf> {
    find_files(folder, is_wanted).into_iter().next()
}

fn find_files(folder: &Path, is_wanted: impl Fn(&str) -> bool) -> Vec<PathBuf> {
    let (mut folders, mut found) = (vec![folder.to_owned()], Vec::new());
    while let Some(folder) = folders.pop() {
        for path in fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()) {
            if path.is_dir() {
                folders.push(path);
            } else if path.file_name().and_then(|name| name.to_str()).is_some_and(&is_wanted) {
                found.push(path);
            }
        }
    }
    found
}
