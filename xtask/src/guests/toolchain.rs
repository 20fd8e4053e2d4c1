//! Which compiler builds guests: the one in use, with the target added by rustup where needed; else Debian's.

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::{TARGET, debian};
use crate::environment::Environment;
use crate::step;

/// How long rustup may take to fetch a target before we take the other route.
const RUSTUP_DEADLINE: Duration = Duration::from_secs(180);

/// The way to a compiler for guests.
pub(crate) enum Route {
    /// The compiler in use has the target.
    Rustup {
        /// Where its standard library for the target is.
        library: PathBuf,
    },
    /// Debian's compiler and a standard library that we built for it.
    Debian {
        /// The compiler.
        rustc: PathBuf,
    },
}

impl Route {
    /// The route's name, also accepted in `TRELLIS_GUEST_ROUTE`.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Rustup { .. } => "rustup",
            Self::Debian { .. } => "debian",
        }
    }
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rustup { library } => {
                write!(f, "route rustup: the compiler in use has {TARGET} ({})", library.display())
            }
            Self::Debian { rustc } => write!(f, "route debian: packages of Debian, unpacked ({})", rustc.display()),
        }
    }
}

/// What is there already, without fetching or building anything.
pub(crate) fn find(environment: &Environment) -> Option<Route> {
    let wanted = environment.guest_route.as_deref();
    let installed = || installed_library().map(|library| Route::Rustup { library });
    let cached = || debian::cached(environment).map(|rustc| Route::Debian { rustc });
    match wanted {
        Some("rustup") => installed(),
        Some("debian") => cached(),
        _ => installed().or_else(cached),
    }
}

/// Finds a compiler for guests, or makes one: once a machine.
///
/// # Errors
/// If neither route leads to one; the message says what to install.
pub(crate) fn prepare(environment: &Environment) -> Result<Route> {
    if let Some(route) = find(environment) {
        return Ok(route);
    }
    let wanted = environment.guest_route.as_deref();
    if wanted != Some("debian") {
        match add_target(environment) {
            Ok(library) => return Ok(Route::Rustup { library }),
            Err(error) if wanted == Some("rustup") => return Err(error),
            Err(error) => {
                eprintln!("    rustup cannot add {TARGET}: {error:#}\n    taking the route of Debian's packages")
            }
        }
    }
    let rustc = debian::build(environment).with_context(|| {
        format!("no compiler for {TARGET}; the usual way to one is `rustup target add {TARGET}`; the other one failed")
    })?;
    Ok(Route::Debian { rustc })
}

fn add_target(environment: &Environment) -> Result<PathBuf> {
    let rustup = environment.find_program("rustup").context("there is no rustup on PATH")?;
    std::fs::create_dir_all(&environment.cache_dir)?;
    let log = environment.cache_dir.join("rustup-target-add.log");
    let mut command = Command::new(rustup);
    command.args(["target", "add", TARGET]);
    step::run_logged(&format!("rustup target add {TARGET}"), &mut command, &log, RUSTUP_DEADLINE)?;
    match installed_library() {
        Some(library) => Ok(library),
        None => bail!("rustup has added it, but not to the compiler in use (`rustc --print sysroot`)"),
    }
}

/// Where the compiler in use keeps its standard library for guests, if it has one.
fn installed_library() -> Option<PathBuf> {
    let printed = step::output(Command::new("rustc").args(["--print", "target-libdir", "--target", TARGET])).ok()?;
    let folder = PathBuf::from(printed);
    has_std(&folder).then_some(folder)
}

/// Whether a folder holds a compiled standard library (`libstd-<hash>.rlib`; `libstd.rlib` if cargo made it by itself).
pub(super) fn has_std(folder: &Path) -> bool {
    let Ok(entries) = folder.read_dir() else { return false };
    let mut names = entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned());
    names.any(|name| name == "libstd.rlib" || (name.starts_with("libstd-") && name.ends_with(".rlib")))
}
