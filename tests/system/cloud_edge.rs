//! A cloud and an edge, each with a nats-server of its own; the one at the edge is a leaf of the one in the cloud, which
//! has the store. The wire between them is cut for a while: the edge does all that is local, even over a restart of its
//! host, nothing is moved although there is a host for it, and when the wire is whole again nothing that ran is started again.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::support::app::App;
use crate::support::lattice::{Lattice, path};
use crate::support::nats::{Nats, free_port};
use crate::support::process::Server;
use crate::support::wire::{State, Wire};
use crate::support::{http, wait};

/// For how long the wire is cut. Longer than hosts, wadm and servers take to notice it, which is some seconds.
const CUT: Duration = Duration::from_secs(15);

/// Longer than the minute after which wadm has no doubts left.
const LONG_CUT: Duration = Duration::from_secs(65);

/// The two sites.
struct Sites {
    /// With two hosts and a wadm.
    cloud: Lattice,
    /// The nats-server and the host at the edge.
    edge: Nats,
    edge_host: Option<Server>,
    /// From the edge's nats-server to the cloud's.
    wire: Wire,
    /// Where the edge serves HTTP.
    edge_address: SocketAddr,
}

impl Sites {
    /// All of it, with the application deployed.
    fn start() -> Self {
        let (cloud, edge, wire) = servers();
        let edge_address = ([127, 0, 0, 1], free_port()).into();
        let mut sites = Self { cloud, edge, edge_host: None, wire, edge_address };
        for name in ["cloud-1", "cloud-2"] {
            sites.cloud.start_host_with(name, &["--label", "zone=cloud"]);
        }
        sites.cloud.wait_for_hosts(2);
        sites.cloud.start_wadm();
        sites.start_edge_host();
        sites.cloud.wait_for_hosts(3);
        let manifest = sites.manifest().write();
        sites.cloud.run(&["app", "deploy", path(&manifest), "--wait"]);
        sites
    }

    /// A host in the cloud that everything of the edge would fit on.
    fn start_spare(&mut self) {
        self.cloud.start_host_with("spare", &["--label", "zone=edge"]);
        self.cloud.wait_for_hosts(3);
    }

    fn start_edge_host(&mut self) {
        let url = self.edge.url();
        let arguments = ["host", "--name", "edge", "--label", "zone=edge", "--resume", "--nats-url", &url];
        self.edge_host = Some(Server::start(self.cloud.data(), &arguments));
    }

    /// A counter with its store at the edge, a caller there whose greeter is in the cloud, and a front in the cloud.
    fn manifest(&self) -> App<'_> {
        for (name, imports) in
            [("counter", &["wasi:keyvalue/*"][..]), ("caller", &["demo:greet/*"]), ("greeter", &[]), ("hello", &[])]
        {
            self.cloud.signed(name, imports);
        }
        let (at_edge, in_cloud) = (self.edge_address.to_string(), self.cloud.address.to_string());
        let components = [
            actor("counter", "edge", &[link("kv", "wasi:keyvalue/store,atomics", "")]),
            actor("caller", "edge", &[link("greeter", "demo:greet/greeter", "")]),
            provider("kv", "keyvalue", "edge", &[]),
            provider(
                "http",
                "http-server",
                "edge",
                &[
                    link("counter", "wasi:http/incoming-handler", &format!("address: {at_edge}, path: /count")),
                    link("caller", "wasi:http/handler", &format!("address: {at_edge}, path: /greet")),
                ],
            ),
            actor("greeter", "cloud", &[]),
            actor("hello", "cloud", &[]),
            provider(
                "front",
                "http-server",
                "cloud",
                &[link("hello", "wasi:http/incoming-handler", &format!("address: {in_cloud}"))],
            ),
        ];
        App::of(&self.cloud, "site", components)
    }

    /// GET at the edge; status and body.
    fn get(&self, path: &str) -> (u16, String) {
        self.cloud.runtime.block_on(http::get(self.edge_address, path)).expect("an answer")
    }

    fn until_ok(&self, path: &str) -> String {
        http::until_ok(&self.cloud.runtime, self.edge_address, path)
    }

    /// What the hosts, of which each process counts, started and stopped.
    fn deeds(&self) -> Vec<String> {
        let mut deeds = Vec::new();
        for host in self.cloud.servers.iter().chain(&self.edge_host) {
            let output = host.output();
            let is_of = |line: &&str| line.contains("actor_id=") || line.contains("provider_id=");
            let is_deed = |line: &&str| is_of(line) && (line.contains(" started ") || line.contains(" stopped "));
            let what = |line: &str| line.split_once("Z  INFO ").map_or(line, |(_, what)| what).to_owned();
            deeds.extend(output.lines().filter(is_deed).map(|line| format!("{}: {}", host.id(), what(line))));
        }
        deeds.sort();
        deeds
    }

    /// Lets the edge's HTTP server call the counter by another path, as it is told from the cloud.
    fn route_late(&self) {
        let address = format!("address={}", self.edge_address);
        self.cloud.run(&["config", "put", "late", "path=/late", &address]);
        let link = ["link", "put", "site-http", "site-counter", "wasi:http/incoming-handler", "--name", "late"];
        self.cloud.run(&[&link[..], &["--source-config", "late"]].concat());
    }

    /// Asks the counter until `end`; each request is answered with the next number. The last one.
    fn count(&self, from: u64, end: Instant) -> u64 {
        let mut last = from;
        while Instant::now() < end {
            let (status, body) = self.get("/count/x");
            last += 1;
            assert_eq!((status, body.trim()), (200, last.to_string().as_str()), "what is local goes on");
        }
        last
    }
}

/// The cloud's nats-server with the store, the edge's, and the wire between them.
fn servers() -> (Lattice, Nats, Wire) {
    let (leaves, near) = (free_port(), free_port());
    // The default domain of both is none: so what goes to the store may pass from the leaf. The cloud tells leaves
    // where it is, and what it tells is the wire.
    let cloud = Lattice::on(Nats::start_configured(&format!(
        "jetstream {{}}\ndefault_js_domain: {{ \"$G\": \"\" }}\n\
         leafnodes {{ listen: \"127.0.0.1:{leaves}\", advertise: \"127.0.0.1:{near}\" }}\n"
    )));
    let wire = Wire::between(&cloud.runtime, near, leaves);
    let edge = Nats::start_configured(&format!(
        "default_js_domain: {{ \"$G\": \"\" }}\n\
         leafnodes {{ reconnect: 1, remotes: [ {{ url: \"nats-leaf://127.0.0.1:{near}\" }} ] }}\n"
    ));
    (cloud, edge, wire)
}

fn actor(name: &str, zone: &str, links: &[String]) -> String {
    // One at the edge: of several a new host would get its share.
    let instances = if zone == "edge" { 1 } else { 10 };
    component(name, "component", &format!("file://{name}.signed.wasm"), (zone, instances), links)
}

fn provider(name: &str, builtin: &str, zone: &str, links: &[String]) -> String {
    component(name, "capability", &format!("builtin:{builtin}"), (zone, 1), links)
}

fn component(name: &str, kind: &str, image: &str, (zone, instances): (&str, u32), links: &[String]) -> String {
    format!(
        "    - name: {name}\n      type: {kind}\n      properties: {{ image: \"{image}\" }}\n      traits:\n        \
         - type: spreadscaler\n          properties: {{ instances: {instances}, spread: [ {{ name: {zone}, \
         requirements: {{ zone: {zone} }} }} ] }}\n{}",
        links.concat()
    )
}

/// A link to `target`, named as that is, with these settings of its source.
fn link(target: &str, interfaces: &str, settings: &str) -> String {
    let (package, interfaces) = interfaces.split_once('/').expect("namespace:package/interfaces");
    let (namespace, package) = package.split_once(':').expect("namespace:package/interfaces");
    let source = match settings {
        "" => String::new(),
        _ => format!(", source: {{ config: [ {{ name: to-{target}, properties: {{ {settings} }} }} ] }}"),
    };
    let name = if settings.is_empty() { String::new() } else { format!(", name: {target}") };
    format!(
        "        - type: link\n          properties: {{ target: {{ name: {target} }}{name}, namespace: {namespace}, \
         package: {package}, interfaces: [{interfaces}]{source} }}\n"
    )
}

/// Cuts the wire as `how` says for so long, restarts the edge's host meanwhile, and heals it.
fn prove(how: State, long: Duration) {
    let mut sites = Sites::start();
    assert!(sites.until_ok("/greet/Ada").contains("Ada"), "the edge reaches the cloud");
    assert!(!sites.cloud.until_ok("/").is_empty());
    assert_eq!(sites.until_ok("/count/x").trim(), "1");
    let before = sites.deeds();

    sites.wire.set(how);
    let cut = Instant::now();
    let counted = sites.count(1, cut + long / 4);
    let (status, body) = sites.get("/greet/Ada");
    assert!((500..600).contains(&status), "nobody there greets: {status} {body}");
    wait::until("wadm to miss the edge", || {
        let status = sites.cloud.run(&["app", "status", "site", "--output", "json"]);
        if status.contains("silent") { Ok(()) } else { Err(status) }
    });
    sites.start_spare();
    let counted = sites.count(counted, cut + long / 2);
    assert!(!sites.cloud.until_ok("/").is_empty(), "the cloud goes on as well");
    assert_eq!(sites.deeds(), before, "nothing is started or stopped because of the cut");
    // What is new while the edge cannot know it.
    sites.route_late();

    // Killed, not asked.
    sites.edge_host = None;
    sites.start_edge_host();
    assert_eq!(sites.until_ok("/count/x").trim(), (counted + 1).to_string(), "it serves what it was told last");
    let counted = sites.count(counted + 1, cut + long);
    // All of it, although the wire is still cut.
    wait::until("the edge to run what it ran", || {
        let deeds = sites.deeds();
        if deeds.len() == before.len() { Ok(()) } else { Err(format!("{deeds:?}")) }
    });
    let before = sites.deeds();
    sites.wire.set(State::Whole);
    assert!(sites.until_ok("/greet/Ada").contains("Ada"), "the edge reaches the cloud again");
    assert_eq!(sites.until_ok("/late").trim(), "1", "what was new meanwhile arrives");
    sites.cloud.wait_for_hosts(4);
    sites.cloud.until_deployed("site");
    assert_eq!(sites.until_ok("/count/x").trim(), (counted + 1).to_string());
    assert_eq!(sites.deeds(), before, "nothing that ran is started again or stopped");
}

#[test]
fn an_edge_whose_connections_break_goes_on_and_comes_back() {
    prove(State::Broken, CUT);
}

#[test]
fn an_edge_that_falls_silent_goes_on_and_comes_back() {
    prove(State::Silent, LONG_CUT);
}

/// The same without a restart: what was changed meanwhile arrives at the host that ran all the time.
#[test]
fn an_edge_that_ran_all_the_time_hears_what_it_missed() {
    let sites = Sites::start();
    assert!(sites.until_ok("/greet/Ada").contains("Ada"));
    let before = sites.deeds();
    sites.wire.set(State::Broken);
    let counted = sites.count(0, Instant::now() + CUT);
    sites.route_late();
    sites.wire.set(State::Whole);
    assert_eq!(sites.until_ok("/late").trim(), "1", "what was new meanwhile arrives");
    assert!(sites.until_ok("/greet/Ada").contains("Ada"));
    sites.cloud.until_deployed("site");
    assert_eq!(sites.until_ok("/count/x").trim(), (counted + 1).to_string());
    assert_eq!(sites.deeds(), before, "nothing that ran is started again or stopped");
}
