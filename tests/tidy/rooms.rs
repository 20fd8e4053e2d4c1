//! Rules about where a name may stand.

use std::collections::{BTreeMap, BTreeSet};

use crate::source::{Finding, Source, report, root, sources};

/// Rule: `async_nats` is named only in lattice's `transport/nats` and `store/jetstream`, in the backends of providers on
/// NATS, and in tests.
#[test]
fn the_nats_client_is_named_in_its_rooms_only() {
    let is_allowed = |path: &str| {
        path.starts_with("lattice/src/transport/nats")
            || path.starts_with("lattice/src/store/jetstream")
            || path.starts_with("capability-providers/messaging/src/nats")
            || path.starts_with("capability-providers/messaging/src/jetstream")
            || path.starts_with("capability-providers/keyvalue/src/backend/nats/")
            || is_measuring(path)
    };
    let findings =
        sources().iter().filter(|source| !is_allowed(&source.path)).flat_map(|source| source.naming("async_nats"));
    report(
        "async_nats is named only in lattice/src/transport/nats, lattice/src/store/jetstream and backends of providers",
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

fn is_measuring(path: &str) -> bool {
    ["xtask/bare-host/", "xtask/driver/", "xtask/src/bench/"].iter().any(|folder| path.starts_with(folder))
}

#[test]
fn rules_find_the_names_that_they_look_for() {
    let source = Source::parse(
        "a.rs",
        "//! A.\n/// Not `async_nats`.\nfn f() {\n    println!(\"wasmbus.x\", async_nats::connect());\n}\n".to_owned(),
    );
    assert_eq!(source.naming("async_nats").map(|finding| finding.line).collect::<Vec<_>>(), [4]);
    assert_eq!(source.literals().map(|(line, _)| line).collect::<Vec<_>>(), [4]);
    let source = Source::parse("a.rs", "//! A.\n#[cfg(test)]\nmod tests {\n    use async_nats as n;\n}\n".to_owned());
    assert_eq!(source.naming("async_nats").count(), 0);
    let source = Source::parse("a.rs", "//! A.\nfn f() { std::env::var(\"A\"); env!(\"B\"); }".to_owned());
    assert_eq!(environment_readings(&source), [2]);
}
