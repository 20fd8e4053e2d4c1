//! Rules about who may depend on whom, and where packages come from.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::source::{Finding, files, read, report, root};

/// Which of our crates a crate may depend on; tests may use more (see `MAY_USE_IN_TESTS`).
const MAY_DEPEND_ON: &[(&str, &[&str])] = &[
    ("trellis-interfaces", &[]),
    ("trellis-lattice", &[]),
    ("trellis-provider-sdk", &["trellis-lattice", "trellis-interfaces"]),
    ("trellis-provider-http-client", &["trellis-provider-sdk", "trellis-interfaces"]),
    ("trellis-provider-http-server", &["trellis-provider-sdk", "trellis-interfaces"]),
    ("trellis-provider-keyvalue", &["trellis-provider-sdk", "trellis-interfaces"]),
    ("trellis-provider-blobstore", &["trellis-provider-sdk", "trellis-interfaces"]),
    ("trellis-provider-messaging", &["trellis-provider-sdk", "trellis-interfaces"]),
    ("trellis-provider-sql", &["trellis-provider-sdk", "trellis-interfaces"]),
    ("trellis-provider-timer", &["trellis-provider-sdk", "trellis-interfaces"]),
    ("trellis-host", &["trellis-lattice", "trellis-interfaces", "trellis-provider-sdk"]),
    ("trellis-wadm", &["trellis-lattice"]),
    (
        "trellis",
        &[
            "trellis-interfaces",
            "trellis-lattice",
            "trellis-provider-sdk",
            "trellis-provider-http-client",
            "trellis-provider-http-server",
            "trellis-provider-keyvalue",
            "trellis-provider-blobstore",
            "trellis-provider-messaging",
            "trellis-provider-sql",
            "trellis-provider-timer",
            "trellis-host",
            "trellis-wadm",
        ],
    ),
    ("trellis-example-dice", &["trellis-provider-sdk"]),
    ("trellis-attacker", &["trellis-provider-sdk"]),
    ("trellis-tests", &[]),
    ("xtask", &[]),
];

/// What the tests of a crate may depend on beyond that.
const MAY_USE_IN_TESTS: &[(&str, &[&str])] = &[
    ("trellis-host", &["trellis-provider-http-server", "trellis-provider-keyvalue", "trellis-provider-blobstore"]),
    (
        "trellis-tests",
        &["trellis-interfaces", "trellis-lattice", "trellis-provider-sdk", "trellis-host", "trellis-wadm"],
    ),
];

/// External crates that only the named crates of ours may depend on (beside what only measures or tests).
const KEPT_TO: &[(&str, &[&str])] = &[
    ("async-nats", &["trellis-lattice", "trellis-provider-keyvalue", "trellis-provider-messaging"]),
    ("wasmtime", &["trellis-host"]),
    ("wasmtime-wasi", &["trellis-host"]),
    ("wasmtime-wasi-http", &["trellis-host"]),
    ("redb", &["trellis-lattice", "trellis-provider-keyvalue", "trellis-provider-messaging"]),
    ("rusqlite", &["trellis-provider-sql"]),
    ("tokio-postgres", &["trellis-provider-sql"]),
    ("clap", &["trellis", "xtask"]),
    ("landlock", &["trellis"]),
    ("seccompiler", &["trellis"]),
    ("close_fds", &["trellis"]),
];

/// Crates whose work is to measure others, with whatever it takes.
const MEASURING: &[&str] = &["trellis-bench-bare", "trellis-bench-driver", "xtask"];

/// Rule: the edges between our crates are those of the table in ARCHITECTURE.md.
#[test]
fn crates_depend_on_each_other_as_the_table_says() {
    let row = |table: &[(&str, &[&str])], name: &str| -> Vec<String> {
        let row = table.iter().find(|(crate_name, _)| *crate_name == name);
        row.map(|(_, allowed)| allowed.iter().map(ToString::to_string).collect()).unwrap_or_default()
    };
    let packages = packages();
    let ours: BTreeSet<&str> = packages.iter().map(|package| package.name.as_str()).collect();
    let mut findings = Vec::new();
    for package in packages.iter().filter(|package| !MEASURING.contains(&package.name.as_str())) {
        for dependency in package.dependencies.iter().filter(|dependency| ours.contains(dependency.name.as_str())) {
            let mut allowed = row(MAY_DEPEND_ON, &package.name);
            if dependency.is_for_tests {
                allowed.extend(row(MAY_USE_IN_TESTS, &package.name));
            }
            if !allowed.contains(&dependency.name) {
                let text = format!("{} may not depend on {}", package.name, dependency.name);
                findings.push(Finding::new(&package.manifest, 1, text));
            }
        }
    }
    report("the edges between our crates are those of the table in ARCHITECTURE.md", findings);
}

/// Rule: external crates that carry a concern are known to the crates that own this concern.
#[test]
fn external_crates_are_kept_to_their_owners() {
    let mut findings = Vec::new();
    for package in packages().iter().filter(|package| !MEASURING.contains(&package.name.as_str())) {
        for dependency in package.dependencies.iter().filter(|dependency| !dependency.is_for_tests) {
            let owners = KEPT_TO.iter().find(|(name, _)| *name == dependency.name).map(|(_, owners)| *owners);
            if owners.is_some_and(|owners| !owners.contains(&package.name.as_str())) {
                let text = format!("{} may not depend on {}", package.name, dependency.name);
                findings.push(Finding::new(&package.manifest, 1, text));
            }
        }
    }
    report("async-nats, wasmtime, redb and clap are dependencies of the crates that own that concern", findings);
}

/// Rule: packages come from the default registry; no file names another.
#[test]
fn packages_come_from_the_default_registry() {
    let default = "registry+https://github.com/rust-lang/crates.io-index";
    let mut findings = Vec::new();
    for file in files().iter().filter(|file| file.ends_with("Cargo.lock")) {
        for (line, text) in (1..).zip(read(file).lines()) {
            if text.starts_with("source = ") && text != format!("source = {default:?}") {
                findings.push(Finding::new(file, line, text.to_owned()));
            }
        }
    }
    let settings = ["index-url", "replace-with", "[registries.", "[source.", "_authToken", "npm config set registry"];
    for file in files().iter().filter(|file| *file != "tests/tidy/dependencies.rs") {
        for (line, text) in (1..).zip(read(file).lines()) {
            if let Some(setting) = settings.iter().find(|setting| text.contains(**setting)) {
                findings.push(Finding::new(file, line, format!("{setting} sets a registry")));
            }
        }
    }
    report("packages come from the default registry", findings);
}

/// Rule: whoever builds `trellis` alone after the tests builds none of its dependencies again.
#[test]
fn trellis_alone_is_made_of_what_the_tests_are() {
    let with_tests = features(&["--workspace", "--edges", "normal,build,dev"]);
    let alone = features(&["--package", "trellis", "--edges", "normal,build"]);
    assert!(alone.iter().any(|line| line.starts_with("wasmtime v")), "cargo tree lists dependencies");
    let findings =
        alone.difference(&with_tests).map(|line| Finding::new("cli/Cargo.toml", 1, format!("features of {line}")));
    report("dependencies of trellis have the features that tests turn on", findings.collect());
}

/// Packages and their features, as `cargo tree` sees them; without what runs while compiling only, which is built apart.
fn features(selection: &[&str]) -> BTreeSet<String> {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.current_dir(root()).args(["tree", "--offline", "--prefix", "none", "--format", "{p} {f}"]).args(selection);
    let output = cargo.output().expect("cargo runs");
    assert!(output.status.success(), "cargo tree: {}", String::from_utf8_lossy(&output.stderr));
    let lines = String::from_utf8(output.stdout).expect("cargo writes text");
    lines.lines().map(|line| line.trim_end_matches(" (*)").to_owned()).collect()
}

/// One of our packages, as far as cargo describes it without looking at any other.
struct Package {
    name: String,
    manifest: String,
    dependencies: Vec<Dependency>,
}

struct Dependency {
    name: String,
    is_for_tests: bool,
}

/// Our packages, from `cargo metadata`. Its output is read by hand, because the crate for it would change the features
/// that the whole workspace is built with.
fn packages() -> Vec<Package> {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.current_dir(root()).args(["metadata", "--no-deps", "--offline", "--format-version", "1"]);
    let output = cargo.output().expect("cargo runs");
    assert!(output.status.success(), "cargo metadata: {}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("cargo writes JSON");
    let packages: Vec<Package> = elements(&metadata["packages"]).map(package).collect();
    assert!(packages.len() > 5, "cargo metadata lists the workspace");
    packages
}

fn package(value: &Value) -> Package {
    let text = |value: &Value| value.as_str().expect("cargo metadata has this field").to_owned();
    let manifest = text(&value["manifest_path"]);
    let is_for_tests = |dependency: &Value| dependency["kind"] == "dev";
    let dependency = |value: &Value| Dependency { name: text(&value["name"]), is_for_tests: is_for_tests(value) };
    Package {
        name: text(&value["name"]),
        manifest: Path::new(&manifest).strip_prefix(root()).map_or(manifest.clone(), |path| path.display().to_string()),
        dependencies: elements(&value["dependencies"]).map(dependency).collect(),
    }
}

fn elements(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().expect("cargo metadata has this list").iter()
}
