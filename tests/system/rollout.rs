//! New versions of an application while it is asked: by wadm, of an actor that its caller reaches over the lattice.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::task::JoinHandle;

use crate::support::app::App;
use crate::support::http as client;
use crate::support::lattice::{Lattice, path};
use crate::support::wait;

/// How many ask at once.
const CLIENTS: usize = 8;

/// Clients that ask one after the other until they are told to stop.
struct Load {
    is_over: Arc<AtomicBool>,
    clients: Vec<JoinHandle<Counts>>,
}

/// How often each answer was given, and each failure.
#[derive(Debug, Default)]
struct Counts {
    answers: BTreeMap<String, usize>,
    failures: BTreeMap<String, usize>,
}

impl Load {
    fn on(lattice: &Lattice) -> Self {
        let is_over = Arc::new(AtomicBool::new(false));
        let clients = (0..CLIENTS).map(|_| lattice.runtime.spawn(ask(lattice.address, is_over.clone()))).collect();
        Self { is_over, clients }
    }

    fn end(self, lattice: &Lattice) -> Counts {
        self.is_over.store(true, Ordering::Relaxed);
        let mut all = Counts::default();
        for client in self.clients {
            let counts = lattice.runtime.block_on(client).expect("no panic");
            counts.answers.into_iter().for_each(|(text, count)| *all.answers.entry(text).or_default() += count);
            counts.failures.into_iter().for_each(|(text, count)| *all.failures.entry(text).or_default() += count);
        }
        all
    }
}

async fn ask(address: SocketAddr, is_over: Arc<AtomicBool>) -> Counts {
    let mut counts = Counts::default();
    while !is_over.load(Ordering::Relaxed) {
        match client::get(address, "/").await {
            Ok((200, body)) => *counts.answers.entry(body).or_default() += 1,
            other => *counts.failures.entry(format!("{other:?}")).or_default() += 1,
        }
    }
    counts
}

/// Deploys `first` and then `second` in its place, with one hundred instances each, while it is asked over `interface`.
fn check_update(first: &str, second: &str, interface: &str) {
    let mut lattice = Lattice::without_hosts();
    for name in ["a", "b"] {
        lattice.start_host_with(name, &["--label", &format!("name={name}")]);
    }
    lattice.wait_for_hosts(2);
    lattice.start_wadm();
    let imports: &[&str] = &[];
    let version = |version: &str, image: &str| {
        let actor = format!("image: file://{image}.signed.wasm");
        App::example_of(&lattice, "hello", &[(image, imports)])
            .with("image: file://hello.signed.wasm", &actor)
            .with("interfaces: [incoming-handler]", &format!("interfaces: [{interface}]"))
            .with("version: v1", &format!("version: {version}"))
            .with(
                "            instances: 100\n",
                "            instances: 100\n            spread: [ { name: apart, requirements: { name: b } } ]\n",
            )
            .with(
                "image: builtin:http-server\n      traits:\n",
                "image: builtin:http-server\n      traits:\n        - { type: spreadscaler, properties: { instances: 1, \
                 spread: [ { name: front, requirements: { name: a } } ] } }\n",
            )
            .write_as(version)
    };
    lattice.run(&["app", "deploy", path(&version("v1", first)), "--wait"]);
    let old = lattice.until_ok("/");
    assert_eq!(lattice.host_of("hello-hello"), "b", "the caller is on a");

    let load = Load::on(&lattice);
    lattice.run(&["app", "deploy", path(&version("v2", second)), "--wait"]);
    assert_ne!(lattice.until_ok("/"), old, "deployed means that it is the new one");
    lattice.run(&["app", "rollback", "hello", "--wait"]);
    assert_eq!(lattice.until_ok("/"), old, "and back");
    lattice.run(&["app", "deploy", path(&version("v3", second)), "--wait"]);
    let counts = load.end(&lattice);

    assert!(counts.failures.is_empty(), "{counts:?}");
    let of_old = counts.answers.get(&old).copied().unwrap_or_default();
    let of_new = counts.answers.values().sum::<usize>() - of_old;
    assert!(of_old > 0 && of_new > 0, "{counts:?}");
    // What is deployed stays so.
    wait::until("the version is deployed", || {
        let versions = lattice.run(&["app", "versions", "hello"]);
        let is_so = versions.lines().any(|line| line.contains("v3") && line.contains("deployed"));
        if is_so { Ok(()) } else { Err(versions) }
    });
}

#[test]
fn a_new_version_of_an_actor_on_another_host_loses_no_request() {
    check_update("hello", "echo", "incoming-handler");
}

#[test]
fn the_same_holds_for_an_actor_whose_instances_are_used_again() {
    check_update("hello-async", "busy-async", "handler");
}
