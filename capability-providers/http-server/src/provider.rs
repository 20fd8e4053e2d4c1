//! The provider: links to routes.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::future::join_all;
use trellis_interfaces::http::{HANDLE, HANDLER, INCOMING_HANDLER};
use trellis_provider_sdk::{
    ActiveLink, Answer, Args, CallError, Damper, Description, Environment, Factory, Health, Interface, Invocation,
    LinkError, Provider, Role,
};

use crate::config::{LinkConfig, ProviderConfig};
use crate::forward::Route;
use crate::front::Front;
use crate::listener::{Entry, Key, Listener, Listeners};
use crate::succession::inherit;
use crate::tls::Certificate;

/// The name after `builtin:`.
pub const NAME: &str = "http-server";

/// How long requests in flight may take when the last link of a listener goes.
const CLOSE_LIMIT: Duration = Duration::from_secs(5);

/// Makes HTTP servers which share one listener per address.
pub fn factory() -> Factory {
    let listeners = Arc::new(Listeners::default());
    Arc::new(move |environment| Ok(Arc::new(HttpServer::start(environment, listeners.clone())?)))
}

/// The HTTP server of one host.
pub struct HttpServer {
    environment: Environment,
    config: ProviderConfig,
    instance: uuid::Uuid,
    function: Arc<str>,
    listeners: Arc<Listeners>,
}

impl HttpServer {
    /// Reads its config; listens when the first link comes.
    ///
    /// # Errors
    /// `Config` for a key that is wrong.
    pub fn start(environment: Environment, listeners: Arc<Listeners>) -> Result<Self, LinkError> {
        let config = ProviderConfig::parse(&environment.config)?;
        Ok(Self { environment, config, instance: uuid::Uuid::new_v4(), function: HANDLE.into(), listeners })
    }

    fn key(&self, link: &ActiveLink) -> Key {
        Key { provider: self.instance, link: link.link.name.clone() }
    }

    async fn entry(&self, link: &ActiveLink) -> Result<Entry, LinkError> {
        let config = LinkConfig::of(link)?;
        let tls = match config.tls.or_else(|| self.config.tls.clone()) {
            Some(files) => Some(Arc::new(Certificate::read(files).await?)),
            None => None,
        };
        let route = Route {
            source: self.environment.id.clone(),
            link: link.link.name.clone(),
            target: link.link.target.clone(),
            interface: handler(link)?,
            function: self.function.clone(),
            caller: self.environment.caller.clone(),
            timeout: config.timeout,
            body_limit_bytes: config.body_limit_bytes,
            failures: Damper::default(),
            front: Front::new(config.front),
        };
        let address = config.address.unwrap_or(self.config.address);
        let dir = self.environment.data_dir.as_path().into();
        Ok(Entry { address, pattern: config.pattern, weight: config.weight, route: Arc::new(route), tls, dir })
    }

    /// Puts a link's route. An address that another process of this provider listens on, which this one is about to
    /// replace, is listened on together with it.
    async fn put(&self, key: &Key, entry: Entry) -> (Vec<Listener>, Result<(), LinkError>) {
        let (mut unused, result) = self.listeners.put(key, entry.clone(), self.config.limits, None);
        let Err(LinkError::Held(reason)) = result else { return (unused, result) };
        match inherit(&entry.dir, entry.address).await {
            Ok(inherited) => {
                let (more, result) = self.listeners.put(key, entry, self.config.limits, Some(inherited));
                unused.extend(more);
                (unused, result)
            }
            Err(error) => {
                tracing::debug!("no listening socket to inherit: {error}");
                (unused, Err(LinkError::Held(reason)))
            }
        }
    }
}

/// The interface that a link leads to.
fn handler(link: &ActiveLink) -> Result<Interface, LinkError> {
    let handlers = [INCOMING_HANDLER, HANDLER].map(|name| Interface::parse(name).expect("a constant of ours"));
    let found = handlers.into_iter().find(|handler| link.link.covers(handler) && link.role == Role::Source);
    found.ok_or_else(|| {
        LinkError::Unavailable(format!(
            "link {:?} to {} is not for {INCOMING_HANDLER} or {HANDLER}, the interfaces that an HTTP server calls",
            link.link.name, link.link.target
        ))
    })
}

#[async_trait]
impl Provider for HttpServer {
    fn description(&self) -> Description {
        let calls = [INCOMING_HANDLER, HANDLER].map(|name| Interface::parse(name).expect("a constant of ours"));
        Description { name: "HTTP server".into(), serves: Vec::new(), calls: calls.into() }
    }

    async fn check(&self, link: &ActiveLink) -> Result<(), LinkError> {
        LinkConfig::of(link).map(drop)
    }

    async fn link_up(&self, link: &ActiveLink) -> Result<(), LinkError> {
        let key = self.key(link);
        let (unused, result) = match self.entry(link).await {
            Ok(entry) => self.put(&key, entry).await,
            Err(error) => {
                let address = LinkConfig::of(link).ok().and_then(|config| config.address);
                (self.listeners.miss(&key, address.unwrap_or(self.config.address)), Err(error))
            }
        };
        close(unused, CLOSE_LIMIT).await;
        result
    }

    async fn link_down(&self, link: &ActiveLink) {
        let key = self.key(link);
        close(self.listeners.remove(|other| *other == key), CLOSE_LIMIT).await;
    }

    async fn call(&self, _: Invocation<Args>) -> Result<Answer<Args>, CallError> {
        Err(CallError::contract("an HTTP server serves no interface: it calls actors over its own links"))
    }

    async fn health(&self) -> Health {
        match self.listeners.dead().first() {
            None => Health::Healthy,
            Some(address) => Health::Unhealthy(format!("listener on {address} has ended")),
        }
    }

    async fn drain(&self, limit: Duration) {
        close(self.listeners.remove(|key| key.provider == self.instance), limit).await;
    }
}

impl Drop for HttpServer {
    fn drop(&mut self) {
        drop(self.listeners.remove(|key| key.provider == self.instance));
    }
}

async fn close(listeners: Vec<Listener>, limit: Duration) {
    join_all(listeners.into_iter().map(|listener| listener.close(limit))).await;
}
