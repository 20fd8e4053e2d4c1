//! What the tests drive: a provider on either backend, and an actor that calls it.

mod actor;
mod server;

use std::sync::Arc;
use std::time::Duration;

use tempfile::TempDir;
use trellis_provider_blobstore::factory;
use trellis_provider_sdk::testing::{environment, nobody};
use trellis_provider_sdk::{LinkError, Provider};

pub(crate) use actor::{Actor, body, frames, link_of, linked};
use server::KEY;
pub(crate) use server::{SECRET, Server};

/// A provider, and what its links say to be on one of the backends.
pub(crate) struct World {
    pub(crate) provider: Arc<dyn Provider>,
    pub(crate) data: TempDir,
    pub(crate) server: Option<Server>,
}

impl World {
    /// On a folder.
    pub(crate) fn folder() -> Self {
        let data = tempfile::tempdir().unwrap();
        let provider = factory()(environment("blobs", data.path(), nobody())).unwrap();
        Self { provider, data, server: None }
    }

    /// On an S3 server of its own.
    pub(crate) fn s3() -> Self {
        Self { server: Some(Server::start()), ..Self::folder() }
    }

    /// The actor `id` with a link that says this besides.
    pub(crate) async fn actor(&self, id: &str, pairs: &[(&str, &str)]) -> Actor {
        self.link(id, pairs).await.unwrap();
        Actor::new(&self.provider, id)
    }

    /// Puts the link of the actor `id`.
    pub(crate) async fn link(&self, id: &str, pairs: &[(&str, &str)]) -> Result<(), LinkError> {
        let url = self.server.as_ref().map(Server::url);
        let mut all = Vec::new();
        if let Some(url) = &url {
            all.extend([
                ("backend", "s3"),
                ("endpoint", url.as_str()),
                ("bucket", "blobs"),
                ("access_key_id", KEY),
                ("secret_access_key", SECRET),
            ]);
        }
        all.extend(pairs);
        self.provider.link_up(&linked(id, &all)).await
    }
}

/// Tries until it is so, for a while.
pub(crate) async fn until(what: &str, mut is_so: impl AsyncFnMut() -> Result<(), String>) {
    let limit = tokio::time::Instant::now() + Duration::from_secs(20);
    loop {
        match is_so().await {
            Ok(()) => return,
            Err(state) if tokio::time::Instant::now() > limit => panic!("{what}: {state}"),
            Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    }
}
