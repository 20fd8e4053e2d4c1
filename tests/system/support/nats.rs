//! A real nats-server with JetStream, on a port of its own.

use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use super::wait;

/// A running nats-server; killed when dropped.
#[derive(Debug)]
pub(crate) struct Nats {
    child: Child,
    port: u16,
    arguments: Vec<String>,
    store: TempDir,
}

impl Nats {
    /// Starts one with JetStream and waits until it accepts connections.
    pub(crate) fn start() -> Self {
        Self::start_with(&["-js"])
    }

    /// Starts one with these arguments and waits until it accepts connections.
    pub(crate) fn start_with(arguments: &[&str]) -> Self {
        Self::start_in(tempfile::tempdir().expect("a temporary directory"), arguments)
    }

    /// Starts one with these lines of configuration.
    pub(crate) fn start_configured(config: &str) -> Self {
        let store = tempfile::tempdir().expect("a temporary directory");
        let file = store.path().join("nats.conf");
        std::fs::write(&file, config).expect("written");
        let file = file.display().to_string();
        Self::start_in(store, &["-c", &file])
    }

    fn start_in(store: TempDir, arguments: &[&str]) -> Self {
        let port = free_port();
        let arguments: Vec<_> = arguments.iter().map(|&argument| argument.to_owned()).collect();
        let child = spawn(port, store.path(), &arguments);
        let nats = Self { child, port, arguments, store };
        wait_for(port);
        nats
    }

    /// Ends it with its connections; what it stored stays.
    pub(crate) fn stop(&mut self) {
        self.child.kill().expect("it is ours");
        self.child.wait().expect("it is ours");
    }

    /// Starts it again where it was.
    pub(crate) fn start_again(&mut self) {
        self.child = spawn(self.port, self.store.path(), &self.arguments);
        wait_for(self.port);
    }

    /// Where it keeps what JetStream stores.
    pub(crate) fn store(&self) -> &Path {
        self.store.path()
    }

    /// Where clients connect.
    pub(crate) fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }
}

impl Drop for Nats {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn spawn(port: u16, store: &Path, arguments: &[String]) -> Child {
    Command::new(std::env::var_os("TRELLIS_NATS_SERVER").unwrap_or_else(|| "nats-server".into()))
        .args(["-a", "127.0.0.1", "-p", &port.to_string(), "-sd"])
        .arg(store)
        .args(arguments)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("nats-server starts: `cargo xtask test` installs it or says how")
}

fn wait_for(port: u16) {
    wait::until("nats-server", || TcpStream::connect((Ipv4Addr::LOCALHOST, port)).map_err(|e| e.to_string()));
}

/// A port that was free a moment ago.
pub(crate) fn free_port() -> u16 {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|listener| listener.local_addr()).expect("a free port").port()
}
