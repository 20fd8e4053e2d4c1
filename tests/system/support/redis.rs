//! A real redis-server that keeps what it answered, on a port of its own.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpStream};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use super::{nats, wait};

/// A running redis-server; killed when dropped.
pub(crate) struct Redis {
    child: Child,
    port: u16,
    folder: TempDir,
}

impl Redis {
    /// Starts one that writes each change to its file before it answers, and waits until it accepts connections.
    pub(crate) fn start() -> Self {
        let (port, folder) = (nats::free_port(), tempfile::tempdir().expect("a temporary directory"));
        Self { child: spawn(port, &folder), port, folder }
    }

    /// Ends it with its connections; what it stored stays.
    pub(crate) fn stop(&mut self) {
        self.child.kill().expect("it is ours");
        self.child.wait().expect("it is ours");
    }

    /// Starts it again where it was.
    pub(crate) fn start_again(&mut self) {
        self.child = spawn(self.port, &self.folder);
    }

    /// The names of all that it has.
    pub(crate) fn keys(&self) -> Vec<String> {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).expect("it runs");
        stream.write_all(b"KEYS *\r\nQUIT\r\n").expect("it reads");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("names are text");
        // Between them are lines that say how many there are and how long.
        answer.lines().filter(|line| !line.starts_with(['*', '$', '+'])).map(str::to_owned).collect()
    }

    /// Where clients connect.
    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn spawn(port: u16, folder: &TempDir) -> Child {
    let child = Command::new(std::env::var_os("TRELLIS_REDIS_SERVER").unwrap_or_else(|| "redis-server".into()))
        .args(["--bind", "127.0.0.1", "--port", &port.to_string(), "--save", "", "--appendonly", "yes"])
        .args(["--appendfsync", "always", "--dir"])
        .arg(folder.path())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("redis-server starts: `cargo xtask test` installs it or says how");
    wait::until("redis-server", || TcpStream::connect((Ipv4Addr::LOCALHOST, port)).map_err(|e| e.to_string()));
    child
}
