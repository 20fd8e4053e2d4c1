//! `cargo xtask guests`: builds the example actors for wasm32-wasip2.
//!
//! [`toolchain`] finds or makes a compiler that can do that; [`debian`] is the second of its two routes. [`foreign`] builds
//! actors in other languages, by their own tools.

mod debian;
mod foreign;
mod toolchain;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, Result};

use crate::environment::Environment;
use crate::step;
use crate::workspace::Workspace;

pub(crate) use foreign::build as build_foreign;
pub(crate) use toolchain::{Route, find};

/// Which guests are built.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Languages {
    /// Those in Rust.
    Rust,
    /// Those in JavaScript and Python as well.
    All,
}

/// The target that actors are built for.
pub(crate) const TARGET: &str = "wasm32-wasip2";

/// Small examples stay small: the most that `hello` may weigh.
const HELLO_BYTES_MAX: u64 = 150_000;

/// Builds the examples and prints where they are.
pub(crate) fn run(workspace: &Workspace, environment: &Environment, languages: Languages) -> Result<ExitCode> {
    let mut built = build(workspace, environment)?;
    if languages == Languages::All {
        built.extend(build_foreign(workspace, environment)?);
    }
    for path in built {
        let bytes = path.metadata()?.len();
        println!("{bytes:>9} bytes  {}", path.display());
    }
    Ok(ExitCode::SUCCESS)
}

/// Builds the examples into the workspace's `guests` folder.
///
/// # Errors
/// If there is no way to a compiler for guests, an example does not compile, or `hello` has grown too large.
pub(crate) fn build(workspace: &Workspace, environment: &Environment) -> Result<Vec<PathBuf>> {
    step::heading("guests: the tool chain");
    let route = toolchain::prepare(environment)?;
    eprintln!("    {route}");
    step::heading("guests: the example actors");
    let examples = workspace.root().join("examples");
    // The two routes have different compilers; in one folder they would rebuild each other's work.
    let build_dir = workspace.target().join("guest-build").join(route.name());
    let mut cargo = guest_cargo(workspace, &route);
    cargo.current_dir(&examples).env("CARGO_TARGET_DIR", &build_dir);
    step::run(cargo.args(["build", "--release", "--locked", "--target", TARGET]))?;
    let built = collect(&build_dir.join(TARGET).join("release"), &workspace.guests())?;
    check_size(&workspace.guests().join("hello.wasm"))?;
    Ok(built)
}

/// Cargo with the route's compiler and without what is meant for programs of this machine.
fn guest_cargo(workspace: &Workspace, route: &Route) -> Command {
    let mut cargo = workspace.cargo([]);
    for name in [
        "RUSTFLAGS",
        "CARGO_ENCODED_RUSTFLAGS",
        "CARGO_BUILD_TARGET",
        "RUSTC",
        "RUSTC_WRAPPER",
        "RUSTC_WORKSPACE_WRAPPER",
    ] {
        cargo.env_remove(name);
    }
    if let Route::Debian { rustc } = route {
        cargo.env("RUSTC", rustc);
    }
    cargo
}

/// Copies the components to where tests and the demo look for them, under their package's names.
fn collect(from: &Path, to: &Path) -> Result<Vec<PathBuf>> {
    fs::create_dir_all(to).with_context(|| format!("cannot make {}", to.display()))?;
    let mut collected = Vec::new();
    for entry in fs::read_dir(from).with_context(|| format!("nothing was built in {}", from.display()))? {
        let path = entry?.path();
        let Some(name) = path.file_name().and_then(|name| name.to_str()).filter(|name| name.ends_with(".wasm")) else {
            continue;
        };
        let target = to.join(name.replace('_', "-"));
        // Renamed into place, so that a host that starts it meanwhile never reads half a file.
        let unfinished = target.with_extension("wasm.new");
        fs::copy(&path, &unfinished).with_context(|| format!("cannot write {}", unfinished.display()))?;
        fs::rename(&unfinished, &target)?;
        collected.push(target);
    }
    collected.sort();
    Ok(collected)
}

fn check_size(hello: &Path) -> Result<()> {
    let bytes = hello.metadata().with_context(|| format!("{} was not built", hello.display()))?.len();
    anyhow::ensure!(bytes <= HELLO_BYTES_MAX, "hello has grown to {bytes} bytes, the limit is {HELLO_BYTES_MAX}");
    Ok(())
}
