//! A real docker-registry, on a port of its own.

use std::net::{Ipv4Addr, TcpStream};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use super::{nats, wait};

/// A running docker-registry; killed when dropped.
pub(crate) struct Registry {
    child: Child,
    port: u16,
    _folder: TempDir,
}

impl Registry {
    /// Starts one and waits until it accepts connections.
    pub(crate) fn start() -> Self {
        let (port, folder) = (nats::free_port(), tempfile::tempdir().expect("a temporary directory"));
        let (config, data) = (folder.path().join("config.yml"), folder.path().join("data"));
        let text = format!(
            "version: 0.1\nlog:\n  level: error\nstorage:\n  filesystem:\n    rootdirectory: {}\nhttp:\n  addr: \
             127.0.0.1:{port}\n",
            data.display()
        );
        std::fs::write(&config, text).expect("written");
        let child =
            Command::new(std::env::var_os("TRELLIS_DOCKER_REGISTRY").unwrap_or_else(|| "docker-registry".into()))
                .arg("serve")
                .arg(&config)
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .expect("docker-registry starts: `cargo xtask test` installs it or says how");
        wait::until("docker-registry", || TcpStream::connect((Ipv4Addr::LOCALHOST, port)).map_err(|e| e.to_string()));
        Self { child, port, _folder: folder }
    }

    /// What references to it begin with.
    pub(crate) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
