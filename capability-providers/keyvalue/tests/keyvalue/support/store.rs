//! A provider with one of its backends, and the server for it.

use std::sync::Arc;

use tempfile::TempDir;
use trellis_provider_keyvalue::factory;
use trellis_provider_sdk::testing::{environment, nobody};
use trellis_provider_sdk::{Caller, Provider};

use super::{Actor, Server};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Embedded,
    Redis,
    Nats,
}

pub(crate) struct Store {
    pub(crate) provider: Arc<dyn Provider>,
    pub(crate) kind: Kind,
    pub(crate) server: Option<Server>,
    pub(crate) data: TempDir,
}

impl Store {
    pub(crate) fn start(kind: Kind) -> Self {
        let server = match kind {
            Kind::Embedded => None,
            Kind::Redis => Some(Server::redis(&["--notify-keyspace-events", "K$gxe"])),
            Kind::Nats => Some(Server::nats(&[])),
        };
        Self::with(kind, server, nobody())
    }

    pub(crate) fn with(kind: Kind, server: Option<Server>, caller: Arc<dyn Caller>) -> Self {
        let data = tempfile::tempdir().unwrap();
        let provider = factory()(environment("keyvalue", data.path(), caller)).unwrap();
        Self { provider, kind, server, data }
    }

    /// What a link says to have this store.
    pub(crate) fn config(&self) -> Vec<(&'static str, String)> {
        let url = self.server.as_ref().map(Server::url).unwrap_or_default();
        match self.kind {
            Kind::Embedded => vec![("backend", "embedded".to_owned()), ("fsync", "never".to_owned())],
            Kind::Redis => vec![("backend", "redis".to_owned()), ("url", url)],
            Kind::Nats => vec![("backend", "nats".to_owned()), ("url", url)],
        }
    }

    pub(crate) fn with_config<T>(&self, pairs: &[(&str, &str)], f: impl FnOnce(&[(&str, &str)]) -> T) -> T {
        let config = self.config();
        let mut all: Vec<(&str, &str)> = config.iter().map(|(key, value)| (*key, value.as_str())).collect();
        all.extend(pairs);
        f(&all)
    }

    pub(crate) async fn actor(&self, name: &str, pairs: &[(&str, &str)]) -> Actor {
        let link = self.with_config(pairs, |pairs| Actor::active(name, pairs));
        self.provider.link_up(&link).await.unwrap();
        Actor { provider: self.provider.clone(), link: link.link, bucket: "b".to_owned() }
    }
}
