//! Providers that mean harm: what they reach, what they see, as whom they speak, and how much they take. The attacks are
//! `tests/attacker`, and in `calls` a script that calls the kernel as safe Rust cannot.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;

mod calls;

use crate::support::lattice::{Lattice, path};
use crate::support::{http, process, wait};

/// What must never be seen by a provider.
const CANARY: &str = "canary-4711";

fn attacker() -> PathBuf {
    let file = process::binary().with_file_name("attacker");
    assert!(file.exists(), "{} is missing: `cargo xtask test` builds it", file.display());
    file.canonicalize().expect("it is there")
}

/// An actor that counts in a store that is a process, so that there are neighbours; the attacker may run.
fn neighbourhood(before: &str, arguments: &[&str]) -> Lattice {
    let attacker = attacker();
    let lattice = Lattice::one_box_after(before, &[&["--allow-provider", path(&attacker)], arguments].concat());
    let component = lattice.signed("counter", &["wasi:keyvalue/*"]);
    lattice.run(&["start", "provider", "kv", "process:keyvalue"]);
    lattice.run(&["link", "put", "counter", "kv", "wasi:keyvalue/store,atomics"]);
    lattice.run(&["start", "actor", "counter", path(&component)]);
    lattice.serve_http(None, &[("/", "counter")]);
    lattice.until_ok("/a");
    lattice
}

/// Starts the attacker as the provider `id`, with settings.
fn attack(lattice: &Lattice, id: &str, settings: &[&str]) {
    let config = format!("of-{id}");
    lattice.run(&[&["config", "put", &config], settings].concat());
    lattice.run(&["start", "provider", id, path(&attacker()), "--config", &config]);
}

fn folder(lattice: &Lattice, id: &str) -> PathBuf {
    lattice.data().join("hosts/local/providers").join(id)
}

/// What came of the attack of the provider `id`, once `key` is in it.
fn report(lattice: &Lattice, id: &str, key: &str) -> BTreeMap<String, String> {
    let file = folder(lattice, id).join("report.json");
    wait::until(&format!("{key} in the report of {id}"), || {
        let text = std::fs::read_to_string(&file).unwrap_or_default();
        let report: BTreeMap<String, String> = serde_json::from_str(&text).unwrap_or_default();
        if report.contains_key(key) { Ok(report) } else { Err(format!("{text}\n{}", lattice.servers[0].output())) }
    })
}

/// Files with secrets of the lattice, its hosts and their providers, and folders in which they lie.
fn secrets(lattice: &Lattice) -> Vec<PathBuf> {
    let mut found = vec![lattice.data().to_owned()];
    let mut folders = found.clone();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("is a folder").flatten() {
            let path = entry.path();
            if path.ends_with("hosts/local/providers/bad") || path.ends_with("hosts/local/providers/bad.tmp") {
                continue;
            }
            if path.is_dir() && !path.ends_with("cache") {
                folders.push(path.clone());
            }
            // Names of sockets have the mark in them that stands between names in a config.
            if !path.to_string_lossy().contains(':') {
                found.push(path);
            }
        }
    }
    assert!(found.iter().any(|path| path.ends_with("keys")), "{found:?}");
    assert!(found.iter().any(|path| path.starts_with(folder(lattice, "kv")) && path.is_file()), "{found:?}");
    found.extend(["/etc/shadow", "/root", "/tmp", "/proc", "/proc/1/environ", "/home", "/var/log"].map(PathBuf::from));
    found
}

fn listed(paths: &[PathBuf]) -> String {
    paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(":")
}

/// Has the attacker read `secrets`, write to `targets`, and more, in the folder `outside` too.
fn reach(lattice: &Lattice, (secrets, targets): (&[PathBuf], &[PathBuf]), outside: &Path) -> BTreeMap<String, String> {
    let settings = [
        "attack=reach".to_owned(),
        format!("read={}", listed(secrets)),
        format!("write={}", listed(targets)),
        format!("host={}", lattice.servers[0].id()),
        format!("outside={}", outside.display()),
    ];
    attack(lattice, "bad", &settings.each_ref().map(String::as_str));
    report(lattice, "bad", "variables")
}

#[test]
fn a_provider_reaches_nothing_of_its_host_nor_of_others() {
    let (lattice, outside) = (neighbourhood("", &[]), tempfile::tempdir().expect("a folder"));
    let targets = [
        lattice.data().join("mine"),
        lattice.data().join("keys/mine"),
        folder(&lattice, "kv").join("mine"),
        attacker(),
        outside.path().join("mine"),
        "/dev/shm/mine".into(),
    ];
    let (own, others): (BTreeMap<_, _>, BTreeMap<_, _>) =
        reach(&lattice, (&secrets(&lattice), &targets), outside.path())
            .into_iter()
            .partition(|(attempt, _)| attempt.starts_with("own "));
    for (attempt, outcome) in &own {
        assert_eq!(outcome, "done", "{attempt}");
    }
    assert_eq!((&*others["variables"], &*others["arguments"]), ("TMPDIR", ""));
    let attempts = others.iter().filter(|(attempt, _)| !["variables", "arguments"].contains(&attempt.as_str()));
    let reached: Vec<_> = attempts
        .clone()
        // A program that runs is written to by nobody.
        .filter(|(_, outcome)| !["PermissionDenied", "ExecutableFileBusy"].contains(&outcome.as_str()))
        .collect();
    assert!(reached.is_empty(), "{reached:#?}");
    assert!(attempts.count() > 40, "the attack was one: {others:#?}");
    assert_eq!(lattice.get("/a").0, 200);
}

/// Without it, the attacks of the test before succeed: it is confinement that they fail by.
#[test]
fn a_provider_that_is_not_confined_reaches_what_its_user_can() {
    let lattice = neighbourhood("", &["--provider-confine", "off"]);
    lattice.servers[0].wait_for("not confined");
    let (outside, keys) = (tempfile::tempdir().expect("a folder"), lattice.data().join("keys"));
    let target = outside.path().join("mine");
    let seen = reach(&lattice, (std::slice::from_ref(&keys), std::slice::from_ref(&target)), outside.path());
    let reached = [format!("read {}", keys.display()), format!("write {}", target.display())];
    for attempt in reached.iter().map(String::as_str).chain(["fork", "hidden memory", "unix listener", "host signal"]) {
        assert_eq!(seen[attempt], "done", "{attempt}: {seen:#?}");
    }
}

#[test]
fn a_provider_sees_nothing_that_whoever_started_its_host_has_left() {
    let files = tempfile::tempdir().expect("a folder");
    let secret = files.path().join("secret");
    std::fs::write(&secret, CANARY).expect("written");
    let before = format!(
        "exec 7<'{0}' 9<'{0}'\nexport OTEL_EXPORTER_OTLP_HEADERS={CANARY} AWS_SECRET_ACCESS_KEY={CANARY}",
        secret.display()
    );
    let lattice = neighbourhood(&before, &[]);
    let host = lattice.servers[0].id();
    let left = std::fs::read_link(format!("/proc/{host}/fd/7")).expect("the host has it open");
    assert_eq!(left, secret.canonicalize().expect("is there"));
    let pid = process::provider_of(host, "keyvalue");
    let read = |file: &str| {
        String::from_utf8_lossy(&std::fs::read(format!("/proc/{pid}/{file}")).expect("it runs")).into_owned()
    };
    let (environment, arguments) = (read("environ"), read("cmdline"));
    assert_eq!(environment, format!("TMPDIR={}\0", folder(&lattice, "kv.tmp").display()));
    let arguments: Vec<_> = arguments.split_terminator('\0').skip(1).collect();
    assert_eq!(arguments, ["provider", "keyvalue", "--log-format=json", "--log=info"]);
    for entry in std::fs::read_dir(format!("/proc/{pid}/fd")).expect("it runs").flatten() {
        let Ok(target) = std::fs::read_link(entry.path()) else { continue };
        let is_own = ["socket:", "pipe:", "anon_inode:"].iter().any(|kind| target.to_string_lossy().starts_with(kind));
        assert!(is_own || target.starts_with(folder(&lattice, "kv")), "{} is open in it", target.display());
    }
}

#[test]
fn nothing_that_a_provider_says_in_the_name_of_others_is_accepted() {
    let lattice = neighbourhood("", &[]);
    let running = std::fs::read_to_string(lattice.data().join("lattice/running.json")).expect("it runs");
    let running: Value = serde_json::from_str(&running).expect("JSON");
    let bus = running["url"].as_str().expect("text").trim_start_matches("nats://").to_owned();
    attack(&lattice, "bad", &["attack=forge", &format!("bus={bus}")]);
    let report = report(&lattice, "bad", "accepted");
    assert_eq!(report["bus"], "there");
    assert_eq!((&*report["tried"], &*report["accepted"]), ("200", ""));
    assert_eq!(lattice.get("/a").0, 200, "what it ordered to end goes on");
    let hosts: Value = serde_json::from_str(&lattice.run(&["get", "hosts", "--output", "json"])).expect("JSON");
    assert_eq!(hosts.as_array().map(Vec::len), Some(1), "{hosts}");
}

#[test]
fn a_provider_that_never_answers_costs_its_callers_their_time_and_nobody_else() {
    let lattice = neighbourhood("", &[]);
    attack(&lattice, "bad", &["attack=none"]);
    let component = lattice.signed("counter", &["wasi:keyvalue/*"]);
    lattice.run(&["link", "put", "victim", "bad", "wasi:keyvalue/store,atomics"]);
    lattice.run(&["start", "actor", "victim", path(&component)]);
    lattice.route_with("victim", "wasi:http/incoming-handler", &["path=/victim", "timeout=700ms"]);
    wait::until("calls that end", || match lattice.get("/victim").0 {
        504 => Ok(()),
        status => Err(status.to_string()),
    });
    for _ in 0..5 {
        let began = Instant::now();
        let (status, body) = lattice.get("/victim");
        assert_eq!(status, 504, "{body}");
        assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
        assert_eq!(lattice.get("/a").0, 200);
    }
}

/// Calls of a neighbour, until it is ended; then none may have failed.
struct Neighbour {
    is_over: Arc<AtomicBool>,
    calls: Option<tokio::task::JoinHandle<(u32, Vec<String>)>>,
}

impl Neighbour {
    fn calling(lattice: &Lattice) -> Self {
        let is_over = Arc::new(AtomicBool::new(false));
        let (address, over) = (lattice.address, Arc::clone(&is_over));
        let calls = lattice.runtime.spawn(async move {
            let (mut calls, mut failures) = (0, Vec::new());
            while !over.load(Ordering::Relaxed) {
                match http::get(address, "/neighbour").await {
                    Ok((200, _)) => {}
                    other => failures.push(format!("{other:?}")),
                }
                calls += 1;
            }
            (calls, failures)
        });
        Self { is_over, calls: Some(calls) }
    }

    fn end(mut self, lattice: &Lattice) {
        self.is_over.store(true, Ordering::Relaxed);
        let (calls, failures) = lattice.runtime.block_on(self.calls.take().expect("once")).expect("no panic");
        assert!(calls > 20 && failures.is_empty(), "{calls} calls, of which failed: {failures:?}");
    }
}

fn size(folder: &Path) -> u64 {
    std::fs::read_dir(folder)
        .expect("is there")
        .flatten()
        .filter_map(|entry| entry.metadata().ok())
        .map(|m| m.len())
        .sum()
}

/// Of 64 it gets no more, or where there is no control group half of what the host's user may have.
fn takes_threads(lattice: &Lattice) {
    let output = lattice.servers[0].output();
    if output.contains("threads of providers are not bounded") {
        eprintln!("not proven: this host is root and can make no control groups");
        return;
    }
    attack(lattice, "threads", &["attack=threads"]);
    let taken = report(lattice, "threads", "count");
    let count: u32 = taken["count"].parse().expect("a number");
    let most = if output.contains("no control groups") { 8_192 } else { 64 };
    assert!(count < most && taken["end"] != "done", "{taken:?}");
    lattice.run(&["stop", "provider", "threads"]);
}

#[test]
fn a_provider_that_takes_all_it_can_get_disturbs_nobody() {
    let lattice = neighbourhood("", &["--provider-threads", "64", "--provider-memory", "256", "--provider-disk", "64"]);
    let server = &lattice.servers[0];
    let neighbour = Neighbour::calling(&lattice);

    takes_threads(&lattice);

    attack(&lattice, "files", &["attack=files"]);
    let taken = report(&lattice, "files", "count");
    let count: u32 = taken["count"].parse().expect("a number");
    assert!(count < 4_096 && taken["end"] != "done", "{taken:?}");
    lattice.run(&["stop", "provider", "files"]);

    attack(&lattice, "memory", &["attack=memory"]);
    wait::until("the end of what takes memory", || {
        let text = std::fs::read_to_string(folder(&lattice, "memory").join("report.json")).unwrap_or_default();
        let output = server.output();
        let is_killed = output.lines().any(|line| line.contains("process ended") && line.contains("memory"));
        if text.contains("OutOfMemory") || is_killed { Ok(()) } else { Err(text) }
    });
    lattice.run(&["stop", "provider", "memory"]);

    attack(&lattice, "disk", &["attack=disk"]);
    server.wait_for("keeps more than 64 MiB on the disk");
    lattice.run(&["stop", "provider", "disk"]);
    let kept = size(&folder(&lattice, "disk"));
    assert!(kept < 4 << 30, "{kept} bytes");

    neighbour.end(&lattice);
    assert!(server.resident_bytes() < 1 << 30, "the host itself");
}

#[test]
fn folders_elsewhere_are_reached_where_the_operator_says_so() {
    let folder = tempfile::tempdir().expect("a folder");
    let root = format!("root={}", folder.path().display());
    let start = |arguments: &[&str]| {
        let lattice = Lattice::one_box(arguments);
        lattice.run(&["config", "put", "blobs", "backend=fs", &root]);
        lattice.run(&["start", "provider", "blobs", "process:blobstore", "--config", "blobs"]);
        lattice.run(&["link", "put", "files", "blobs", "wasi:blobstore/blobstore,container"]);
        lattice
    };
    let refused = start(&[]);
    wait::until("a link that fails and says the way out", || {
        let inventory = refused.run(&["get", "inventory", "--output", "json"]);
        let says = ["--provider-write", path(folder.path())].iter().all(|part| inventory.contains(part));
        if says { Ok(()) } else { Err(inventory) }
    });
    let given = start(&["--provider-write", path(folder.path())]);
    wait::until("a link that stands", || {
        let links = given.run(&["get", "links", "--output", "json"]);
        if links.contains("\"up\"") { Ok(()) } else { Err(links) }
    });
}
