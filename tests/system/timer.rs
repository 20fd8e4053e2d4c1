//! Timers on real hosts: each time fires once, and hosts that are lost are replaced.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::support::app::App;
use crate::support::lattice::{Lattice, path};
use crate::support::wait;

const IMPORTS: &[&str] = &["wasi:keyvalue/*"];

/// How often the timer `second` has fired.
fn count(lattice: &Lattice) -> u64 {
    let (status, text) = lattice.get("/second");
    assert_eq!(status, 200, "{text}");
    text.split(' ').next().and_then(|count| count.parse().ok()).expect("a count and a key")
}

fn until_more_than(lattice: &Lattice, least: u64) -> u64 {
    wait::until(&format!("more than {least} firings"), || {
        let now = lattice.runtime.block_on(crate::support::http::get(lattice.address, "/second"));
        let count = match &now {
            Ok((200, text)) => text.split(' ').next().and_then(|count| count.parse().ok()),
            _ => None,
        };
        count.filter(|count| *count > least).ok_or(format!("{now:?}"))
    })
}

/// Seconds since 1970, of which each is a time of the timer.
fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs()
}

#[test]
fn an_application_fires_each_second_once() {
    let prepared = Lattice::without_hosts();
    let manifest = App::example(&prepared, "clock", IMPORTS).write();
    let server = prepared.up(&["-f", path(&manifest)]);
    server.wait_for("clock is deployed");
    until_more_than(&prepared, 1);
    let (counted, before) = (count(&prepared), now());
    until_more_than(&prepared, counted + 4);
    let (more, passed) = (count(&prepared) - counted, now() - before);
    assert!(more <= passed + 1, "{more} firings in {passed} s");
}

#[test]
fn three_hosts_fire_each_second_once_and_go_on_without_one() {
    let mut lattice = Lattice::without_hosts();
    for name in ["a", "b", "c"] {
        lattice.start_host(name);
    }
    lattice.wait_for_hosts(3);
    let actor = lattice.signed("clock", IMPORTS);
    lattice.run(&["start", "provider", "kv", "builtin:keyvalue", "--host", "a"]);
    lattice.run(&["link", "put", "clock", "kv", "wasi:keyvalue/store,atomics"]);
    for host in ["a", "b", "c"] {
        lattice.run(&["start", "actor", "clock", path(&actor), "--host", host]);
        lattice.run(&["start", "provider", "timer", "builtin:timer", "--host", host]);
    }
    lattice.serve_http(Some("a"), &[("/", "clock")]);
    lattice.run(&["config", "put", "every-second", "every=1s", "name=second", "missed=skip"]);
    lattice.run(&["link", "put", "timer", "clock", "trellis:timer/handler", "--source-config", "every-second"]);
    let counted = until_more_than(&lattice, 1);
    let before = now();
    until_more_than(&lattice, counted + 8);
    let (more, passed) = (count(&lattice) - counted, now() - before);
    assert!(more <= passed + 1, "{more} firings in {passed} s");
    for host in ["b", "c"] {
        lattice.kill(host);
        let counted = count(&lattice);
        let killed = Instant::now();
        until_more_than(&lattice, counted + 2);
        assert!(killed.elapsed() < Duration::from_secs(40), "another host took over");
    }
}
