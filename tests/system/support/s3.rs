//! A server that speaks the S3 protocol, with its objects in a folder.

use std::net::SocketAddr;
use std::path::PathBuf;

use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use s3s::auth::SimpleAuth;
use s3s::service::{S3Service, S3ServiceBuilder};
use s3s_fs::FileSystem;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;

use super::folder;

/// A running server with one bucket and one key; ended when dropped.
pub(crate) struct S3 {
    address: SocketAddr,
    root: TempDir,
    /// All that it does; none once it was ended.
    runtime: Option<Runtime>,
}

impl S3 {
    /// Its bucket.
    pub(crate) const BUCKET: &str = "bank";
    /// The id of its key.
    pub(crate) const KEY: &str = "BANK";
    /// The key.
    pub(crate) const SECRET: &str = "top-secret-of-the-archive";

    /// Starts one on a free port.
    pub(crate) fn start() -> Self {
        let root = tempfile::tempdir().expect("a temporary directory");
        std::fs::create_dir(root.path().join(Self::BUCKET)).expect("made");
        let mut service = S3ServiceBuilder::new(FileSystem::new(root.path()).expect("a folder"));
        service.set_auth(SimpleAuth::from_single(Self::KEY, Self::SECRET));
        let runtime = Runtime::new().expect("tokio starts");
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        runtime.spawn(serve(listener, service.build()));
        Self { address, root, runtime: Some(runtime) }
    }

    /// Where it listens.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Ends it in the middle of whatever it does.
    pub(crate) fn stop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }

    /// The objects in its bucket in whose names this is.
    pub(crate) fn named(&self, part: &str) -> Vec<PathBuf> {
        let mut files = folder::files(&self.root.path().join(Self::BUCKET));
        files.retain(|file| file.to_string_lossy().contains(part));
        files
    }
}

async fn serve(listener: TcpListener, service: S3Service) {
    while let Ok((socket, _)) = listener.accept().await {
        let service = service.clone();
        tokio::spawn(async move {
            // A connection that breaks off is the client's affair.
            let _ = Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(socket), service).await;
        });
    }
}
