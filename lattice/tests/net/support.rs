//! A real nats-server on a port of its own, and waiting with a deadline.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// How long anything may take before a test fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A nats-server on loopback, killed on drop.
pub(crate) struct NatsServer {
    child: Child,
    port: u16,
    arguments: Vec<String>,
    folder: TempDir,
}

impl NatsServer {
    /// Starts one without JetStream.
    pub(crate) async fn start() -> Self {
        Self::with_arguments(&[]).await
    }

    /// Starts one with JetStream in a folder of its own.
    pub(crate) async fn with_jetstream() -> Self {
        Self::with_arguments(&["-js"]).await
    }

    /// Starts one with these arguments too.
    pub(crate) async fn with_arguments(arguments: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let arguments: Vec<String> = arguments.iter().map(|&argument| argument.to_owned()).collect();
        let mut child = spawn(&folder, &arguments, "-1");
        let port = port_of(&folder, &mut child).await;
        Self { child, port, arguments, folder }
    }

    /// Ends it with its connections, keeping port and folder.
    pub(crate) fn kill(&mut self) {
        self.child.kill().expect("it is ours");
        self.child.wait().expect("it is ours");
    }

    /// Starts it again on the same port.
    pub(crate) async fn restart(&mut self) {
        self.child = spawn(&self.folder, &self.arguments, &self.port.to_string());
        port_of(&self.folder, &mut self.child).await;
    }

    /// Stops (`STOP`) or continues (`CONT`) the process.
    pub(crate) fn signal(&self, signal: &str) {
        let status = Command::new("kill").args(["-s", signal, &self.child.id().to_string()]).status();
        assert!(status.expect("there is a kill").success());
    }

    /// `nats://127.0.0.1:port`.
    pub(crate) fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }
}

impl Drop for NatsServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn spawn(folder: &TempDir, arguments: &[String], port: &str) -> Child {
    Command::new("nats-server")
        .args(["-a", "127.0.0.1", "-p", port])
        .args(arguments)
        .arg("-sd")
        .arg(folder.path().join("jetstream"))
        .arg("--ports_file_dir")
        .arg(folder.path())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("nats-server is on PATH (Debian: apt-get install nats-server)")
}

/// The server writes the file once it listens.
async fn port_of(folder: &TempDir, child: &mut Child) -> u16 {
    let file = folder.path().join(format!("nats-server_{}.ports", child.id()));
    let deadline = Instant::now() + PATIENCE;
    loop {
        let text = std::fs::read_to_string(&file).unwrap_or_default();
        if let Ok(ports) = serde_json::from_str::<serde_json::Value>(&text) {
            let url = ports["nats"][0].as_str().expect("it listens");
            return url.rsplit_once(':').expect("it has a port").1.parse().expect("it has a port");
        }
        assert!(Instant::now() < deadline, "nats-server does not listen: {:?}", child.try_wait());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Waits until `condition` holds, showing `what` if it never does.
pub(crate) async fn eventually(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition().await {
        assert!(Instant::now() < deadline, "not within {PATIENCE:?}: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Waits for `future`, showing `what` if it does not come.
pub(crate) async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, future).await {
        Ok(value) => value,
        Err(_elapsed) => panic!("not within {PATIENCE:?}: {what}"),
    }
}
