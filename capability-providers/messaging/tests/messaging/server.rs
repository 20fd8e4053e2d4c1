//! A real nats-server with JetStream, on a port of its own.

use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// A running nats-server; killed when dropped.
pub(crate) struct Server {
    child: Child,
    port: u16,
    arguments: Vec<String>,
    store: TempDir,
}

impl Server {
    /// Starts one with JetStream and these arguments.
    pub(crate) fn start(arguments: &[&str]) -> Self {
        let store = tempfile::tempdir().expect("a temporary directory");
        let port = free_port();
        let arguments: Vec<_> = arguments.iter().map(|&argument| argument.to_owned()).collect();
        let child = spawn(port, &store, &arguments);
        Self { child, port, arguments, store }
    }

    /// Ends it without a word; what it stored stays.
    pub(crate) fn kill(&mut self) {
        self.child.kill().expect("it is ours");
        self.child.wait().expect("it is ours");
    }

    /// Starts it again where it was.
    pub(crate) fn start_again(&mut self) {
        self.child = spawn(self.port, &self.store, &self.arguments);
    }

    /// Stops it from doing anything, or lets it go on.
    pub(crate) fn signal(&self, signal: &str) {
        let killed = Command::new("kill").args([signal, &self.child.id().to_string()]).status();
        assert!(killed.expect("kill runs").success());
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn spawn(port: u16, store: &TempDir, arguments: &[String]) -> Child {
    let child = Command::new(std::env::var_os("TRELLIS_NATS_SERVER").unwrap_or_else(|| "nats-server".into()))
        .args(["-js", "-a", "127.0.0.1", "-p", &port.to_string(), "-sd"])
        .arg(store.path())
        .args(arguments)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("nats-server starts: `cargo xtask test` installs it or says how");
    let deadline = Instant::now() + Duration::from_secs(20);
    while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
        assert!(Instant::now() < deadline, "nats-server does not listen");
        std::thread::park_timeout(Duration::from_millis(10));
    }
    child
}

/// A port that was free a moment ago.
pub(crate) fn free_port() -> u16 {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|listener| listener.local_addr()).expect("a free port").port()
}
