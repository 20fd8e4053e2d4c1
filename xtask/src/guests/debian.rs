//! A compiler for guests where rustup has nothing to give: Debian's, unpacked beside the system and never installed.
//!
//! Debian packages a compiler that knows the target (`rustc-web`), the sources of its standard library and a C library for
//! WASI. The standard library is compiled once; the linkers come with any Rust tool chain for this machine. Afterwards guests
//! are built by plain cargo with `RUSTC` set.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};

use super::TARGET;
use super::toolchain::has_std;
use crate::environment::Environment;
use crate::step;

const MACHINE: &str = "x86_64-unknown-linux-gnu";
const DOWNLOAD_DEADLINE: Duration = Duration::from_secs(900);
const UNPACK_DEADLINE: Duration = Duration::from_secs(600);
const COMPILE_DEADLINE: Duration = Duration::from_secs(1800);
const LINKERS: [&str; 3] = ["wasm-component-ld", "rust-lld", "gcc-ld"];

/// The compiler that an earlier run has made.
pub(super) fn cached(environment: &Environment) -> Option<PathBuf> {
    let home = environment.cache_dir.join("guest-rust");
    let rustc = home.join("bin/rustc");
    (rustc.is_file() && has_std(&library(&home, TARGET))).then_some(rustc)
}

/// Makes the compiler in the cache and returns its path. Takes some minutes, about 140 MB of packages and 700 MB of disk.
///
/// # Errors
/// If a tool is missing, a package cannot be fetched, or the standard library does not compile.
pub(super) fn build(environment: &Environment) -> Result<PathBuf> {
    for tool in ["apt-get", "apt-cache", "dpkg-deb", "tar", "cc"] {
        environment
            .find_program(tool)
            .with_context(|| format!("{tool} is not on PATH, and Debian's route needs it"))?;
    }
    anyhow::ensure!(cfg!(all(target_arch = "x86_64", target_os = "linux")), "Debian's route is for x86_64 Linux only");
    let place = Place::make(environment)?;
    place.download()?;
    place.unpack()?;
    place.assemble()?;
    place.link_linkers(environment)?;
    place.compile_std(environment)?;
    place.install(environment)
}

/// Where compiled libraries for a target are in a tool chain.
fn library(toolchain: &Path, target: &str) -> PathBuf {
    toolchain.join("lib/rustlib").join(target).join("lib")
}

/// The folder in which the tool chain is made; removed when dropped.
struct Place {
    folder: tempfile::TempDir,
}

impl Place {
    fn make(environment: &Environment) -> Result<Self> {
        fs::create_dir_all(&environment.cache_dir)
            .with_context(|| format!("cannot make {}", environment.cache_dir.display()))?;
        // Beside its final place, because it is renamed there.
        let folder = tempfile::Builder::new().prefix("guest-rust-").tempdir_in(&environment.cache_dir)?;
        let place = Self { folder };
        for name in ["packages/partial", "lists/partial", "root", "toolchain/bin"] {
            fs::create_dir_all(place.path(name))?;
        }
        Ok(place)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn toolchain(&self) -> PathBuf {
        self.path("toolchain")
    }

    /// Fetches the packages; if the machine's package lists do not know them, with lists of our own.
    fn download(&self) -> Result<()> {
        let text = "downloading rustc-web, its standard library's sources and wasi-libc";
        let log = self.path("download.log");
        if step::run_logged(text, &mut self.apt_install(&[])?, &log, DOWNLOAD_DEADLINE).is_ok() {
            return Ok(());
        }
        let lists = format!("Dir::State::lists={}", self.path("lists").display());
        let mut update = Command::new("apt-get");
        update.args(["-q", "-o", &lists, "update"]);
        step::run_logged("fetching lists of packages", &mut update, &log, DOWNLOAD_DEADLINE)?;
        step::run_logged(text, &mut self.apt_install(&["-o", &lists])?, &log, DOWNLOAD_DEADLINE)
    }

    fn apt_install(&self, options: &[&str]) -> Result<Command> {
        let mut command = Command::new("apt-get");
        command
            .args(["-q", "-y", "--no-install-recommends", "--reinstall", "--download-only"])
            .args(["-o", &format!("Dir::Cache::archives={}", self.path("packages").display())])
            // Nothing is installed, so the system's lock is not ours to take (and needs no root).
            .args(["-o", "Debug::NoLocking=1"])
            .args(options)
            .args(["install", "rustc-web", "rust-web-src", "wasi-libc", "libstd-rust-web-dev"]);
        // `--reinstall` reaches only packages that are named, and the library's name has its version in it.
        let mut depends = Command::new("apt-cache");
        let depends = step::output(depends.args(options).args(["depends", "libstd-rust-web-dev"])).unwrap_or_default();
        command.args(versioned_std(&depends));
        Ok(command)
    }

    fn unpack(&self) -> Result<()> {
        let log = self.path("unpack.log");
        for entry in fs::read_dir(self.path("packages"))? {
            let package = entry?.path();
            let Some(name) = package.file_name().and_then(|name| name.to_str()) else { continue };
            if !name.ends_with(".deb") {
                continue;
            }
            if name.starts_with("rust-web-src_") {
                self.unpack_library(&package)?;
                continue;
            }
            let mut command = Command::new("dpkg-deb");
            command.arg("-x").arg(&package).arg(self.path("root"));
            let short = name.split('_').next().unwrap_or(name);
            step::run_logged(&format!("unpacking {short}"), &mut command, &log, UNPACK_DEADLINE)?;
        }
        Ok(())
    }

    /// Of the compiler's sources only the standard library: the rest is 300 MB in 50,000 files.
    fn unpack_library(&self, package: &Path) -> Result<()> {
        let mut sources = Command::new("dpkg-deb").arg("--fsys-tarfile").arg(package).stdout(Stdio::piped()).spawn()?;
        let pipe = sources.stdout.take().context("the archive has no output")?;
        let status = Command::new("tar")
            .args(["--extract", "--strip-components=4", "--anchored", "--wildcards", "--no-wildcards-match-slash"])
            .arg("--directory")
            .arg(self.folder.path())
            .arg("./usr/src/rustc-*/library")
            .stdin(pipe)
            .status()?;
        let is_read = sources.wait()?.success();
        anyhow::ensure!(is_read && status.success(), "cannot unpack {}", package.display());
        Ok(())
    }

    /// Puts the compiler, its libraries and the C library where a tool chain has them.
    fn assemble(&self) -> Result<()> {
        let (root, toolchain) = (self.path("root"), self.toolchain());
        let bin = toolchain.join("bin");
        fs::copy(root.join("usr/bin/rustc"), bin.join("rustc.real")).context("rustc-web has no usr/bin/rustc")?;
        fs::create_dir_all(toolchain.join("lib/rustlib"))?;
        fs::rename(root.join("usr/lib/rustlib").join(MACHINE), toolchain.join("lib/rustlib").join(MACHINE))?;
        copy_shared_libraries(&root.join("usr/lib/x86_64-linux-gnu"), &toolchain.join("lib"))?;
        for entry in fs::read_dir(root.join("usr/lib"))? {
            let folder = entry?.path();
            if folder.file_name().is_some_and(|name| name.to_string_lossy().starts_with("llvm-")) {
                copy_shared_libraries(&folder.join("lib"), &toolchain.join("lib"))?;
            }
        }
        let c_library = library(&toolchain, TARGET).join("self-contained");
        fs::create_dir_all(&c_library)?;
        for name in ["crt1-command.o", "crt1-reactor.o", "libc.a"] {
            fs::copy(root.join("usr/lib/wasm32-wasi").join(name), c_library.join(name))
                .with_context(|| format!("wasi-libc has no {name}"))?;
        }
        write_wrapper(&bin.join("rustc"))?;
        let version = step::output(Command::new(bin.join("rustc")).arg("--version"))
            .context("the unpacked compiler does not run")?;
        eprintln!("    {version}");
        Ok(())
    }

    /// The linkers are programs of this machine and come with every tool chain of rustup.
    fn link_linkers(&self, environment: &Environment) -> Result<()> {
        let sysroot = step::output(Command::new("rustc").args(["--print", "sysroot"])).unwrap_or_default();
        let installed = fs::read_dir(environment.rustup_home.join("toolchains")).into_iter().flatten().flatten();
        let source = std::iter::once(PathBuf::from(sysroot))
            .chain(installed.map(|entry| entry.path()))
            .map(|toolchain| toolchain.join("lib/rustlib").join(MACHINE).join("bin"))
            .find(|bin| LINKERS.iter().all(|name| bin.join(name).exists()))
            .context("no Rust tool chain has wasm-component-ld and rust-lld; those of rustup have them")?;
        let bin = self.toolchain().join("lib/rustlib").join(MACHINE).join("bin");
        fs::create_dir_all(&bin)?;
        for name in LINKERS {
            symlink(source.join(name), bin.join(name))?;
        }
        Ok(())
    }

    fn compile_std(&self, environment: &Environment) -> Result<()> {
        let sources = self.path("library");
        drop_tests_of_std(&sources)?;
        let build_dir = self.path("build");
        let mut cargo = Command::new(&environment.cargo);
        cargo.current_dir(&sources);
        for name in ["CARGO_ENCODED_RUSTFLAGS", "CARGO_BUILD_RUSTFLAGS", "RUSTC_WRAPPER", "RUSTC_WORKSPACE_WRAPPER"] {
            cargo.env_remove(name);
        }
        let flags = format!(
            "-Zforce-unstable-if-unmarked -Cembed-bitcode=yes --remap-path-prefix={}=/rustc/library",
            sources.display()
        );
        cargo
            .env("RUSTC", self.toolchain().join("bin/rustc"))
            .env("RUSTC_BOOTSTRAP", "1")
            .env("RUSTFLAGS", flags)
            .env("CARGO_TARGET_DIR", &build_dir)
            .env("CARGO_INCREMENTAL", "0")
            .args(["build", "--manifest-path", "sysroot/Cargo.toml", "--release", "--target", TARGET]);
        let text = format!("compiling the standard library for {TARGET}");
        step::run_logged(&text, &mut cargo, &self.path("std.log"), COMPILE_DEADLINE)?;
        let compiled = build_dir.join(TARGET).join("release/deps");
        copy_files(&compiled, &library(&self.toolchain(), TARGET), |name| name.ends_with(".rlib"))
    }

    /// Moves the finished tool chain to its place in the cache.
    fn install(&self, environment: &Environment) -> Result<PathBuf> {
        let home = environment.cache_dir.join("guest-rust");
        if home.exists() {
            fs::remove_dir_all(&home).with_context(|| format!("cannot replace {}", home.display()))?;
        }
        fs::rename(self.toolchain(), &home).with_context(|| format!("cannot make {}", home.display()))?;
        cached(environment).context("the standard library was compiled, but is not in the tool chain")
    }
}

/// The names of packages like `libstd-rust-web-1.96` in the output of `apt-cache depends`.
fn versioned_std(depends: &str) -> Vec<&str> {
    let names = depends.lines().filter_map(|line| line.trim().strip_prefix("Depends: "));
    names.filter(|name| name.starts_with("libstd-rust-web-")).collect()
}

/// The sources' own tests need crates that the package does not have.
fn drop_tests_of_std(sources: &Path) -> Result<()> {
    edit(&sources.join("Cargo.toml"), |text| {
        let is_kept = |line: &&str| !line.contains("\"coretests\"") && !line.contains("\"alloctests\"");
        text.lines().filter(is_kept).collect::<Vec<_>>().join("\n")
    })?;
    edit(&sources.join("std/Cargo.toml"), |text| without_section(text, "[dev-dependencies]"))
}

fn edit(path: &Path, change: impl Fn(&str) -> String) -> Result<()> {
    let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    fs::write(path, change(&text) + "\n").with_context(|| format!("cannot write {}", path.display()))
}

/// A manifest without the section of this heading.
fn without_section(text: &str, heading: &str) -> String {
    let mut is_inside = false;
    let is_kept = |line: &&str| {
        if line.starts_with('[') {
            is_inside = line.trim_end() == heading;
        }
        !is_inside
    };
    text.lines().filter(is_kept).collect::<Vec<_>>().join("\n")
}

fn copy_shared_libraries(from: &Path, to: &Path) -> Result<()> {
    if !from.is_dir() {
        return Ok(());
    }
    copy_files(from, to, |name| name.contains(".so"))
}

/// Copies the files whose names are wanted and that are not there yet, following links.
fn copy_files(from: &Path, to: &Path, is_wanted: impl Fn(&str) -> bool) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from).with_context(|| format!("cannot read {}", from.display()))? {
        let path = entry?.path();
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else { continue };
        if is_wanted(name) && path.is_file() && !to.join(name).exists() {
            fs::copy(&path, to.join(name)).with_context(|| format!("cannot copy {}", path.display()))?;
        }
    }
    Ok(())
}

/// The compiler finds its libraries by a path that belongs to it, wherever the tool chain is moved.
fn write_wrapper(path: &Path) -> Result<()> {
    let script = "#!/bin/sh\n\
        here=$(dirname \"$(readlink -f \"$0\")\")\n\
        LD_LIBRARY_PATH=\"$here/../lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}\" exec \"$here/rustc.real\" \"$@\"\n";
    fs::write(path, script)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{versioned_std, without_section};

    #[test]
    fn the_versioned_library_is_found_among_what_a_package_depends_on() {
        let depends = "libstd-rust-web-dev\n  Depends: libc6\n  Depends: libstd-rust-web-1.96\n  Suggests: other\n";
        assert_eq!(versioned_std(depends), ["libstd-rust-web-1.96"]);
    }

    #[test]
    fn a_section_ends_where_the_next_begins() {
        let manifest = "[package]\nname = 1\n[dev-dependencies]\na = 1\n\nb = 2\n[features]\nc = 3";
        assert_eq!(without_section(manifest, "[dev-dependencies]"), "[package]\nname = 1\n[features]\nc = 3");
    }
}
