//! The house rules as tests: what ARCHITECTURE.md and CONTRIBUTING.md say about the shape of this code base and clippy
//! cannot check. One test for each rule; a failure names file, line and rule. Nothing outside the repository is read.

#![forbid(unsafe_code)]

#[path = "tidy/source.rs"]
mod source;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::source::{Finding, Source, files, read, report, root, sources};

/// Lines of a file without its tests stay below this.
const FILE_LINES: usize = 400;
/// Lines of code of a function stay below this.
const FUNCTION_LINES: usize = 60;

/// Which of our crates a crate may depend on; tests may use more (see `MAY_USE_IN_TESTS`).
const MAY_DEPEND_ON: &[(&str, &[&str])] = &[
    ("trellis-interfaces", &[]),
    ("trellis-lattice", &[]),
    ("trellis-provider-sdk", &["trellis-lattice", "trellis-interfaces"]),
    ("trellis-provider-http-server", &["trellis-provider-sdk", "trellis-interfaces"]),
    ("trellis-provider-keyvalue", &["trellis-provider-sdk", "trellis-interfaces"]),
    ("trellis-host", &["trellis-lattice", "trellis-interfaces", "trellis-provider-sdk"]),
    ("trellis-wadm", &["trellis-lattice"]),
    (
        "trellis",
        &[
            "trellis-interfaces",
            "trellis-lattice",
            "trellis-provider-sdk",
            "trellis-provider-http-server",
            "trellis-provider-keyvalue",
            "trellis-host",
            "trellis-wadm",
        ],
    ),
    ("trellis-tests", &[]),
    ("xtask", &[]),
];

/// What the tests of a crate may depend on beyond that.
const MAY_USE_IN_TESTS: &[(&str, &[&str])] = &[
    ("trellis-host", &["trellis-provider-http-server", "trellis-provider-keyvalue"]),
    (
        "trellis-tests",
        &["trellis-interfaces", "trellis-lattice", "trellis-provider-sdk", "trellis-host", "trellis-wadm"],
    ),
];

/// External crates that only the named crates of ours may depend on (beside what only measures or tests).
const KEPT_TO: &[(&str, &[&str])] = &[
    ("async-nats", &["trellis-lattice"]),
    ("wasmtime", &["trellis-host"]),
    ("wasmtime-wasi", &["trellis-host"]),
    ("wasmtime-wasi-http", &["trellis-host"]),
    ("redb", &["trellis-lattice", "trellis-provider-keyvalue"]),
    ("clap", &["trellis", "xtask"]),
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

/// Rule: `async_nats` is named only in lattice's `transport/nats` and `store/jetstream`, and in tests.
#[test]
fn the_nats_client_is_named_in_its_two_rooms_only() {
    let is_allowed = |path: &str| {
        path.starts_with("lattice/src/transport/nats")
            || path.starts_with("lattice/src/store/jetstream")
            || is_measuring(path)
    };
    let findings =
        sources().iter().filter(|source| !is_allowed(&source.path)).flat_map(|source| source.naming("async_nats"));
    report(
        "async_nats is named only in lattice/src/transport/nats and lattice/src/store/jetstream",
        findings.collect(),
    );
}

/// Rule: wasmtime is named only in host's `runtime/`, `capability/` and `actor/`, and in tests.
#[test]
fn the_engine_is_named_in_its_three_rooms_only() {
    let rooms = ["host/src/runtime/", "host/src/capability/", "host/src/actor/"];
    let is_allowed = |path: &str| rooms.iter().any(|room| path.starts_with(room)) || is_measuring(path);
    let findings = sources().iter().filter(|source| !is_allowed(&source.path)).flat_map(|source| {
        ["wasmtime", "wasmtime_wasi", "wasmtime_wasi_http"].into_iter().flat_map(|name| source.naming(name))
    });
    report("wasmtime is named only in host/src/runtime, capability and actor", findings.collect());
}

/// Rule: subjects are spelled only in `lattice/src/subject.rs` (and in tests, which play other clients).
#[test]
fn subjects_are_spelled_in_one_file() {
    let home =
        sources().iter().find(|source| source.path == "lattice/src/subject.rs").expect("lattice/src/subject.rs exists");
    let spelled = home.literals().filter(|(_, text)| text.starts_with("wasmbus.") || text.starts_with("trellis."));
    let prefixes: BTreeSet<String> =
        spelled.map(|(_, text)| text.splitn(3, '.').take(2).collect::<Vec<_>>().join(".")).collect();
    assert!(prefixes.contains("wasmbus.ctl"), "the subjects in lattice/src/subject.rs are found: {prefixes:?}");
    let mut findings = Vec::new();
    for source in sources().iter().filter(|source| source.path != home.path && !is_measuring(&source.path)) {
        for (line, text) in source.literals() {
            if prefixes.iter().any(|prefix| text.starts_with(prefix.as_str())) {
                findings.push(Finding::new(&source.path, line, format!("the subject {text:?} is spelled")));
            }
        }
    }
    report("subjects are spelled only in lattice/src/subject.rs", findings);
}

/// Rule: what a guest calls leaves by `host/src/router.rs`; the rooms that guests reach know no `rpc` and no transport.
#[test]
fn guests_reach_the_lattice_through_the_router() {
    let rooms = ["host/src/capability/", "host/src/runtime/", "host/src/actor/"];
    let mut findings = Vec::new();
    for source in sources().iter().filter(|source| rooms.iter().any(|room| source.path.starts_with(room))) {
        for module in ["rpc", "transport"] {
            let lines = source.sequences(&["trellis_lattice", ":", ":", module]);
            findings
                .extend(lines.into_iter().map(|line| Finding::new(&source.path, line, format!("{module} is named"))));
        }
    }
    report("every call that leaves a guest passes host/src/router.rs", findings);
}

/// Rule: what decides has no async, clock or randomness: they come in as arguments.
#[test]
fn deciding_code_is_pure() {
    let pure = ["host/src/links", "host/src/policy", "wadm/src/plan", "wadm/src/manifest"];
    let impure = ["async", "await", "tokio", "Instant", "SystemTime", "Uuid", "rand", "OsRng", "spawn"];
    let mut findings = Vec::new();
    for source in sources().iter().filter(|source| pure.iter().any(|folder| source.path.starts_with(folder))) {
        findings.extend(impure.iter().flat_map(|name| source.naming(name)));
    }
    report("plan/, links, policy and manifest/ have no async, clock or randomness", findings);
}

/// Rule: the environment is read in one module of a binary and in none of a library.
#[test]
fn the_environment_is_read_in_one_module_per_binary() {
    let mut readers: BTreeMap<String, Vec<Finding>> = BTreeMap::new();
    for source in sources().iter().filter(|source| !source.path.starts_with("tests/")) {
        if let Some(line) = environment_readings(source).first() {
            let package = source.path.split("/src/").next().unwrap_or(&source.path).to_owned();
            let finding = Finding::new(&source.path, *line, "the environment is read".to_owned());
            readers.entry(package).or_default().push(finding);
        }
    }
    let is_binary = |package: &str| root().join(package).join("src/main.rs").is_file();
    let findings = readers.into_iter().filter(|(package, found)| found.len() > usize::from(is_binary(package)));
    report(
        "the environment is read in one module of a binary, in none of a library",
        findings.flat_map(|(_, found)| found).collect(),
    );
}

fn environment_readings(source: &Source) -> Vec<usize> {
    let names = ["var", "var_os", "vars", "vars_os", "args", "args_os", "home_dir"];
    names.iter().flat_map(|name| source.sequences(&["env", ":", ":", name])).collect()
}

/// Rule: a file has fewer than 400 lines without its tests.
#[test]
fn files_are_short() {
    report("files have fewer than 400 lines without tests", sources().iter().filter_map(long_file).collect());
}

fn long_file(source: &Source) -> Option<Finding> {
    let lines = (1..=source.lines.len()).filter(|line| !source.is_test(*line)).count();
    (lines >= FILE_LINES).then(|| Finding::new(&source.path, 1, format!("{lines} lines")))
}

/// Rule: a function has fewer than 60 lines of code.
#[test]
fn functions_are_short() {
    report("functions have fewer than 60 lines", sources().iter().flat_map(long_functions).collect());
}

fn long_functions(source: &Source) -> Vec<Finding> {
    let functions = source.shape.functions.iter().filter(|function| !source.is_test(function.first));
    let counted = functions.map(|function| (function, source.code_lines(function.first..=function.last)));
    let long = counted.filter(|(_, lines)| *lines >= FUNCTION_LINES);
    long.map(|(function, lines)| {
        Finding::new(&source.path, function.first, format!("{} has {lines} lines", function.name))
    })
    .collect()
}

/// Rule: a file begins with `//!`: what lives here, and what does not.
#[test]
fn modules_begin_with_what_lives_there() {
    let findings = sources().iter().filter(|source| !source.lines.first().is_some_and(|line| line.starts_with("//! ")));
    report(
        "a module begins with //!",
        findings.map(|source| Finding::new(&source.path, 1, "no //!".to_owned())).collect(),
    );
}

/// Rule: files are named after a concept.
#[test]
fn files_are_named_after_concepts() {
    let vague = ["helpers.rs", "helper.rs", "utils.rs", "util.rs", "common.rs", "misc.rs", "types.rs"];
    // Here types are the concept: those of functions in WIT.
    let exception = "host/src/runtime/value/types.rs";
    let is_vague = |source: &&Source| {
        source.path != exception && vague.iter().any(|name| source.path.ends_with(&format!("/{name}")))
    };
    let findings = sources().iter().filter(is_vague);
    report(
        "a file is named after a concept",
        findings.map(|source| Finding::new(&source.path, 1, "a vague name".to_owned())).collect(),
    );
}

/// Rule: every crate but host forbids unsafe code; host has one exception from the lint that denies it.
#[test]
fn unsafe_code_is_forbidden() {
    let mut findings = Vec::new();
    for source in sources() {
        let is_forbidden = !source.sequences(&["#", "!", "[", "forbid", "(", "unsafe_code"]).is_empty();
        if is_crate_root(&source.path) && !is_forbidden {
            findings.push(Finding::new(&source.path, 1, "#![forbid(unsafe_code)] is missing".to_owned()));
        }
        let exceptions = usize::from(source.path == "host/src/runtime/precompiled.rs");
        let allowed = ["allow", "expect"].iter().flat_map(|level| source.sequences(&[level, "(", "unsafe_code"]));
        let excess = allowed.skip(exceptions);
        findings.extend(excess.map(|line| Finding::new(&source.path, line, "unsafe code is allowed".to_owned())));
    }
    report("#![forbid(unsafe_code)] stands in every crate but host, which has one exception", findings);
}

/// Rule: a lint's exception is `#[expect(lint, reason = "…")]`.
#[test]
fn exceptions_have_reasons() {
    report("an exception is #[expect(lint, reason = \"…\")]", sources().iter().flat_map(bare_exceptions).collect());
}

fn bare_exceptions(source: &Source) -> Vec<Finding> {
    let attributes = source.shape.attributes.iter();
    let bare = attributes.filter(|attribute| {
        attribute.name == "allow" || (attribute.name == "expect" && !attribute.tokens.contains("reason"))
    });
    bare.map(|attribute| Finding::new(&source.path, attribute.line, format!("#[{}] without a reason", attribute.name)))
        .collect()
}

/// Rule: a test is run or removed, never ignored.
#[test]
fn no_test_is_ignored() {
    let findings = sources().iter().flat_map(|source| {
        let ignored = source.shape.attributes.iter().filter(|attribute| attribute.name == "ignore");
        ignored.map(|attribute| Finding::new(&source.path, attribute.line, "#[ignore]".to_owned()))
    });
    report("no test is ignored", findings.collect());
}

/// Rule: nothing is left for later in the code: no notes, no unfinished functions, no empty modules.
#[test]
fn nothing_is_left_for_later() {
    // Put together here, so that this file does not find itself.
    let words = [["TO", "DO"], ["FIX", "ME"], ["todo", "!("], ["unimplemented", "!("], ["//! To", " come"]]
        .map(|parts| parts.concat());
    let mut findings = Vec::new();
    for source in sources() {
        for (line, text) in (1..).zip(&source.lines) {
            if let Some(word) = words.iter().find(|word| text.contains(word.as_str())) {
                findings.push(Finding::new(&source.path, line, format!("{word} is left")));
            }
        }
    }
    report("nothing is left for later", findings);
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
    for file in files().iter().filter(|file| *file != "tests/tidy.rs") {
        for (line, text) in (1..).zip(read(file).lines()) {
            if let Some(setting) = settings.iter().find(|setting| text.contains(**setting)) {
                findings.push(Finding::new(file, line, format!("{setting} sets a registry")));
            }
        }
    }
    report("packages come from the default registry", findings);
}

/// Rule: paths that the documents name exist.
#[test]
fn documents_name_files_that_exist() {
    let mut findings = Vec::new();
    for document in files().iter().filter(|file| file.ends_with(".md") && !file.contains("wit/")) {
        let folder = Path::new(document).parent().unwrap_or(Path::new(""));
        for (line, text) in (1..).zip(read(document).lines()) {
            for path in text.split('`').skip(1).step_by(2).filter(|text| is_path(text)) {
                if !root().join(path).exists() && !root().join(folder).join(path).exists() {
                    findings.push(Finding::new(document, line, format!("{path} does not exist")));
                }
            }
        }
    }
    report("paths that the documents name exist", findings);
}

/// Whether a piece of code in a document is the path of one of our files.
fn is_path(text: &str) -> bool {
    let is_plain = text.chars().all(|c| c.is_ascii_alphanumeric() || "/._-".contains(c));
    is_plain && text.contains('/') && [".rs", ".md", ".toml", ".wit"].iter().any(|ending| text.ends_with(ending))
}

#[test]
fn rules_find_what_they_look_for() {
    let body = "    step();\n".repeat(FUNCTION_LINES);
    let source = Source::parse(
        "lattice/src/lib.rs",
        format!("//! A.\nfn long() {{\n{body}}}\n#[allow(dead_code)]\nfn short() {{}}\n"),
    );
    assert_eq!(long_functions(&source).len(), 1);
    assert_eq!(bare_exceptions(&source).len(), 1);
    let source = Source::parse(
        "a.rs",
        "//! A.\n/// Not `async_nats`.\nfn f() {\n    println!(\"wasmbus.x\", async_nats::connect());\n}\n".to_owned(),
    );
    assert_eq!(source.naming("async_nats").map(|finding| finding.line).collect::<Vec<_>>(), [4]);
    assert_eq!(source.literals().map(|(line, _)| line).collect::<Vec<_>>(), [4]);
    let source = Source::parse(
        "a.rs",
        format!("//! A.\n#[cfg(test)]\nmod tests {{\n    use async_nats as n;\n{}}}\n", "\n".repeat(FILE_LINES)),
    );
    assert_eq!(source.naming("async_nats").count(), 0);
    assert!(long_file(&source).is_none());
    let source = Source::parse("a.rs", "//! A.\nfn f() { std::env::var(\"A\"); env!(\"B\"); }".to_owned());
    assert_eq!(environment_readings(&source), [2]);
    assert!(is_path("lattice/src/id.rs") && !is_path("wasi:http/types") && !is_path("id.rs"));
}

fn is_measuring(path: &str) -> bool {
    ["xtask/bare-host/", "xtask/driver/", "xtask/src/bench/"].iter().any(|folder| path.starts_with(folder))
}

fn is_crate_root(path: &str) -> bool {
    let is_root = path.ends_with("/src/lib.rs") || path.ends_with("/src/main.rs");
    // wit-bindgen writes unsafe code into the actors; host is denied it by the workspace's lints, with one exception.
    is_root && !path.starts_with("examples/") && !path.starts_with("host/")
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
