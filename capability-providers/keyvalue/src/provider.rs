//! The provider: its links, what each has of which store, and the actors that are told of changes.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use async_trait::async_trait;
use tokio_util::task::AbortOnDropHandle;
use trellis_interfaces::keyvalue::{ATOMICS, ATOMICS_2, BATCH, BATCH_2, STORE, STORE_2, WATCHER};
use trellis_provider_sdk::{
    ActiveLink, Answer, Args, Backing, Body, CallError, Description, EntityId, Environment, Factory, Head, Interface,
    Invocation, LinkError, LinkName, Provider, Role,
};

use crate::backend::Backends;
use crate::config::{BackendConfig, LinkConfig};
use crate::request::Access;
use crate::watcher::Watcher;

/// The name after `builtin:`.
pub const NAME: &str = "keyvalue";

/// Makes key-value stores.
pub fn factory() -> Factory {
    Arc::new(|environment| Ok(Arc::new(KeyValue::start(environment)?)))
}

/// The other end of a link, and its name.
type Key = (EntityId, LinkName);

/// What holds for all links at one moment.
#[derive(Default, Clone)]
struct Links {
    /// From actors.
    callers: HashMap<Key, Arc<Access>>,
    /// To actors; dropping one ends it.
    watchers: HashMap<Key, Arc<AbortOnDropHandle<()>>>,
    /// Those that have the embedded store.
    embedded: HashSet<(Role, Key)>,
}

/// How long calls in flight may keep the file of the embedded store when its last link goes.
const RELEASE_LIMIT: Duration = Duration::from_secs(5);

/// A key-value provider.
pub struct KeyValue {
    environment: Environment,
    backends: Backends,
    links: ArcSwap<Links>,
    is_closed: AtomicBool,
}

impl KeyValue {
    /// Opens and connects nothing until the first link comes.
    ///
    /// # Errors
    /// `Config` when its config, which holds for links that say nothing else, is wrong.
    pub fn start(environment: Environment) -> Result<Self, LinkError> {
        LinkConfig::of_provider(&environment.config)?;
        let backends = Backends::new(environment.data_dir.clone());
        Ok(Self { environment, backends, links: ArcSwap::default(), is_closed: AtomicBool::new(false) })
    }

    async fn put(&self, link: &ActiveLink) -> Result<(), LinkError> {
        let LinkConfig { scope, backend: config } = LinkConfig::of(&self.environment.config, link)?;
        let backend = self.backends.open(&config).await?;
        let timeout = match &config {
            BackendConfig::Embedded(_) => None,
            BackendConfig::Redis(remote) | BackendConfig::Nats(remote, _) => Some(remote.timeout),
        };
        let key = key(link);
        let is_embedded = matches!(config, BackendConfig::Embedded(_));
        self.change(|links| {
            links.embedded.remove(&(link.role, key.clone()));
            links.embedded.extend(is_embedded.then(|| (link.role, key.clone())));
        });
        match link.role {
            Role::Target => {
                let access = Arc::new(Access { scope, backend, timeout });
                self.change(|links| drop(links.callers.insert(key.clone(), access.clone())));
            }
            Role::Source => {
                let identifier = scope.bucket.clone().unwrap_or_else(|| "default".to_owned());
                let bucket = scope.bucket(&identifier).map_err(|error| LinkError::Unavailable(error.to_string()))?;
                let caller = self.environment.caller.clone();
                let watcher = Watcher::new(caller, self.environment.id.clone(), &link.link, identifier)?;
                backend.check_watch().await?;
                let watch = async move { backend.watch(bucket, watcher).await };
                let task = Arc::new(AbortOnDropHandle::new(tokio::spawn(watch)));
                self.change(|links| drop(links.watchers.insert(key.clone(), task.clone())));
            }
        }
        Ok(())
    }

    fn change(&self, change: impl Fn(&mut Links)) {
        self.links.rcu(|links| {
            let mut links = Links::clone(links);
            change(&mut links);
            links
        });
    }

    fn access(&self, head: &Head) -> Result<Arc<Access>, CallError> {
        if self.is_closed.load(Ordering::Acquire) {
            return Err(CallError::no_target(format!("{} is closed", self.environment.id)));
        }
        let key = (head.source.clone(), head.link.clone());
        let access = self.links.load().callers.get(&key).cloned();
        access.ok_or_else(|| self.environment.link_not_up(head))
    }
}

fn key(link: &ActiveLink) -> Key {
    let other = match link.role {
        Role::Target => &link.link.source_id,
        Role::Source => &link.link.target,
    };
    (other.clone(), link.link.name.clone())
}

#[async_trait]
impl Provider for KeyValue {
    fn description(&self) -> Description {
        let interface = |name| Interface::parse(name).expect("a constant of ours");
        let serves = [STORE, ATOMICS, BATCH, STORE_2, ATOMICS_2, BATCH_2].map(interface);
        Description { name: "key-value store".into(), serves: serves.into(), calls: vec![interface(WATCHER)] }
    }

    async fn check(&self, link: &ActiveLink) -> Result<(), LinkError> {
        LinkConfig::of(&self.environment.config, link).map(drop)
    }

    async fn link_up(&self, link: &ActiveLink) -> Result<(), LinkError> {
        let result = self.put(link).await;
        if result.is_err() {
            self.link_down(link).await;
        }
        result
    }

    async fn link_down(&self, link: &ActiveLink) {
        let key = key(link);
        self.change(|links| {
            links.embedded.remove(&(link.role, key.clone()));
            match link.role {
                Role::Target => drop(links.callers.remove(&key)),
                Role::Source => drop(links.watchers.remove(&key)),
            }
        });
        // Another process may wait for the file: the one that takes this one's place.
        if self.links.load().embedded.is_empty() {
            self.backends.release(RELEASE_LIMIT).await;
        }
    }

    fn backing(&self, link: &ActiveLink) -> Backing {
        match LinkConfig::of(&self.environment.config, link).map(|config| config.backend) {
            Ok(BackendConfig::Redis(_) | BackendConfig::Nats(..)) => Backing::Server,
            Ok(BackendConfig::Embedded(_)) | Err(_) => Backing::Machine,
        }
    }

    async fn call(&self, invocation: Invocation<Args>) -> Result<Answer<Args>, CallError> {
        let value = self.access(&invocation.head)?.call(&invocation.head, &invocation.args).await?;
        Ok(Answer { value, body: Body::Empty })
    }

    async fn drain(&self, limit: Duration) {
        self.is_closed.store(true, Ordering::Release);
        self.links.store(Arc::default());
        self.backends.close(limit).await;
    }
}
