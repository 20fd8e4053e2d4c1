//! A real nats-server with JetStream, on a port of its own.

use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use super::wait;

/// A running nats-server; killed when dropped.
#[derive(Debug)]
pub(crate) struct Nats {
    child: Child,
    port: u16,
    _store: TempDir,
}

impl Nats {
    /// Starts one with JetStream and waits until it accepts connections.
    pub(crate) fn start() -> Self {
        Self::start_with(&["-js"])
    }

    /// Starts one with these arguments and waits until it accepts connections.
    pub(crate) fn start_with(arguments: &[&str]) -> Self {
        let store = tempfile::tempdir().expect("a temporary directory");
        let port = free_port();
        let child = Command::new(std::env::var_os("TRELLIS_NATS_SERVER").unwrap_or_else(|| "nats-server".into()))
            .args(["-a", "127.0.0.1", "-p", &port.to_string(), "-sd"])
            .arg(store.path())
            .args(arguments)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("nats-server starts: `cargo xtask test` installs it or says how");
        let nats = Self { child, port, _store: store };
        wait::until("nats-server", || TcpStream::connect((Ipv4Addr::LOCALHOST, port)).map_err(|e| e.to_string()));
        nats
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

/// A port that was free a moment ago.
pub(crate) fn free_port() -> u16 {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|listener| listener.local_addr()).expect("a free port").port()
}
