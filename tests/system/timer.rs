//! Timers on real hosts: each time fires once, and hosts that are lost are replaced.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::support::app::App;
use crate::support::lattice::{Lattice, path};
use crate::support::wait;

const IMPORTS: &[&str] = &["wasi:keyvalue/*"];

/// What has come of the timer `second`.
#[derive(Debug, Clone, Copy)]
struct Fired {
    /// Its firings, told apart by their keys.
    firings: u64,
    /// The calls that told of them.
    calls: u64,
}

impl Fired {
    fn parse(text: &str) -> Option<Self> {
        let mut words = text.trim().split(' ');
        let firings = words.next()?.parse().ok()?;
        Some(Self { firings, calls: words.nth(1)?.parse().ok()? })
    }
}

fn fired(lattice: &Lattice) -> Fired {
    let (status, text) = lattice.get("/second");
    assert_eq!(status, 200, "{text}");
    Fired::parse(&text).expect("firings, a key and calls")
}

fn until_more_than(lattice: &Lattice, least: u64) -> Fired {
    wait::until(&format!("more than {least} firings"), || {
        let now = lattice.runtime.block_on(crate::support::http::get(lattice.address, "/second"));
        let fired = match &now {
            Ok((200, text)) => Fired::parse(text),
            _ => None,
        };
        fired.filter(|fired| fired.firings > least).ok_or(format!("{now:?}"))
    })
}

/// Waits for `count` firings more, each of which is told once, in a second of its own; seldom is one left out, as when
/// the machine was busy for all of its time.
fn fires_each_second_once(lattice: &Lattice, count: u64) {
    let (begun, before) = (until_more_than(lattice, 1), now());
    until_more_than(lattice, begun.firings + count);
    let (ended, passed) = (fired(lattice), now() - before);
    let (firings, calls) = (ended.firings - begun.firings, ended.calls - begun.calls);
    assert!(firings <= passed + 1, "{firings} firings in {passed} s");
    assert!(2 * firings + 2 >= passed, "only {firings} firings in {passed} s");
    // One of them may have been under way at either end.
    assert!(calls.abs_diff(firings) <= 1, "{calls} calls for {firings} firings");
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
    fires_each_second_once(&prepared, 4);
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
    fires_each_second_once(&lattice, 8);
    for host in ["b", "c"] {
        let before = fired(&lattice);
        lattice.kill(host);
        let killed = Instant::now();
        let after = until_more_than(&lattice, before.firings + 2);
        assert!(killed.elapsed() < Duration::from_secs(40), "another host took over");
        // The firing that the lost host was telling may be told again.
        let (firings, calls) = (after.firings - before.firings, after.calls - before.calls);
        assert!(calls <= firings + 2, "{calls} calls for {firings} firings");
    }
}
