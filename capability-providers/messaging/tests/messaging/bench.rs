//! A provider under test: links as a host puts them, and actors that are closures.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::future::BoxFuture;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::mpsc;
use trellis_interfaces::messaging::{BrokerMessage, CONSUMER, HandleMessage, Publish, Request};
use trellis_provider_messaging::factory;
use trellis_provider_sdk::testing::{as_source, as_target, caller, config, environment, invocation, link, value};
use trellis_provider_sdk::wire::{decode, encode};
use trellis_provider_sdk::{ActiveLink, Answer, Args, Body, Call, CallError, Link, LinkError, Provider};

use crate::server::Server;

/// What a handler says to a message.
pub(crate) type Said = Result<Result<(), String>, CallError>;

type Handler = Arc<dyn Fn(BrokerMessage) -> BoxFuture<'static, Said> + Send + Sync>;

/// Which broker a test is about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Backend {
    Embedded,
    Nats,
    JetStream,
}

/// A provider with its broker.
pub(crate) struct Bench {
    pub(crate) backend: Backend,
    pub(crate) provider: Arc<dyn Provider>,
    pub(crate) server: Option<Server>,
    pub(crate) data: tempfile::TempDir,
    handlers: Arc<Mutex<HashMap<String, Handler>>>,
}

impl Bench {
    pub(crate) fn start(backend: Backend) -> Self {
        Self::start_with(backend, &[])
    }

    /// With this config of the provider.
    pub(crate) fn start_with(backend: Backend, pairs: &[(&str, &str)]) -> Self {
        let server = (backend != Backend::Embedded).then(|| Server::start(&[]));
        let data = tempfile::tempdir().expect("a temporary directory");
        let handlers = Arc::default();
        let pairs = with_broker(backend, server.as_ref(), pairs);
        let provider = provider(data.path(), &pairs, &handlers);
        Self { backend, provider, server, data, handlers }
    }

    /// Another process of the same provider, with this config.
    pub(crate) fn beside(&self, pairs: &[(&str, &str)]) -> Arc<dyn Provider> {
        let pairs = with_broker(self.backend, self.server.as_ref(), pairs);
        provider(self.data.path(), &pairs, &self.handlers)
    }

    /// The provider goes, and another one takes its place.
    pub(crate) async fn restart(&mut self) {
        self.provider.drain(Duration::from_secs(10)).await;
        let pairs = with_broker(self.backend, self.server.as_ref(), &[]);
        self.provider = provider(self.data.path(), &pairs, &self.handlers);
    }

    /// A link by which the actor `name` is handed messages.
    pub(crate) async fn try_subscribe<F, R>(
        &self,
        name: &str,
        pairs: &[(&str, &str)],
        handler: F,
    ) -> Result<(), LinkError>
    where
        F: Fn(BrokerMessage) -> R + Send + Sync + 'static,
        R: Future<Output = Said> + Send + 'static,
    {
        let handler: Handler = Arc::new(move |message| Box::pin(handler(message)));
        self.handlers.lock().expect("no panic").insert(name.to_owned(), handler);
        self.provider.link_up(&handler_link(name, pairs)).await
    }

    pub(crate) async fn subscribe<F, R>(&self, name: &str, pairs: &[(&str, &str)], handler: F)
    where
        F: Fn(BrokerMessage) -> R + Send + Sync + 'static,
        R: Future<Output = Said> + Send + 'static,
    {
        self.try_subscribe(name, pairs, handler).await.expect("the link is established");
    }

    /// A link whose messages are collected.
    pub(crate) async fn collect(&self, name: &str, pairs: &[(&str, &str)]) -> Collected {
        let (tx, messages) = mpsc::unbounded_channel();
        self.subscribe(name, pairs, move |message| {
            let sent = tx.send(message);
            async move {
                sent.expect("the test listens");
                Ok(Ok(()))
            }
        })
        .await;
        Collected(messages)
    }

    /// An actor that sends.
    pub(crate) async fn sender(&self, name: &str, pairs: &[(&str, &str)]) -> Sender {
        let active = as_target(named(link(name, "messaging", &["wasmcloud:messaging/consumer"]), name), pairs);
        self.provider.link_up(&active).await.expect("the link is established");
        Sender { provider: self.provider.clone(), link: active.link }
    }

    /// An actor that sends, and by JetStream what it keeps.
    pub(crate) async fn sender_of(&self, subjects: &str) -> Sender {
        self.sender("sender", &[("stream_subjects", subjects)]).await
    }

    /// Config of a handler of requests: those go by core NATS.
    pub(crate) fn for_requests(&self) -> Vec<(&'static str, &'static str)> {
        if self.backend == Backend::JetStream { vec![("backend", "nats")] } else { Vec::new() }
    }
}

fn provider(
    data: &Path,
    pairs: &[(String, String)],
    handlers: &Arc<Mutex<HashMap<String, Handler>>>,
) -> Arc<dyn Provider> {
    let handlers = handlers.clone();
    let mut environment = environment(
        "messaging",
        data,
        caller(move |call: Call<Args>| {
            let handler = handlers.lock().expect("no panic").get(call.link.as_str()).cloned();
            Box::pin(async move {
                let handler = handler.ok_or_else(|| CallError::no_target("nobody is there"))?;
                let HandleMessage { message } = decode(&call.args)?;
                Ok(Answer { value: encode(&handler(message).await?)?, body: Body::Empty })
            })
        }),
    );
    let pairs: Vec<(&str, &str)> = pairs.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
    environment.config = config(&pairs);
    factory()(environment).expect("the config is valid")
}

fn with_broker(backend: Backend, server: Option<&Server>, pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    let name = match backend {
        Backend::Embedded => "embedded",
        Backend::Nats => "nats",
        Backend::JetStream => "jetstream",
    };
    let mut all = vec![("backend".to_owned(), name.to_owned())];
    all.extend(server.map(|server| ("cluster_uris".to_owned(), server.url())));
    all.extend(pairs.iter().map(|&(key, value)| (key.to_owned(), value.to_owned())));
    all
}

/// A link named `name` from the provider to the actor `name`.
pub(crate) fn handler_link(name: &str, pairs: &[(&str, &str)]) -> ActiveLink {
    as_source(named(link("messaging", name, &["wasmcloud:messaging/handler"]), name), pairs)
}

fn named(link: Link, name: &str) -> Link {
    Link { name: name.parse().expect("valid"), ..link }
}

/// What a link was handed.
pub(crate) struct Collected(mpsc::UnboundedReceiver<BrokerMessage>);

impl Collected {
    pub(crate) async fn next(&mut self) -> BrokerMessage {
        let next = tokio::time::timeout(Duration::from_secs(40), self.0.recv()).await;
        next.expect("a message in time").expect("the link is there")
    }

    /// The bodies of so many, as text.
    pub(crate) async fn bodies(&mut self, count: usize) -> Vec<String> {
        let mut bodies = Vec::new();
        for _ in 0..count {
            bodies.push(text(&self.next().await));
        }
        bodies
    }

    /// How many have come and were not looked at.
    pub(crate) fn waiting(&self) -> usize {
        self.0.len()
    }
}

pub(crate) fn text(message: &BrokerMessage) -> String {
    String::from_utf8_lossy(&message.body).into_owned()
}

/// An actor that sends over its link.
#[derive(Clone)]
pub(crate) struct Sender {
    pub(crate) provider: Arc<dyn Provider>,
    pub(crate) link: Link,
}

impl Sender {
    /// The outer error is that of the call.
    pub(crate) async fn call<T: DeserializeOwned>(
        &self,
        function: &str,
        args: &impl Serialize,
    ) -> Result<Result<T, String>, CallError> {
        value(&self.provider.call(invocation(&self.link, CONSUMER, function, args)).await?)
    }

    pub(crate) async fn try_publish(&self, subject: &str, body: &[u8]) -> Result<(), String> {
        let message = BrokerMessage { subject: subject.into(), body: body.to_vec().into(), reply_to: None };
        self.call("publish", &Publish { message }).await.expect("the call succeeds")
    }

    pub(crate) async fn publish(&self, subject: &str, body: &str) {
        self.try_publish(subject, body.as_bytes()).await.unwrap_or_else(|error| panic!("{subject}: {error}"));
    }

    pub(crate) async fn request(&self, subject: &str, body: &str, timeout_ms: u32) -> Result<BrokerMessage, String> {
        let request = Request { subject: subject.into(), body: body.to_owned().into(), timeout_ms };
        self.call("request", &request).await.expect("the call succeeds")
    }
}
