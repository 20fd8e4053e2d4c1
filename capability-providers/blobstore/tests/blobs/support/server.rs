//! An S3 server that can be killed and started again, with its objects in a folder.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use s3s::auth::SimpleAuth;
use s3s::service::{S3Service, S3ServiceBuilder};
use s3s_fs::FileSystem;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;

/// The id of its only access key.
pub(crate) const KEY: &str = "AKIDEXAMPLE";
/// And the secret.
pub(crate) const SECRET: &str = "canary-secret-7f3a";

/// A server with the bucket `blobs`.
pub(crate) struct Server {
    address: SocketAddr,
    root: TempDir,
    secret: &'static str,
    /// All that it does, so that it can be ended at once.
    runtime: Option<Runtime>,
}

impl Server {
    /// Starts one on a free port.
    pub(crate) fn start() -> Self {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir(root.path().join("blobs")).unwrap();
        let mut server = Self { address: ([127, 0, 0, 1], 0).into(), root, secret: SECRET, runtime: None };
        server.restart();
        server
    }

    /// Its URL.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Puts an object into its bucket, past the provider.
    pub(crate) fn fill(&self, key: &str, bytes: &[u8]) {
        let path = self.root.path().join("blobs").join(key);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }

    /// Ends it in the middle of whatever it does.
    pub(crate) fn kill(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }

    /// Starts it again with another secret for its key.
    pub(crate) fn restart_with(&mut self, secret: &'static str) {
        self.kill();
        self.secret = secret;
        self.restart();
    }

    /// Starts it again, on the same port.
    pub(crate) fn restart(&mut self) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let listener = listen(self.address);
        listener.set_nonblocking(true).unwrap();
        self.address = listener.local_addr().unwrap();
        let mut builder = S3ServiceBuilder::new(FileSystem::new(self.root.path()).unwrap());
        builder.set_auth(SimpleAuth::from_single(KEY, self.secret));
        runtime.spawn(serve(listener, builder.build()));
        self.runtime = Some(runtime);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Listens there as soon as what listened there before is gone.
fn listen(address: SocketAddr) -> std::net::TcpListener {
    let limit = Instant::now() + Duration::from_secs(20);
    loop {
        match std::net::TcpListener::bind(address) {
            Ok(listener) => return listener,
            Err(error) => assert!(Instant::now() < limit, "{address}: {error}"),
        }
        std::thread::park_timeout(Duration::from_millis(10));
    }
}

async fn serve(listener: std::net::TcpListener, service: S3Service) {
    let listener = TcpListener::from_std(listener).unwrap();
    loop {
        let (socket, _) = listener.accept().await.unwrap();
        let service = service.clone();
        tokio::spawn(async move {
            let _ = Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(socket), service).await;
        });
    }
}
