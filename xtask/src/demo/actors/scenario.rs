//! What the demo starts, by the commands that a user would type, and the requests that show that it works.

use std::net::SocketAddr;
use std::path::Path;

use anyhow::Result;

use crate::demo::lattice::Lattice;

/// The hosts, as `trellis up --host` takes them.
pub(in crate::demo) const HOSTS: &[&str] = &["core", "edge:zone=edge"];

/// A function of `greeter` with all kinds of values, in WAVE.
pub(super) const CALL: &str = "demo:greet/greeter.greet({name: \"Ada\", title: some(\"Countess\"), language: english, \
    occasion: birthday(36)}, {formal, loud})";
/// A part of what it answers.
pub(super) const CALL_ANSWER: &str = "GOOD DAY, COUNTESS ADA";

/// A URL and what requests for it, one after the other, are answered with.
pub(super) struct Probe {
    pub(super) path: &'static str,
    /// The name in the request's `Host`, and in the URL; none means the bare address.
    pub(super) host: Option<&'static str>,
    /// The actor that the route leads to.
    pub(super) actor: &'static str,
    pub(super) shows: &'static str,
    /// What the body of each answer contains.
    pub(super) expected: &'static [&'static str],
}

impl Probe {
    /// Its URL, where HTTP is served on this address.
    pub(super) fn url(&self, address: SocketAddr) -> String {
        match self.host {
            Some(host) => format!("http://{host}:{}{}", address.port(), self.path),
            None => format!("http://{address}{}", self.path),
        }
    }
}

/// The requests, in the order in which they are made.
pub(super) const PROBES: &[Probe] = &[
    Probe {
        path: "/hello/world",
        host: None,
        actor: "hello",
        shows: "wasi:http 0.2, on the host that listens",
        expected: &["/hello/world"],
    },
    Probe {
        path: "/async/world",
        host: None,
        actor: "hello-async",
        shows: "wasi:http 0.3, reached over the lattice",
        expected: &["/async/world"],
    },
    Probe {
        path: "/count/apples",
        host: None,
        actor: "counter",
        shows: "at the edge, with its state in the key-value store on core",
        expected: &["1", "2", "3"],
    },
    Probe {
        path: "/count/pears",
        host: None,
        actor: "counter",
        shows: "each path has a count of its own",
        expected: &["1"],
    },
    Probe {
        path: "/Ada",
        host: Some("caller.localhost"),
        actor: "caller",
        shows: "an actor calls another one by an interface of their own",
        expected: &["Hello, Ada"],
    },
    Probe {
        path: "/Ada/Grace",
        host: Some("caller.localhost"),
        actor: "caller",
        shows: "the same by an async function with a list of results",
        expected: &["Good day, dear Grace"],
    },
];

/// Signs the actors and starts everything: providers on core; actors on core and, by a label, at the edge.
///
/// Links come before what uses them: an actor whose imports are not linked is refused at its start.
pub(super) fn start(lattice: &Lattice, guests: &Path, address: SocketAddr) -> Result<()> {
    let keyvalue = "wasi:keyvalue/store,atomics";
    sign(lattice, guests)?;
    lattice.show(&["config", "put", "http", &format!("address={address}")])?;
    lattice.show(&["start", "provider", "http", "builtin:http-server", "--config", "http", "--host", "core"])?;
    lattice.show(&["start", "provider", "kv", "builtin:keyvalue", "--host", "core"])?;
    lattice.show(&["link", "put", "counter", "kv", keyvalue])?;
    lattice.show(&["link", "put", "caller", "greeter", "demo:greet/greeter"])?;
    for (actor, place) in [
        ("hello", ["--host", "core"]),
        ("hello-async", ["--label", "zone=edge"]),
        ("counter", ["--label", "zone=edge"]),
        ("greeter", ["--label", "zone=edge"]),
        ("caller", ["--host", "core"]),
    ] {
        let component = format!("{actor}.signed.wasm");
        lattice.show(&["start", "actor", actor, &component, place[0], place[1]])?;
    }
    route(lattice, "hello", "path=/hello", "wasi:http/incoming-handler")?;
    route(lattice, "hello-async", "path=/async", "wasi:http/handler")?;
    route(lattice, "counter", "path=/count", "wasi:http/incoming-handler")?;
    route(lattice, "caller", "host=caller.localhost", "wasi:http/handler")
}

fn sign(lattice: &Lattice, guests: &Path) -> Result<()> {
    for (actor, grants) in [
        ("hello", &[][..]),
        ("hello-async", &[]),
        ("counter", &["--import", "wasi:keyvalue/*"]),
        ("greeter", &[]),
        ("caller", &["--import", "demo:greet/*"]),
    ] {
        let source = guests.join(format!("{actor}.wasm"));
        let signed = format!("{actor}.signed.wasm");
        let mut arguments = vec!["sign", source.to_str().unwrap_or_default(), "--out", &signed];
        arguments.extend(grants);
        lattice.show(&arguments)?;
    }
    Ok(())
}

/// A link from the HTTP server is a route; its config says for which requests.
fn route(lattice: &Lattice, actor: &str, rule: &str, interface: &str) -> Result<()> {
    let config = format!("route-{actor}");
    lattice.show(&["config", "put", &config, rule])?;
    lattice.show(&["link", "put", "http", actor, interface, "--name", actor, "--source-config", &config])
}
