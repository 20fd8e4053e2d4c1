//! A restart: settings from a file, and what ran before.

use crate::support::lattice::{Lattice, path};
use crate::support::process::Server;

#[test]
fn a_host_with_a_settings_file_takes_up_what_it_ran() {
    let mut lattice = Lattice::without_hosts();
    let file = lattice.data().join("host.toml");
    let text =
        format!("name = \"edge-1\"\nnats-url = \"{}\"\nresume = true\n[labels]\nzone = \"edge\"\n", lattice.nats_url());
    std::fs::write(&file, text.replace("nats-url = \"", "nats-url = [\"").replace("\"\nresume", "\"]\nresume"))
        .expect("the directory is writable");
    let server = Server::start(lattice.data(), &["host", "--config", path(&file)]);
    lattice.servers.push(server);
    lattice.wait_for_hosts(1);
    let hosts = lattice.run(&["get", "hosts"]);
    assert!(hosts.contains("edge-1") && hosts.contains("zone=edge"), "{hosts}");
    let hello = lattice.signed("hello", &[]);
    lattice.run(&["start", "actor", "hello", path(&hello)]);
    lattice.serve_http(None, &[("/", "hello")]);
    lattice.until_ok("/before");

    let (status, output) = lattice.servers.pop().expect("is there").terminate();
    assert!(status.success(), "{output}");
    // The bytes are kept by the host: their source may be gone.
    std::fs::remove_file(&hello).expect("it is ours");
    let server = Server::start(lattice.data(), &["host", "--config", path(&file)]);
    lattice.servers.push(server);
    assert!(lattice.until_ok("/after").contains("/after"));
}

#[test]
fn a_box_takes_up_what_it_ran_when_it_is_asked_to() {
    let mut lattice = Lattice::one_box(&[]);
    let counter = lattice.signed("counter", &["wasi:keyvalue/*"]);
    lattice.run(&["start", "provider", "kv", "builtin:keyvalue"]);
    lattice.run(&["link", "put", "counter", "kv", "wasi:keyvalue/store,atomics"]);
    lattice.run(&["start", "actor", "counter", path(&counter)]);
    lattice.serve_http(None, &[("/", "counter")]);
    assert!(lattice.until_ok("/apples").contains('1'));
    for (arguments, is_resumed) in [(&["up"][..], false), (&["up", "--resume"], true)] {
        let (status, output) = lattice.servers.pop().expect("is there").terminate();
        assert!(status.success(), "{output}");
        let server = Server::start(lattice.data(), arguments);
        server.wait_for("is up");
        lattice.servers.push(server);
        lattice.wait_for_hosts(1);
        if is_resumed {
            assert!(lattice.until_ok("/apples").contains('2'), "state is kept as well");
        } else {
            let inventory = lattice.run(&["get", "inventory", "--output", "json"]);
            assert!(!inventory.contains("counter"), "nobody asked for it: {inventory}");
        }
    }
}
