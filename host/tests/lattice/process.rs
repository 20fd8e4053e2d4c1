//! Providers as processes of their own: calls both ways, restarts, replacement, and everything that a bad one may do.

use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context as TaskContext, Poll};

use bytes::Bytes;
use http_body::Frame;
use http_body_util::BodyExt as _;
use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use trellis_host::artifact::archive::{Programs, Statement, own_target, pack};
use trellis_host::config::{Config, Native, Restarts};
use trellis_host::host::Host;
use trellis_lattice::control::Client;
use trellis_lattice::error::CallErrorKind;
use trellis_lattice::id::HostId;
use trellis_lattice::identity::key::{Key, KeyKind};
use trellis_lattice::message::command::StartProvider;
use trellis_lattice::message::inventory::ProviderEntry;
use trellis_provider_sdk::{Answer, Args, Body, CallError};

use crate::cluster::{Cluster, PATIENCE, call, eventually, link, now, provider};

pub(crate) const ECHO: &str = "test:echo/echo";

fn program() -> PathBuf {
    PathBuf::from(env!("CARGO_BIN_EXE_probe-provider"))
}

/// A host that may run the program, the provider `proc`, and `probe`, which is linked to it.
pub(crate) struct Stage {
    pub(crate) cluster: Arc<Cluster>,
    pub(crate) host: Host,
    pub(crate) client: Client,
}

impl Stage {
    pub(crate) async fn set(greeting: Option<&str>) -> Self {
        Self::with(Restarts::default(), greeting).await
    }

    pub(crate) async fn with(restarts: Restarts, greeting: Option<&str>) -> Self {
        let config = greeting.map(|greeting| ("greeting", greeting)).into_iter().collect::<Vec<_>>();
        let this = Self::with_config(restarts, &config).await;
        let expected = format!("{}hello", greeting.unwrap_or_default());
        let told = this.until("hello", |told| told.as_ref().is_ok_and(|told| *told == expected)).await;
        told.expect("it was waited for");
        this
    }

    /// With that config of the link.
    pub(crate) async fn set_with(config: &[(&str, &str)]) -> Self {
        Self::with_config(Restarts::default(), config).await
    }

    async fn with_config(restarts: Restarts, config: &[(&str, &str)]) -> Self {
        let cluster = Arc::new(Cluster::new());
        let mut settings = cluster.config("a");
        settings.native = Native { executables: vec![program()], restarts, ..Native::default() };
        let host = cluster.host_with(settings, Key::generate(KeyKind::Host)).await;
        let client = cluster.client();
        client.start_provider(&start(host.id(), &[])).await.expect("starts");
        client.start_provider(&provider(host.id(), "probe", "probe")).await.expect("starts");
        let mut to_process = link("probe", ECHO, "proc");
        if !config.is_empty() {
            let config = config.iter().map(|&(key, value)| (key.to_owned(), value.to_owned())).collect();
            client.put_config(&"link".parse().expect("valid"), &config).await.expect("put");
            to_process.target_config = vec!["link".parse().expect("valid")];
        }
        client.put_link(&to_process).await.expect("put");
        Self { cluster, host, client }
    }

    pub(crate) async fn tell(&self, order: &str) -> Result<String, CallError> {
        self.cluster.call("probe", ECHO, order).await
    }

    pub(crate) async fn until(
        &self,
        order: &str,
        is_enough: impl Fn(&Result<String, CallError>) -> bool,
    ) -> Result<String, CallError> {
        eventually(|| async {
            let told = self.tell(order).await;
            if is_enough(&told) { Ok(told) } else { Err(format!("{told:?}")) }
        })
        .await
    }

    /// Waits until the inventory has the process so.
    pub(crate) async fn until_shown(&self, is_enough: impl Fn(&ProviderEntry) -> bool) {
        eventually(|| async {
            let inventory = self.client.inventory(self.host.id()).await.map_err(|error| error.to_string())?;
            let shown = inventory.providers.into_iter().find(|entry| entry.id.as_str() == "proc");
            if shown.as_ref().is_some_and(&is_enough) { Ok(()) } else { Err(format!("{shown:?}")) }
        })
        .await;
    }

    pub(crate) async fn pid(&self) -> Pid {
        let told = self.until("pid", Result::is_ok).await.expect("is there");
        Pid::from_raw(told.parse().expect("a number")).expect("a process")
    }

    async fn call(&self, function: &str, body: Body) -> Result<Answer<Args>, CallError> {
        let mut call = call("probe", ECHO, "");
        call.function = function.into();
        call.body = body;
        self.cluster.probe("probe").call(call).await
    }
}

pub(crate) fn start(host: &HostId, config: &[&str]) -> StartProvider {
    let config = config.iter().map(|name| name.parse().expect("valid")).collect();
    let reference = format!("file://{}", program().display());
    StartProvider { provider_ref: reference, config, ..provider(host, "proc", "") }
}

pub(crate) async fn gone(pid: Pid) {
    eventually(|| async {
        // A process that is a zombie of ours is gone as well.
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).unwrap_or_default();
        match test_kill_process(pid).is_err() || stat.contains(") Z ") {
            true => Ok(()),
            false => Err(format!("{pid:?} is there: {stat}")),
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_goes_to_a_server_is_guarded_as_one_that_is_built_in() {
    let is_open =
        |told: &Result<String, CallError>| told.as_ref().is_err_and(|error| error.kind == CallErrorKind::BreakerOpen);
    let stage = Stage::set(Some("server ")).await;
    stage.until("panic", is_open).await.expect_err("it keeps failing");
    let pid = stage.pid().await;
    kill_process(pid, Signal::KILL).expect("killed");
    gone(pid).await;
    stage.until("hello", |told| told.as_ref().is_ok_and(|told| told == "server hello")).await.expect("is there again");
    stage.until("panic", is_open).await.expect_err("the process after it says the same");

    let stage = Stage::set(None).await;
    for _ in 0..40 {
        let error = stage.tell("panic").await.expect_err("panics");
        assert_eq!(error.kind, CallErrorKind::Provider, "what keeps to the machine needs no breaker: {error}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_go_both_ways_in_the_name_of_the_provider() {
    let stage = Stage::set(Some("hi, ")).await;
    assert_eq!(stage.tell("hello").await.expect("answers"), "hi, hello");
    let error = stage.tell("call back").await.expect_err("nothing is linked");
    assert!(error.kind == CallErrorKind::NoTarget && error.message.contains("proc"), "{error:?}");
    stage.client.start_provider(&provider(stage.host.id(), "echo", "echo")).await.expect("starts");
    stage.client.put_link(&link("proc", ECHO, "echo")).await.expect("put");
    assert_eq!(stage.until("call back", Result::is_ok).await.expect("answers"), "back");
    let large = "x".repeat(3 << 20);
    assert_eq!(stage.tell(&format!("length {large}")).await.expect("fits"), large.len().to_string());
    assert_eq!(stage.tell("large 3000000").await.expect("fits").len(), 3_000_000);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bodies_of_any_size_pass_in_little_memory() {
    let stage = Stage::set(None).await;
    let sent: Vec<u8> = (0..5_000_000_u32).map(|n| n.to_le_bytes()[0]).collect();
    let answer = stage.call("mirror", Body::Bytes(sent.clone().into())).await.expect("answers");
    assert_eq!(answer.body.collect(sent.len()).await.expect("whole"), sent);
    let processes = [std::process::id(), stage.pid().await.as_raw_nonzero().get().unsigned_abs()];
    let before = processes.map(peak_bytes);

    let mut mirrored = stage.call("mirror", Body::stream(Made { left: LARGE_BYTES })).await.expect("answers").body;
    let mut read = 0;
    while let Some(frame) = mirrored.frame().await {
        read += frame.expect("goes on to its end").into_data().expect("data").len();
    }
    assert_eq!(read, LARGE_BYTES);
    let (mut endless, mut read) = (stage.call("endless", Body::Empty).await.expect("answers").body, 0);
    while read < LARGE_BYTES {
        read += endless.frame().await.expect("has no end").expect("is whole").into_data().expect("data").len();
    }
    drop(endless);
    assert_eq!(stage.tell("hello").await.expect("answers"), "hello");

    for (name, process, before) in [("host", processes[0], before[0]), ("provider", processes[1], before[1])] {
        let grown = peak_bytes(process) - before;
        println!("the {name} grew by {} MiB at its peak", grown >> 20);
        assert!(grown < GROWTH_BYTES, "the {name} took {} MiB more for bodies that it only passes on", grown >> 20);
    }
}

/// A body that is many times larger than what may be taken for it.
const LARGE_BYTES: usize = 256 << 20;
/// What a process may take for bodies, with room for what other tests of this program do meanwhile.
const GROWTH_BYTES: u64 = 48 << 20;

/// A body that is made while it is sent.
struct Made {
    left: usize,
}

impl http_body::Body for Made {
    type Data = Bytes;
    type Error = CallError;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut TaskContext<'_>) -> Poll<Option<Result<Frame<Bytes>, CallError>>> {
        let length = self.left.min(64 << 10);
        self.left -= length;
        Poll::Ready((length > 0).then(|| Ok(Frame::data(vec![7; length].into()))))
    }
}

/// The most memory that a process has had resident so far.
fn peak_bytes(process: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("Linux has it");
    let kib: u64 = line.trim().trim_end_matches(" kB").parse().expect("a number");
    kib << 10
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_sees_nothing_of_its_host() {
    let stage = Stage::set(None).await;
    let seen: serde_json::Value = serde_json::from_str(&stage.tell("inspect").await.expect("told")).expect("JSON");
    assert_eq!((&seen["variables"], &seen["arguments"]), (&serde_json::json!([]), &serde_json::json!([])));
    let inherited = left_open_by_whoever_started_this();
    for file in seen["files"].as_array().expect("a list") {
        let file = file.as_str().expect("text");
        // Its own: the socket twice, two pipes, what its threads wait on, and the list that it is reading.
        let is_own = ["socket:", "pipe:", "anon_inode:", "/proc/"].iter().any(|kind| file.starts_with(kind));
        assert!(is_own || inherited.iter().any(|known| known == file), "{file} is none of its business");
    }
}

/// Where descriptors of this process lead that do not close when a program is started: it has not opened them itself.
fn left_open_by_whoever_started_this() -> Vec<String> {
    const CLOSES_ON_EXEC: u32 = 0o2_000_000;
    let mut files = Vec::new();
    for entry in std::fs::read_dir("/proc/self/fd").expect("Linux").flatten() {
        let number = entry.file_name().to_string_lossy().into_owned();
        let info = std::fs::read_to_string(format!("/proc/self/fdinfo/{number}")).unwrap_or_default();
        let flags = info.lines().find_map(|line| line.strip_prefix("flags:"));
        let flags = flags.and_then(|flags| u32::from_str_radix(flags.trim(), 8).ok());
        if flags.is_some_and(|flags| flags & CLOSES_ON_EXEC == 0) {
            files.extend(std::fs::read_link(entry.path()).map(|path| path.display().to_string()));
        }
    }
    files
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_cannot_start_says_why() {
    let stage = Stage::set(None).await;
    let (client, host) = (&stage.client, stage.host.id());
    for (how, part) in [("refuse", "no such device"), ("exit", "exit status: 7")] {
        let config = [("start".to_owned(), how.to_owned())].into();
        client.put_config(&how.parse().expect("valid"), &config).await.expect("put");
        let command = StartProvider { provider_id: "other".parse().expect("valid"), ..start(host, &[how]) };
        let outcome = eventually(|| async {
            let outcome = client.start_provider(&command).await;
            match &outcome {
                Err(error) if error.to_string().contains("no such config") => Err(error.to_string()),
                _ => Ok(outcome),
            }
        })
        .await;
        let error = outcome.expect_err(how).to_string();
        assert!(error.contains(part), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn native_code_that_nobody_signed_or_named_is_refused() {
    let cluster = Cluster::new();
    let host = cluster.host("a").await;
    let error = cluster.client().start_provider(&start(host.id(), &[])).await.expect_err("refused").to_string();
    assert!(error.contains("probe-provider") && error.contains("--allow-provider"), "{error}");
    let nothing = StartProvider { provider_ref: "process:echo".to_owned(), ..start(host.id(), &[]) };
    let error = cluster.client().start_provider(&nothing).await.expect_err("refused").to_string();
    assert!(error.contains("builtin:echo"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_is_replaced_without_a_lost_call() {
    let stage = Stage::set(Some("hi, ")).await;
    let (is_over, calls) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let callers: Vec<_> = (0..4)
        .map(|_| {
            let (cluster, is_over, calls) = (Arc::clone(&stage.cluster), Arc::clone(&is_over), Arc::clone(&calls));
            tokio::spawn(async move {
                let mut failures = Vec::new();
                while !is_over.load(Ordering::Relaxed) {
                    let told = cluster.call("probe", ECHO, "hello").await;
                    failures.extend((told.as_deref() != Ok("hi, hello")).then(|| format!("{told:?}")));
                    calls.fetch_add(1, Ordering::Relaxed);
                }
                failures
            })
        })
        .collect();
    let mut pid = stage.pid().await;
    for _ in 0..5 {
        let before = calls.load(Ordering::Relaxed);
        let command = StartProvider { allow_update: true, ..start(stage.host.id(), &[]) };
        stage.client.start_provider(&command).await.expect("replaced");
        let now = stage.pid().await;
        assert_ne!(now, pid, "another process answers");
        gone(pid).await;
        pid = now;
        let goes_on = async {
            while calls.load(Ordering::Relaxed) < before + 20 {
                tokio::task::yield_now().await
            }
        };
        tokio::time::timeout(PATIENCE, goes_on).await.expect("calls go on");
    }
    is_over.store(true, Ordering::Relaxed);
    for caller in callers {
        assert_eq!(caller.await.expect("joined"), Vec::<String>::new());
    }
    let refused = StartProvider { allow_update: true, ..provider(stage.host.id(), "probe", "probe") };
    let error = stage.client.start_provider(&refused).await.expect_err("built in").to_string();
    assert!(error.contains("built in"), "{error}");
}

/// The archive of the program that `issuer` signed, for this machine.
fn archive(cluster: &Cluster, issuer: &Key) -> PathBuf {
    let program = std::fs::read(program()).expect("is built");
    let programs = Programs::from([(own_target(), program.into())]);
    let statement = Statement { name: "probe".to_owned(), vendor: "test".to_owned(), ..Statement::default() };
    let keys = (issuer, &Key::generate(KeyKind::Provider));
    let path = cluster.dir.path().join("probe.par");
    std::fs::write(&path, pack(&statement, &programs, keys, now()).expect("packed")).expect("written");
    path
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_signed_archive_runs_where_its_issuer_is_trusted() {
    let cluster = Cluster::new();
    let strict =
        Config { native: Native { issuers: Some(Vec::new()), ..Native::default() }, ..cluster.config("strict") };
    let hosts = [cluster.host("a").await, cluster.host_with(strict, Key::generate(KeyKind::Host)).await];
    let client = cluster.client();
    let of = |host: &Host, path: &Path| StartProvider {
        provider_ref: path.display().to_string(),
        ..provider(host.id(), "proc", "")
    };
    let path = archive(&cluster, &cluster.authority);
    let error = client.start_provider(&of(&hosts[1], &path)).await.expect_err("native code of nobody").to_string();
    assert!(error.contains("--provider-issuer"), "{error}");
    client.start_provider(&of(&hosts[0], &path)).await.expect("starts");
    client.start_provider(&provider(hosts[0].id(), "probe", "probe")).await.expect("starts");
    client.put_link(&link("probe", ECHO, "proc")).await.expect("put");
    cluster.call_until(("probe", ECHO), Result::is_ok).await.expect("answers");
    let kept: Vec<_> = std::fs::read_dir(cluster.dir.path().join("a/programs")).expect("kept").flatten().collect();
    assert_eq!(kept.len(), 1, "the program by its digest, and nothing else");

    let mut changed = std::fs::read(&path).expect("there");
    let middle = changed.len() / 2;
    changed[middle] ^= 1;
    std::fs::write(&path, changed).expect("written");
    let other = StartProvider { provider_id: "other".parse().expect("valid"), ..of(&hosts[0], &path) };
    let error = client.start_provider(&other).await.expect_err("changed").to_string();
    assert!(error.contains("changed after it was signed"), "{error}");
    archive(&cluster, &Key::generate(KeyKind::Account));
    let error = client.start_provider(&other).await.expect_err("a stranger's").to_string();
    assert!(error.contains("does not run"), "{error}");
}
