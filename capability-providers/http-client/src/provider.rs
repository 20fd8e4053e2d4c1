//! The provider: links to clients, calls to requests.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use async_trait::async_trait;
use http::{HeaderName, HeaderValue, request};
use tokio_util::task::TaskTracker;
use trellis_interfaces::http::{CLIENT, HANDLE, OUTGOING_HANDLER};
use trellis_provider_sdk::{
    ActiveLink, Answer, Args, Backing, CallError, Description, EntityId, Environment, Factory, Head, Interface,
    Invocation, LinkError, LinkName, Provider, Role, Trace,
};

use crate::client::LinkClient;
use crate::config::LinkConfig;
use crate::resolve::{self, Resolver};

/// The name after `builtin:`.
pub const NAME: &str = "http-client";

const TRACE_PARENT: HeaderName = HeaderName::from_static("traceparent");
const TRACE_STATE: HeaderName = HeaderName::from_static("tracestate");

/// Makes HTTP clients which resolve names as the system does.
pub fn factory() -> Factory {
    let resolver = resolve::system();
    Arc::new(move |environment| Ok(Arc::new(HttpClient::start(environment, resolver.clone()))))
}

type Links = HashMap<(EntityId, LinkName), Arc<LinkClient>>;

/// An HTTP client: each link has connections of its own.
pub struct HttpClient {
    environment: Environment,
    resolver: Resolver,
    links: ArcSwap<Links>,
    /// Requests under way, until the body of the response was read.
    requests: TaskTracker,
}

impl HttpClient {
    /// A client without links that finds hosts by `resolver`.
    pub fn start(environment: Environment, resolver: Resolver) -> Self {
        Self { environment, resolver, links: ArcSwap::default(), requests: TaskTracker::new() }
    }

    fn client(&self, head: &Head) -> Result<Arc<LinkClient>, CallError> {
        if self.requests.is_closed() {
            return Err(CallError::no_target(format!("{} is closed", self.environment.id)));
        }
        let key = (head.source.clone(), head.link.clone());
        self.links.load().get(&key).cloned().ok_or_else(|| self.environment.link_not_up(head))
    }

    fn put(&self, link: &ActiveLink, client: Option<Arc<LinkClient>>) {
        let key = (link.link.source_id.clone(), link.link.name.clone());
        self.links.rcu(|links| {
            let mut links = Links::clone(links);
            match &client {
                Some(client) => links.insert(key.clone(), client.clone()),
                None => links.remove(&key),
            };
            links
        });
    }
}

#[async_trait]
impl Provider for HttpClient {
    fn description(&self) -> Description {
        let serves = [OUTGOING_HANDLER, CLIENT].map(|name| Interface::parse(name).expect("a constant of ours"));
        Description { name: "HTTP client".into(), serves: serves.into(), calls: Vec::new() }
    }

    async fn check(&self, link: &ActiveLink) -> Result<(), LinkError> {
        LinkConfig::of(link).map(drop)
    }

    async fn link_up(&self, link: &ActiveLink) -> Result<(), LinkError> {
        let config = match LinkConfig::of(link) {
            Ok(config) if link.role == Role::Target => config,
            result => {
                self.put(link, None);
                let wrong_end = "an HTTP client is the target of its links, not the source".to_owned();
                return Err(result.err().unwrap_or(LinkError::Unavailable(wrong_end)));
            }
        };
        let key = (link.link.source_id.clone(), link.link.name.clone());
        let known = self.links.load().get(&key).filter(|known| known.config == config).cloned();
        if known.is_some() {
            return Ok(());
        }
        let client = LinkClient::new(config, self.resolver.clone()).await;
        let (client, result) = match client {
            Ok(client) => (Some(Arc::new(client)), Ok(())),
            Err(error) => (None, Err(error)),
        };
        self.put(link, client);
        result
    }

    async fn link_down(&self, link: &ActiveLink) {
        self.put(link, None);
    }

    fn backing(&self, _link: &ActiveLink) -> Backing {
        Backing::Network
    }

    async fn call(&self, invocation: Invocation<Args>) -> Result<Answer<Args>, CallError> {
        let Invocation { head, args, body } = invocation;
        let client = self.client(&head)?;
        let (HANDLE, Args::Request(mut parts)) = (&*head.function, args) else {
            return Err(CallError::contract(format!(
                "{}.{} is not how requests are sent",
                head.interface, head.function
            )));
        };
        if let Some(trace) = &head.context.trace {
            add_trace(&mut parts, trace);
        }
        client.send(*parts, body, head.context.deadline, self.requests.token()).await
    }

    async fn drain(&self, limit: Duration) {
        self.requests.close();
        _ = tokio::time::timeout(limit, self.requests.wait()).await;
        self.links.store(Arc::default());
    }
}

/// Says what the request is part of, unless the actor did.
fn add_trace(parts: &mut request::Parts, trace: &Trace) {
    if parts.headers.contains_key(TRACE_PARENT) {
        return;
    }
    let state = trace.state.iter().map(|state| (TRACE_STATE, state));
    for (name, value) in std::iter::once((TRACE_PARENT, &trace.parent)).chain(state) {
        if let Ok(value) = HeaderValue::from_str(value) {
            parts.headers.insert(name, value);
        }
    }
}
