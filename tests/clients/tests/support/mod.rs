//! A lattice of real processes: nats-server and `trellis host`s, or one `trellis up`; with signed components.

use std::ffi::OsString;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use futures::StreamExt as _;
use serde_json::Value;
use tempfile::TempDir;
use wasmcloud_control_interface::{Client, ClientBuilder};

/// The longest that anything here may take. Some events come every 30 s only.
pub(crate) const PATIENCE: Duration = Duration::from_secs(90);

/// An actor that exports `test:echo/echo`, and with `extra` something that tells it from another.
pub(crate) fn echo(extra: &str) -> String {
    format!(
        r#"(component
          (core module $m (memory (export "memory") 1) (data (i32.const 0) "{extra}")
            (func (export "f") (result i32) (i32.const 7)))
          (core instance $i (instantiate $m))
          (func $f (result u32) (canon lift (core func $i "f")))
          (instance $out (export "seven" (func $f)))
          (export "test:echo/echo" (instance $out)))"#
    )
}

/// A process that ends with the value.
pub(crate) struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The lattice.
pub(crate) struct Lattice {
    pub(crate) nats: async_nats::Client,
    pub(crate) client: Client,
    /// Of the nats-server, where there is one.
    url: Option<String>,
    data: TempDir,
    processes: Vec<Process>,
}

fn trellis() -> PathBuf {
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/release/trellis");
    std::env::var_os("TRELLIS_BINARY").map_or_else(beside, PathBuf::from)
}

impl Lattice {
    /// With hosts of these names.
    pub(crate) async fn start(hosts: &[&str]) -> Self {
        let data = tempfile::tempdir().expect("a directory");
        let (nats_server, url) = nats_server(&data.path().join("jetstream")).await;
        let nats = async_nats::connect(&url).await.expect("connects");
        let mut lattice = Self::of(nats, Some(url), data, nats_server);
        for name in hosts {
            lattice.start_host(name);
        }
        lattice.wait_for_hosts(hosts.len()).await;
        lattice
    }

    /// With hosts of these names in one process, which is reached over its gateway.
    pub(crate) async fn start_box(hosts: &[&str]) -> Self {
        let data = tempfile::tempdir().expect("a directory");
        let mut command = command(data.path(), &["up"]);
        for name in hosts {
            command.args(["--host", &format!("{name}:zone={name}")]);
        }
        let process = quiet(&mut command);
        let running = data.path().join("lattice/running.json");
        let text = eventually("the lattice", async || std::fs::read_to_string(&running).ok()).await;
        let running: Value = serde_json::from_str(&text).expect("JSON");
        let text = |key: &str| running[key].as_str().expect("text").to_owned();
        let options = async_nats::ConnectOptions::with_token(text("token"));
        let nats = options.connect(text("url")).await.expect("connects");
        let lattice = Self::of(nats, None, data, process);
        lattice.wait_for_hosts(hosts.len()).await;
        lattice
    }

    /// The two kinds of lattice that a client meets.
    pub(crate) async fn both(hosts: &[&str]) -> [Self; 2] {
        [Self::start(hosts).await, Self::start_box(hosts).await]
    }

    fn of(nats: async_nats::Client, url: Option<String>, data: TempDir, process: Process) -> Self {
        let client = ClientBuilder::new(nats.clone()).auction_timeout(Duration::from_secs(1)).build();
        Self { nats, client, url, data, processes: vec![process] }
    }

    async fn wait_for_hosts(&self, count: usize) {
        eventually("the hosts", async || {
            let hosts = self.client.get_hosts().await.ok()?;
            (hosts.len() == count).then_some(())
        })
        .await;
    }

    pub(crate) fn start_host(&mut self, name: &str) {
        let url = self.nats_url();
        let label = format!("zone={name}");
        let host =
            quiet(&mut command(self.data.path(), &["host", "--name", name, "--nats-url", &url, "--label", &label]));
        self.processes.push(host);
    }

    pub(crate) fn start_wadm(&mut self) {
        let url = self.nats_url();
        let wadm = quiet(&mut command(self.data.path(), &["wadm", "--nats-url", &url]));
        self.processes.push(wadm);
    }

    /// Where what belongs to the lattice may be put.
    pub(crate) fn folder(&self, name: &str) -> PathBuf {
        let folder = self.data.path().join(name);
        std::fs::create_dir_all(&folder).expect("made");
        folder
    }

    fn nats_url(&self) -> String {
        self.url.clone().expect("it is on a nats-server")
    }

    /// Runs a command of `trellis` to its end.
    pub(crate) fn run(&self, arguments: &[&str]) -> String {
        let mut command = command(self.data.path(), arguments);
        if let Some(url) = &self.url {
            command.args(["--nats-url", url]);
        }
        let output = command.output().expect("trellis runs");
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("text")
    }

    /// The id of the host `name`.
    pub(crate) async fn host(&self, name: &str) -> String {
        let hosts = self.client.get_hosts().await.expect("answer");
        let hosts = hosts.iter().filter_map(|host| host.data());
        hosts.into_iter().find(|host| host.friendly_name() == name).expect("it is there").id().to_owned()
    }

    /// What the host with that id runs, with what the types of the client leave out.
    pub(crate) async fn inventory(&self, id: &str) -> Value {
        let asked = self.nats.request(format!("wasmbus.ctl.v1.default.host.get.{id}"), "".into()).await;
        let mut answer: Value = serde_json::from_slice(&asked.expect("an answer").payload).expect("JSON");
        answer["response"].take()
    }

    /// The reference of the actor `name`, signed.
    pub(crate) fn actor(&self, name: &str) -> String {
        let path = |suffix: &str| self.data.path().join(format!("{name}{suffix}")).display().to_string();
        std::fs::write(path(".wasm"), wat::parse_str(echo(name)).expect("a component")).expect("written");
        self.run(&["sign", &path(".wasm"), "--out", &path(".signed.wasm"), "--name", name]);
        format!("file://{}", path(".signed.wasm"))
    }

    /// The events from now on.
    pub(crate) async fn events(&self) -> Events {
        let events = Events(self.nats.subscribe("wasmbus.evt.default.>").await.expect("subscribed"));
        // An answer means that the server has seen what came before it.
        self.nats.request("wasmbus.ctl.v1.default.host.ping", "".into()).await.expect("a host answers");
        events
    }
}

/// A nats-server with JetStream in `store`, and where it is.
pub(crate) async fn nats_server(store: &Path) -> (Process, String) {
    let (port, server) = (free_port(), program("TRELLIS_NATS_SERVER", "nats-server"));
    let mut command = Command::new(server);
    let process = quiet(command.args(["-a", "127.0.0.1", "-p", &port.to_string(), "-js", "-sd"]).arg(store));
    until_it_listens(port).await;
    (process, format!("nats://127.0.0.1:{port}"))
}

/// bcrypt of `secret`.
const HTPASSWD: &str = "user:$2b$04$l2J6BrAIJ.9omwbIBapK3.v1ySWNYNPhg0Yxefjhm/yuA10m3eQrm\n";

/// A docker-registry in `folder` that only `user` with the password `secret` may use, and its name in references.
pub(crate) async fn docker_registry(folder: &Path) -> (Process, String) {
    let (port, shown) = (free_port(), folder.display());
    let host = format!("127.0.0.1:{port}");
    let config = format!(
        "version: 0.1\nlog:\n  level: error\nstorage:\n  filesystem:\n    rootdirectory: {shown}/data\nhttp:\n  addr: \
         {host}\nauth:\n  htpasswd:\n    realm: test\n    path: {shown}/htpasswd\n"
    );
    std::fs::write(folder.join("htpasswd"), HTPASSWD).expect("written");
    std::fs::write(folder.join("config.yml"), config).expect("written");
    let program = program("TRELLIS_DOCKER_REGISTRY", "docker-registry");
    let process = quiet(Command::new(program).arg("serve").arg(folder.join("config.yml")));
    until_it_listens(port).await;
    (process, host)
}

fn program(variable: &str, name: &str) -> OsString {
    std::env::var_os(variable).unwrap_or_else(|| name.into())
}

fn free_port() -> u16 {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|it| it.local_addr()).expect("a port").port()
}

async fn until_it_listens(port: u16) {
    eventually("a server", async || TcpStream::connect((Ipv4Addr::LOCALHOST, port)).ok()).await;
}

fn command(data: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(trellis());
    command.env_clear().env("TRELLIS_DATA_DIR", data).args(arguments);
    command
}

fn quiet(command: &mut Command) -> Process {
    let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    Process(child.unwrap_or_else(|error| panic!("{command:?}: {error}; `cargo xtask test` builds what is needed")))
}

/// What hosts say.
pub(crate) struct Events(async_nats::Subscriber);

impl Events {
    /// The next event of that name, whole; others are passed over.
    pub(crate) async fn next(&mut self, name: &str) -> Value {
        self.any(&[name]).await
    }

    /// The next event of one of those names, whole; others are passed over.
    pub(crate) async fn any(&mut self, names: &[&str]) -> Value {
        let wanted = async {
            loop {
                let message = self.0.next().await.expect("the connection is open");
                let name = message.subject.strip_prefix("wasmbus.evt.default.").expect("that was subscribed to");
                if names.contains(&name) {
                    return serde_json::from_slice(&message.payload).expect("JSON");
                }
            }
        };
        tokio::time::timeout(PATIENCE, wanted).await.unwrap_or_else(|_| panic!("no event {names:?} came"))
    }

    /// Its data.
    pub(crate) async fn data(&mut self, name: &str) -> Value {
        self.next(name).await["data"].take()
    }
}

/// Tries until there is something.
pub(crate) async fn eventually<T>(what: &str, attempt: impl AsyncFn() -> Option<T>) -> T {
    let tries = async {
        loop {
            if let Some(found) = attempt().await {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, tries).await.unwrap_or_else(|_| panic!("{what} never came"))
}
