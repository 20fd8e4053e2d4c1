//! A restart: settings from a file, and what ran before.

use std::net::TcpStream;
use std::path::PathBuf;

use crate::support::lattice::{Lattice, path};
use crate::support::process::Server;
use crate::support::wait;

/// A file with the settings of an edge host.
fn settings(lattice: &Lattice) -> PathBuf {
    let file = lattice.data().join("host.toml");
    let url = lattice.nats_url();
    let text = format!("name = \"edge-1\"\nnats-url = [\"{url}\"]\nresume = true\n[labels]\nzone = \"edge\"\n");
    std::fs::write(&file, text).expect("the directory is writable");
    file
}

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
    for (arguments, is_resumed) in [(&["up", "--resume"][..], true), (&["up"], false)] {
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

#[test]
fn a_host_that_restarts_while_cut_off_serves_and_joins_later() {
    let mut lattice = Lattice::without_hosts();
    let file = settings(&lattice);
    let start = |lattice: &Lattice| Server::start(lattice.data(), &["host", "--config", path(&file)]);
    let server = start(&lattice);
    lattice.servers.push(server);
    lattice.wait_for_hosts(1);
    let counter = lattice.signed("counter", &["wasi:keyvalue/*"]);
    lattice.run(&["start", "provider", "kv", "builtin:keyvalue"]);
    lattice.run(&["link", "put", "counter", "kv", "wasi:keyvalue/store,atomics"]);
    lattice.run(&["start", "actor", "counter", path(&counter)]);
    lattice.serve_http(None, &[("/", "counter")]);
    assert!(lattice.until_ok("/apples").contains('1'));

    lattice.nats().stop();
    assert!(lattice.until_ok("/apples").contains('2'), "what it has on itself goes on");
    // Killed, not asked: what it needs is on disk already.
    drop(lattice.servers.pop());
    let server = start(&lattice);
    server.wait_for("joins when it is there");
    lattice.servers.push(server);
    assert!(lattice.until_ok("/apples").contains('3'), "actor, provider, links and configs are back");

    lattice.nats().start_again();
    lattice.wait_for_hosts(1);
    let (inventory, links) = (lattice.run(&["get", "inventory"]), lattice.run(&["get", "links"]));
    assert!(inventory.contains("counter") && links.contains("counter"), "{inventory}{links}");
    assert!(lattice.until_ok("/apples").contains('4'), "nothing was restarted: it counts on");
    lattice.run(&["link", "del", "http", "wasi:http", "--name", "counter"]);
    // The listener goes with its last route.
    wait::until("the route to go", || match TcpStream::connect(lattice.address) {
        Err(_) => Ok(()),
        Ok(_) => Err("somebody listens".to_owned()),
    });
}
