//! What helps on the way: `build`, `completions`, `xtask doctor`.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::support::lattice::path;
use crate::support::nats::free_port;
use crate::support::process::{self, Server};
use crate::support::{guests, http};

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ lies in the workspace").to_owned()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Whether the compiler in use has the target of actors; without it they are built by another route.
fn has_guest_target() -> bool {
    let printed = Command::new("rustc").args(["--print", "target-libdir", "--target", "wasm32-wasip2"]).output();
    printed.is_ok_and(|output| Path::new(text(&output.stdout).trim()).is_dir())
}

fn build(data: &Path, directory: &Path, out: &Path) -> Output {
    // What `cargo xtask guests` compiled need not be compiled again.
    let cache =
        guests::path("hello").parent().and_then(Path::parent).expect("<target>/guests").join("guest-build/rustup");
    Command::new(process::binary())
        .args(["build", "--out", path(out)])
        .current_dir(directory)
        .env("TRELLIS_DATA_DIR", data)
        .env("CARGO_TARGET_DIR", cache)
        .env_remove("RUSTFLAGS")
        .output()
        .expect("trellis runs")
}

#[test]
fn an_actor_is_built_and_signed_and_runs() {
    let data = tempfile::tempdir().expect("a temporary directory");
    let out = data.path().join("hello.signed.wasm");
    let output = build(data.path(), &workspace().join("examples/actors/hello"), &out);
    let errors = text(&output.stderr);
    if !has_guest_target() {
        assert!(!output.status.success() && errors.contains("rustup target add wasm32-wasip2"), "{errors}");
        return;
    }
    assert!(output.status.success(), "{errors}");
    let inspected = process::run(data.path(), &["inspect", path(&out)]).ok();
    assert!(inspected.contains("wasi:http/incoming-handler"), "{inspected}");
    let address = format!("127.0.0.1:{}", free_port());
    let server = Server::start(data.path(), &["up", path(&out), "--http", &address]);
    let runtime = tokio::runtime::Runtime::new().expect("tokio starts");
    assert!(http::until_ok(&runtime, address.parse().expect("valid"), "/built").contains("/built"));
    assert!(!server.output().contains("unsigned"), "it was signed: {}", server.output());
}

#[test]
fn where_there_is_no_project_it_is_said() {
    let data = tempfile::tempdir().expect("a temporary directory");
    let output = build(data.path(), data.path(), &data.path().join("out.wasm"));
    assert!(!output.status.success() && text(&output.stderr).contains("no Cargo.toml"), "{}", text(&output.stderr));
}

#[test]
fn completions_are_written_for_each_shell() {
    let data = tempfile::tempdir().expect("a temporary directory");
    for (shell, start) in [("bash", "_trellis()"), ("zsh", "#compdef trellis"), ("fish", "complete -c trellis")] {
        let script = process::run(data.path(), &["completions", shell]).ok();
        assert!(script.contains(start) && script.contains("inventory") && script.contains("nats-url"), "{shell}");
    }
    let error = process::run(data.path(), &["completions", "cmd"]).refused();
    assert!(error.contains("bash") && error.contains("fish"), "{error}");
}

#[test]
fn the_completions_for_bash_work_in_bash() {
    let data = tempfile::tempdir().expect("a temporary directory");
    let script = data.path().join("trellis.bash");
    std::fs::write(&script, process::run(data.path(), &["completions", "bash"]).ok()).expect("writable");
    let complete = format!(
        "source {}; COMP_WORDS=(trellis get inv); COMP_CWORD=2; _trellis trellis inv get; echo \"${{COMPREPLY[@]}}\"",
        path(&script)
    );
    let output = Command::new("bash").args(["--norc", "-c", &complete]).output().expect("bash runs");
    assert!(text(&output.stdout).contains("inventory"), "{} {}", text(&output.stdout), text(&output.stderr));
}

#[test]
fn the_doctor_says_what_is_there() {
    let xtask = process::binary().with_file_name("xtask");
    let output = Command::new(xtask).arg("doctor").current_dir(workspace()).output().expect("xtask runs");
    let printed = text(&output.stdout);
    assert!(output.status.success(), "{printed}{}", text(&output.stderr));
    for tool in ["rustc", "cargo", "cc", "guest compiler", "nats-server", "trellis"] {
        let line = printed
            .lines()
            .find(|line| line.split_whitespace().skip(1).collect::<Vec<_>>().join(" ").starts_with(tool));
        assert!(line.is_some(), "{tool} is not in: {printed}");
    }
}
