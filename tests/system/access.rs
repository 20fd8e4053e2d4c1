//! Who may do what where: tokens of the bus, of hosts, and whose actors run.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use crate::support::lattice::{Lattice, listed, path, signed};
use crate::support::nats::Nats;
use crate::support::process::{self, Server};

fn private(file: &Path, text: &str) {
    std::fs::write(file, text).expect("the directory is writable");
    std::fs::set_permissions(file, std::fs::Permissions::from_mode(0o600)).expect("it is ours");
}

#[test]
fn a_wrong_token_is_refused_by_the_embedded_bus() {
    let lattice = Lattice::one_box(&[]);
    let output = lattice.servers[0].output();
    let url = output.split("bus ").nth(1).and_then(|rest| rest.split(',').next()).expect("it says where its bus is");
    let data = tempfile::tempdir().expect("a temporary directory");
    let file = data.path().join("token");
    private(&file, "wrong");
    let with_token = ["get", "hosts", "--nats-url", url, "--nats-token-file", path(&file)];
    for arguments in [&with_token[..], &with_token[..4]] {
        let error = process::run(data.path(), arguments).refused();
        let address = url.trim_start_matches("nats://");
        assert!(error.contains(address) && error.contains("credentials") && error.contains("token"), "{error}");
        assert!(!error.contains("wrong"), "a token is not shown: {error}");
    }
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).expect("it is ours");
    let error = process::run(data.path(), &with_token).refused();
    assert!(error.contains("chmod 600"), "{error}");
    lattice.wait_for_hosts(1);
}

#[test]
fn a_nats_server_without_jetstream_is_named_with_the_way_out() {
    let nats = Nats::start_with(&[]);
    let data = tempfile::tempdir().expect("a temporary directory");
    let error = process::run(data.path(), &["host", "--nats-url", &nats.url()]).refused();
    assert!(error.contains("-js"), "{error}");
}

#[test]
fn a_host_on_another_machine_joins_with_a_token_that_the_authority_signed() {
    let mut lattice = Lattice::without_hosts();
    lattice.start_host("a");
    lattice.wait_for_hosts(1);
    let hello = lattice.signed("hello", &[]);
    let there = tempfile::tempdir().expect("a temporary directory");
    process::run(there.path(), &["keys", "gen", "host", "b"]).ok();
    let request = listed(there.path(), "host", "b", "request");
    let token = there.path().join("token");
    lattice.run(&["keys", "issue", "host", &request, "--label", "zone=edge", "--out", path(&token)]);
    let issuer = listed(lattice.data(), "account", "issuer", "public");
    let url = lattice.nats_url();
    let arguments =
        ["host", "--name", "b", "--nats-url", &url, "--host-token", path(&token), "--trust-issuer", &issuer];
    let server = Server::start(there.path(), &arguments);
    lattice.servers.push(server);
    lattice.wait_for_hosts(2);

    lattice.run(&["start", "actor", "hello", path(&hello), "--label", "zone=edge"]);
    lattice.serve_http(Some("a"), &[("/", "hello")]);
    assert!(lattice.until_ok("/over-there").contains("/over-there"), "a calls b");

    // What somebody else signed does not run there.
    let foreign = signed(there.path(), "echo", &[]);
    let error = lattice.try_run(&["start", "actor", "echo", path(&foreign), "--host", "a"]).refused();
    assert!(error.contains("echo") && error.contains("trust"), "{error}");
}

#[test]
fn a_token_for_another_host_is_refused() {
    let lattice = Lattice::without_hosts();
    let file = lattice.data().join("token");
    lattice.run(&["keys", "gen", "account", "authority"]);
    lattice.run(&["keys", "issue", "host", "other", "--out", path(&file)]);
    let error = lattice.try_run(&["host", "--name", "b", "--host-token", path(&file)]).refused();
    assert!(error.contains("token"), "{error}");
    private(&file, "no token at all");
    let error = lattice.try_run(&["host", "--name", "b", "--host-token", path(&file)]).refused();
    assert!(error.contains("token"), "{error}");
}
