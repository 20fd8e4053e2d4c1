//! One process with everything in it, as a newcomer starts it.

use std::os::unix::fs::PermissionsExt as _;

use crate::support::lattice::{Lattice, path};
use crate::support::nats::free_port;
use crate::support::process::{self, Server};
use crate::support::{guests, http};

#[test]
fn a_bare_component_is_served_at_once_and_stops_when_asked() {
    let data = tempfile::tempdir().expect("a temporary directory");
    let address = format!("127.0.0.1:{}", free_port());
    let server = Server::start(data.path(), &["up", path(&guests::path("hello")), "--http", &address]);
    let runtime = tokio::runtime::Runtime::new().expect("tokio starts");
    let body = http::until_ok(&runtime, address.parse().expect("valid"), "/some/path");
    assert!(body.contains("/some/path"), "{body}");
    let (status, output) = server.terminate();
    assert!(status.success(), "{status}: {output}");
    assert!(output.contains("unsigned"), "it must say that it allows an unsigned component: {output}");
}

#[test]
fn both_versions_of_wasi_http_answer() {
    let lattice = Lattice::one_box(&[]);
    for (id, interface) in [("hello", "wasi:http/incoming-handler"), ("hello-async", "wasi:http/handler")] {
        let component = lattice.signed(id, &[]);
        lattice.run(&["start", "actor", id, path(&component)]);
        if id == "hello" {
            lattice.serve_http(None, &[]);
        }
        lattice.route(&format!("/{id}"), id, interface);
        assert!(lattice.until_ok(&format!("/{id}/x")).contains("/x"));
    }
}

#[test]
fn actors_call_each_other_and_so_does_the_command_line() {
    let lattice = Lattice::one_box(&[]);
    let greeter = lattice.signed("greeter", &[]);
    lattice.run(&["start", "actor", "greeter", path(&greeter)]);
    lattice.run(&["link", "put", "caller", "greeter", "demo:greet/greeter"]);
    let caller = lattice.signed("caller", &["demo:greet/*"]);
    lattice.run(&["start", "actor", "caller", path(&caller)]);
    lattice.serve_http(None, &[]);
    lattice.route("/", "caller", "wasi:http/handler");
    assert!(lattice.until_ok("/Ada").contains("Ada"), "by a plain function");
    assert!(lattice.until_ok("/Ada/Grace").contains("Grace"), "by an async one");

    let call = r#"demo:greet/greeter.greet({name: "Ada", title: some("Dr"), language: english, occasion: birthday(36)}, {formal})"#;
    let printed = lattice.run(&["call", "greeter", call]);
    assert!(printed.contains("Good day, Dr Ada"), "{printed}");
    let nameless = call.replace("\"Ada\"", "\"\"");
    assert!(lattice.run(&["call", "greeter", &nameless]).contains("nameless"));
    let guests =
        r#"demo:greet/greeter.greet-all([{name: "Ada", title: none, language: german, occasion: any-day}], {})"#;
    assert!(lattice.run(&["call", "greeter", guests]).contains("Hallo, Ada"), "an async function");
}

#[test]
fn state_survives_a_restart_of_the_box() {
    let mut lattice = Lattice::one_box(&[]);
    let data = lattice.data().join("again");
    drop(lattice.servers.pop());
    let address = lattice.address.to_string();
    let start = || Server::start(&data, &["up", "--http", &address]);
    let run = |arguments: &[&str]| process::run(&data, arguments).ok();
    let server = start();
    server.wait_for("is up");
    run(&["config", "put", "http", &format!("address={address}")]);
    run(&["link", "put", "counter", "kv", "wasi:keyvalue/store,atomics"]);
    run(&["link", "put", "http", "counter", "wasi:http/incoming-handler"]);
    // How they stand changes as things start.
    let links = || {
        let mut links: Vec<serde_json::Value> =
            serde_json::from_str(&run(&["get", "links", "--output", "json"])).expect("JSON");
        for link in links.iter_mut().filter_map(serde_json::Value::as_object_mut) {
            link.retain(|member, _| member != "state" && member != "reason");
        }
        links
    };
    let before = links();
    let (status, output) = server.terminate();
    assert!(status.success(), "{output}");
    let server = start();
    server.wait_for("is up");
    assert_eq!(links(), before);
    drop(server);
}

#[test]
fn the_token_and_the_seeds_are_readable_by_their_owner_only() {
    let lattice = Lattice::one_box(&[]);
    let mut secrets = 0;
    let mut folders = vec![lattice.data().to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("readable").map(|entry| entry.expect("readable")) {
            let metadata = entry.metadata().expect("readable");
            let name = entry.file_name().to_string_lossy().into_owned();
            if metadata.is_dir() {
                folders.push(entry.path());
            } else if name.contains("token") || name.ends_with(".nk") || name.contains("seed") {
                secrets += 1;
                assert_eq!(metadata.permissions().mode() & 0o777, 0o600, "{}", entry.path().display());
            }
        }
    }
    assert!(secrets > 0, "the gateway's token lives in the data directory");
}
