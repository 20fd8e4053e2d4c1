//! The provider: calls to requests, within what their link sees.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use async_trait::async_trait;
use tokio::time::timeout_at;
use trellis_interfaces::blobstore::{BLOBSTORE, CONTAINER};
use trellis_provider_sdk::{
    ActiveLink, Answer, Args, Backing, CallError, Description, EntityId, Environment, Factory, Head, Interface,
    Invocation, LinkError, LinkName, Provider, Role,
};

use crate::config::{Backend, LinkConfig};
use crate::request::Request;
use crate::store::Store;

/// The name after `builtin:`.
pub const NAME: &str = "blobstore";

/// Makes blob stores.
pub fn factory() -> Factory {
    Arc::new(|environment| Ok(Arc::new(BlobStore::start(environment))))
}

type Links = HashMap<(EntityId, LinkName), Up>;

/// A link that is up.
#[derive(Clone)]
struct Up {
    config: Arc<LinkConfig>,
    /// Shared by links with the same backend.
    store: Arc<Store>,
}

/// A blob store in a folder or on S3 servers, as its links say.
pub struct BlobStore {
    environment: Environment,
    links: ArcSwap<Links>,
    /// Calls under way.
    calls: Arc<AtomicUsize>,
}

impl BlobStore {
    /// Opens nothing until the first link comes.
    pub fn start(environment: Environment) -> Self {
        Self { environment, links: ArcSwap::default(), calls: Arc::default() }
    }

    async fn open(&self, config: &LinkConfig) -> Result<Arc<Store>, LinkError> {
        let is_same = |up: &&Up| up.config.backend == config.backend;
        let open = self.links.load().values().find(is_same).map(|up| Arc::clone(&up.store));
        match open {
            Some(store) => Ok(store),
            None => Store::open(&config.backend, &self.environment.data_dir).await.map(Arc::new),
        }
    }

    fn link(&self, head: &Head) -> Result<Up, CallError> {
        let key = (head.source.clone(), head.link.clone());
        let up = self.links.load().get(&key).cloned();
        up.ok_or_else(|| self.environment.link_not_up(head))
    }

    fn set_link(&self, link: &ActiveLink, up: Option<&Up>) {
        let key = (link.link.source_id.clone(), link.link.name.clone());
        self.links.rcu(|links| {
            let mut links = Links::clone(links);
            match up {
                Some(up) => links.insert(key.clone(), up.clone()),
                None => links.remove(&key),
            };
            links
        });
    }
}

#[async_trait]
impl Provider for BlobStore {
    fn description(&self) -> Description {
        let serves = [BLOBSTORE, CONTAINER].map(|name| Interface::parse(name).expect("a constant of ours"));
        Description { name: "blob store".into(), serves: serves.into(), calls: Vec::new() }
    }

    async fn check(&self, link: &ActiveLink) -> Result<(), LinkError> {
        LinkConfig::parse(&self.environment.config, link).map(drop)
    }

    async fn link_up(&self, link: &ActiveLink) -> Result<(), LinkError> {
        let opened = async {
            let config = LinkConfig::parse(&self.environment.config, link)?;
            if link.role != Role::Target {
                let wrong_end = "a blob store is the target of its links, not the source".to_owned();
                return Err(LinkError::Unavailable(wrong_end));
            }
            let store = self.open(&config).await?;
            store.check().await?;
            Ok(Up { config: Arc::new(config), store })
        };
        let opened = opened.await;
        self.set_link(link, opened.as_ref().ok());
        opened.map(drop)
    }

    async fn link_down(&self, link: &ActiveLink) {
        self.set_link(link, None);
    }

    fn backing(&self, link: &ActiveLink) -> Backing {
        match LinkConfig::parse(&self.environment.config, link).map(|config| config.backend) {
            Ok(Backend::S3(_)) => Backing::Server,
            Ok(Backend::Folder(_)) | Err(_) => Backing::Machine,
        }
    }

    async fn call(&self, invocation: Invocation<Args>) -> Result<Answer<Args>, CallError> {
        let Invocation { head, args, body } = invocation;
        let _under_way = UnderWay::new(&self.calls);
        let Up { config, store } = self.link(&head)?;
        let deadline = head.context.deadline;
        let request = Request { store: &store, config: &config, deadline };
        let answer = timeout_at(deadline, request.answer(&head.function, &args, body)).await;
        answer.unwrap_or_else(|_| Err(CallError::deadline("the backend of the blob store did not answer in time")))
    }

    async fn drain(&self, limit: Duration) {
        self.links.store(Arc::default());
        let finished = async {
            while self.calls.load(Ordering::Relaxed) > 0 {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        let _ = tokio::time::timeout(limit, finished).await;
    }
}

/// Counts a call for as long as it is there.
struct UnderWay(Arc<AtomicUsize>);

impl UnderWay {
    fn new(calls: &Arc<AtomicUsize>) -> Self {
        calls.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(calls))
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
