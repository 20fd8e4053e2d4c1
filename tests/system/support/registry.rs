//! A real docker-registry, on a port of its own.

use std::net::{Ipv4Addr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use super::lattice::path;
use super::nats::free_port;
use super::wait;

/// A running docker-registry; killed when dropped.
pub(crate) struct Registry {
    child: Child,
    host: String,
    _dir: tempfile::TempDir,
}

impl Registry {
    /// Starts one and waits until it accepts connections.
    pub(crate) fn start() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let port = free_port();
        let host = format!("127.0.0.1:{port}");
        let config = dir.path().join("config.yml");
        let data = path_of(dir.path(), "data");
        let text = format!(
            "version: 0.1\nlog:\n  level: error\nstorage:\n  filesystem:\n    rootdirectory: {data}\nhttp:\n  addr: {host}\n"
        );
        std::fs::write(&config, text).expect("written");
        let program = std::env::var_os("TRELLIS_DOCKER_REGISTRY").unwrap_or_else(|| "docker-registry".into());
        let child = Command::new(program)
            .args(["serve", path(&config)])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("docker-registry starts: `cargo xtask test` installs it or says how");
        wait::until("the registry", || TcpStream::connect((Ipv4Addr::LOCALHOST, port)).map_err(|e| e.to_string()));
        Self { child, host, _dir: dir }
    }

    /// As references name it.
    pub(crate) fn host(&self) -> &str {
        &self.host
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn path_of(dir: &Path, name: &str) -> String {
    dir.join(name).display().to_string()
}
