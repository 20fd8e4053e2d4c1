//! A real server on a port of its own, with a folder of its own; killed on drop.

use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// A server that can be killed and started again where it was.
pub(crate) struct Server {
    program: &'static str,
    arguments: Vec<String>,
    port: u16,
    child: Option<Child>,
    _folder: TempDir,
}

impl Server {
    pub(crate) async fn redis(arguments: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (port, path) = (free_port(), folder.path().display().to_string());
        let port_text = port.to_string();
        let fixed = ["--port", &port_text, "--bind", "127.0.0.1", "--dir", &path, "--appendonly", "yes", "--save", ""];
        Self::start("redis-server", fixed.iter().chain(arguments), port, folder).await
    }

    /// Whether the nats-server here is one that knows no time to live.
    pub(crate) fn is_before_2_11() -> bool {
        let said = Command::new("nats-server").arg("--version").output().unwrap().stdout;
        let said = String::from_utf8(said).unwrap();
        let version = said.trim().trim_start_matches("nats-server: v");
        let numbers: Vec<u32> = version.split('.').map_while(|number| number.parse().ok()).collect();
        numbers.as_slice() < [2, 11].as_slice()
    }

    pub(crate) async fn nats(arguments: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (port, path) = (free_port(), folder.path().display().to_string());
        let port_text = port.to_string();
        let fixed = ["-a", "127.0.0.1", "-p", &port_text, "-js", "-sd", &path];
        Self::start("nats-server", fixed.iter().chain(arguments), port, folder).await
    }

    async fn start<'a>(
        program: &'static str,
        arguments: impl Iterator<Item = &'a &'a str>,
        port: u16,
        folder: TempDir,
    ) -> Self {
        let arguments = arguments.map(ToString::to_string).collect();
        let mut server = Self { program, arguments, port, child: None, _folder: folder };
        server.restart().await;
        server
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn url(&self) -> String {
        let scheme = if self.program == "redis-server" { "redis" } else { "nats" };
        format!("{scheme}://127.0.0.1:{}", self.port)
    }

    pub(crate) async fn restart(&mut self) {
        self.kill();
        let mut command = Command::new(self.program);
        command.args(&self.arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let spawned = command.spawn();
        self.child = Some(spawned.unwrap_or_else(|error| panic!("{} is on PATH: {error}", self.program)));
        let deadline = Instant::now() + Duration::from_secs(20);
        while TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).is_err() {
            assert!(Instant::now() < deadline, "{} does not listen", self.program);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

fn free_port() -> u16 {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port()
}
