//! A lattice under test, driven by the command line as its users drive it.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use serde_json::Value;
use tempfile::TempDir;
use tokio::runtime::Runtime;

use super::nats::{self, Nats};
use super::process::{self, Outcome, Server};
use super::{guests, http, wait};

/// A lattice: hosts, a data directory with its keys, and an address where HTTP is served.
pub(crate) struct Lattice {
    /// Where HTTP is served.
    pub(crate) address: SocketAddr,
    /// For the HTTP client.
    pub(crate) runtime: Runtime,
    /// The processes, in the order they were started.
    pub(crate) servers: Vec<Server>,
    nats: Option<Nats>,
    data: TempDir,
    wadm: Option<Server>,
    hosts: Vec<String>,
}

impl Lattice {
    /// One process with everything in it.
    pub(crate) fn one_box(arguments: &[&str]) -> Self {
        Self::one_box_after("", arguments)
    }

    /// The same from a shell that runs `before`.
    pub(crate) fn one_box_after(before: &str, arguments: &[&str]) -> Self {
        let mut lattice = Self::empty(None);
        let mut all = vec!["up"];
        all.extend(arguments);
        let http = lattice.address.to_string();
        all.extend(["--http", &http]);
        let server = match before {
            "" => Server::start(lattice.data.path(), &all),
            before => Server::start_after(before, lattice.data.path(), &all),
        };
        server.wait_for("is up");
        lattice.servers.push(server);
        lattice.wait_for_hosts(1);
        lattice
    }

    /// A nats-server with nobody on it yet.
    pub(crate) fn without_hosts() -> Self {
        Self::empty(Some(Nats::start()))
    }

    /// The same on a nats-server that is there.
    pub(crate) fn on(nats: Nats) -> Self {
        Self::empty(Some(nats))
    }

    /// Its nats-server, to be ended and started again.
    pub(crate) fn nats(&mut self) -> &mut Nats {
        self.nats.as_mut().expect("it is on a nats-server")
    }

    /// Where its nats-server is.
    pub(crate) fn nats_url(&self) -> String {
        self.nats.as_ref().expect("it is on a nats-server").url()
    }

    /// Two hosts, `a` and `b`, on a real nats-server, each with a data directory of its own.
    pub(crate) fn two_hosts() -> Self {
        let mut lattice = Self::empty(Some(Nats::start()));
        for name in ["a", "b"] {
            lattice.start_host(name);
        }
        lattice.wait_for_hosts(2);
        lattice
    }

    fn empty(nats: Option<Nats>) -> Self {
        Self {
            address: (Ipv4Addr::LOCALHOST, nats::free_port()).into(),
            runtime: Runtime::new().expect("tokio starts"),
            servers: Vec::new(),
            nats,
            data: tempfile::tempdir().expect("a temporary directory"),
            wadm: None,
            hosts: Vec::new(),
        }
    }

    /// Starts a host that has a state of its own and the keys of this lattice.
    pub(crate) fn start_host(&mut self, name: &str) {
        self.start_host_with(name, &[]);
    }

    /// The same with further arguments.
    pub(crate) fn start_host_with(&mut self, name: &str, further: &[&str]) {
        let url = self.nats_url();
        let arguments = [&["host", "--name", name, "--nats-url", &url], further].concat();
        self.servers.push(Server::start(self.data.path(), &arguments));
        self.hosts.push(name.to_owned());
    }

    /// Ends the process of the host `name` without a word.
    pub(crate) fn kill(&mut self, name: &str) {
        let at = self.hosts.iter().position(|host| host == name).expect("a host of that name runs");
        self.hosts.remove(at);
        drop(self.servers.remove(at));
    }

    /// The id of the process of the host `name`.
    pub(crate) fn process_of(&self, name: &str) -> u32 {
        let at = self.hosts.iter().position(|host| host == name).expect("a host of that name runs");
        self.servers[at].id()
    }

    /// The name of the host that runs the actor `id`, once one does.
    pub(crate) fn host_of(&self, id: &str) -> String {
        wait::until(&format!("a host of {id}"), || {
            let inventory = self.run(&["get", "inventory", "--output", "json"]);
            let hosts: Value = serde_json::from_str(&inventory).expect("JSON");
            let runs =
                |host: &&Value| host["components"].as_array().is_some_and(|all| all.iter().any(|c| c["id"] == id));
            let host = hosts.as_array().and_then(|hosts| hosts.iter().find(runs));
            host.and_then(|host| host["friendly_name"].as_str()).map(str::to_owned).ok_or(inventory)
        })
    }

    /// Starts a wadm on the nats-server.
    pub(crate) fn start_wadm(&mut self) {
        let url = self.nats_url();
        let wadm = Server::start(self.data.path(), &["wadm", "--nats-url", &url]);
        wadm.wait_for("wadm is in lattice");
        self.wadm = Some(wadm);
    }

    /// Ends wadm without a word.
    pub(crate) fn kill_wadm(&mut self) {
        self.wadm = None;
    }

    /// `trellis up` with this data directory.
    pub(crate) fn up(&self, arguments: &[&str]) -> Server {
        Server::start(self.data.path(), &[&["up"], arguments].concat())
    }

    /// Waits until so many hosts answer.
    pub(crate) fn wait_for_hosts(&self, count: usize) {
        wait::until(&format!("{count} hosts"), || {
            let outcome = self.try_run(&["get", "hosts", "--output", "json"]);
            let hosts: Value = serde_json::from_str(&outcome.stdout).unwrap_or_default();
            let is_there = hosts.as_array().is_some_and(|hosts| hosts.len() == count);
            if is_there { Ok(()) } else { Err(format!("{outcome:?}")) }
        });
    }

    /// Waits until the application `app` stands as it was deployed.
    pub(crate) fn until_deployed(&self, app: &str) {
        wait::until(&format!("{app} to be deployed"), || {
            let outcome = self.try_run(&["app", "status", app, "--output", "json"]);
            let status: Value = serde_json::from_str(&outcome.stdout).unwrap_or_default();
            if status["status"]["type"] == "deployed" { Ok(()) } else { Err(format!("{outcome:?}")) }
        });
    }

    /// Runs a command to its end.
    pub(crate) fn try_run(&self, arguments: &[&str]) -> Outcome {
        let url = self.nats.as_ref().map(Nats::url);
        let mut all = arguments.to_vec();
        if let Some(url) = &url {
            all.extend(["--nats-url", url]);
        }
        process::run(self.data.path(), &all)
    }

    /// Runs a command that must succeed; its output.
    pub(crate) fn run(&self, arguments: &[&str]) -> String {
        self.try_run(arguments).ok()
    }

    /// Runs a command that must succeed with `input` on standard input; its output.
    pub(crate) fn run_with_input(&self, arguments: &[&str], input: &[u8]) -> String {
        let url = self.nats.as_ref().map(Nats::url);
        let mut all = arguments.to_vec();
        all.extend(url.iter().flat_map(|url| ["--nats-url", url]));
        process::run_with_input(self.data.path(), &all, input).ok()
    }

    /// The directory with the keys.
    pub(crate) fn data(&self) -> &Path {
        self.data.path()
    }

    /// The example actor `name`, signed by this lattice's issuer for `imports`.
    pub(crate) fn signed(&self, name: &str, imports: &[&str]) -> PathBuf {
        signed(self.data.path(), name, imports)
    }

    /// Starts the HTTP server on the host `host` and routes `path_prefix` to the actor `target`.
    pub(crate) fn serve_http(&self, host: Option<&str>, routes: &[(&str, &str)]) {
        let address = format!("address={}", self.address);
        self.run(&["config", "put", "http", &address]);
        let mut start = vec!["start", "provider", "http", "builtin:http-server", "--config", "http"];
        if let Some(host) = host {
            start.extend(["--host", host]);
        }
        self.run(&start);
        for (path_prefix, target) in routes {
            self.route(path_prefix, target, "wasi:http/incoming-handler");
        }
    }

    /// Routes `path_prefix` to the actor `target`.
    pub(crate) fn route(&self, path_prefix: &str, target: &str, interface: &str) {
        self.route_with(target, interface, &[&format!("path={path_prefix}")]);
    }

    /// Routes what `settings` say to the actor `target`.
    pub(crate) fn route_with(&self, target: &str, interface: &str, settings: &[&str]) {
        let config = format!("route-{target}");
        self.run(&[&["config", "put", &config], settings].concat());
        self.run(&["link", "put", "http", target, interface, "--name", target, "--source-config", &config]);
    }

    /// Asks for `path_and_query` until the answer is 200; its body.
    pub(crate) fn until_ok(&self, path_and_query: &str) -> String {
        http::until_ok(&self.runtime, self.address, path_and_query)
    }

    /// GET; status and body.
    pub(crate) fn get(&self, path_and_query: &str) -> (u16, String) {
        self.runtime.block_on(http::get(self.address, path_and_query)).expect("an answer")
    }
}

/// The example actor `name`, signed by the issuer of the data directory `data` for `imports`.
pub(crate) fn signed(data: &Path, name: &str, imports: &[&str]) -> PathBuf {
    let output = data.join(format!("{name}.signed.wasm"));
    let source = guests::path(name);
    let mut arguments = vec!["sign", path(&source), "--out", path(&output)];
    for import in imports {
        arguments.extend(["--import", import]);
    }
    process::run(data, &arguments).ok();
    output
}

/// What `keys list` shows of a key of the data directory `data`: `public`, or `request`.
pub(crate) fn listed(data: &Path, kind: &str, name: &str, field: &str) -> String {
    let printed = process::run(data, &["keys", "list", kind, "--output", "json"]).ok();
    let keys: Value = serde_json::from_str(&printed).expect("JSON");
    let key = keys.as_array().expect("a list").iter().find(|key| key["name"] == name);
    key.unwrap_or_else(|| panic!("{name} is not in {printed}"))[field].as_str().expect("text").to_owned()
}

/// A path as an argument.
pub(crate) fn path(path: &Path) -> &str {
    path.to_str().expect("test paths are UTF-8")
}
