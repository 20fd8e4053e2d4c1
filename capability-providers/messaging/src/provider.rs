//! The provider: links to consumers and handlers, and transforms, which need no link.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use async_trait::async_trait;
use tokio::sync::{Mutex, Notify};
use tokio::time::{Instant, sleep, timeout_at};
use tokio_util::task::AbortOnDropHandle;
use tracing::{info, warn};
use trellis_interfaces::messaging::{CONSUMER, HANDLER};
use trellis_provider_sdk::{
    ActiveLink, Answer, Args, Backing, Body, CallError, Description, EntityId, Environment, Factory, Health, Interface,
    Invocation, LinkError, LinkName, Provider, Role, StringMap,
};

use crate::broker::{Broker, Feed, Subscription};
use crate::config::{self, BrokerConfig, ConsumerConfig, HandlerConfig, ProviderConfig};
use crate::consumer::Consumer;
use crate::embedded::Queues;
use crate::jetstream::JetStream;
use crate::lanes::Lanes;
use crate::nats::Nats;
use crate::sink::{Route, Sink};
use crate::transform::Transform;

/// The name after `builtin:`.
pub const NAME: &str = "messaging";

/// How long a handling may go on after its link is gone or was changed.
const CLOSE_LIMIT: Duration = Duration::from_secs(2);

/// How often it is looked whether a file is free.
const LOOK: Duration = Duration::from_millis(5);

/// How often transforms are tried whose broker cannot be reached, and how long another process has to take the file that
/// they have given back.
const TRY_EVERY: Duration = Duration::from_secs(1);

/// Makes messaging providers.
pub fn factory() -> Factory {
    Arc::new(|environment| Ok(Arc::new(Messaging::start(environment)?)))
}

type Consumers = HashMap<(EntityId, LinkName), Arc<Consumer>>;
type Handlers = HashMap<(EntityId, LinkName), Handler>;

/// Messaging for actors.
pub struct Messaging {
    environment: Environment,
    brokers: Arc<Brokers>,
    consumers: ArcSwap<Consumers>,
    /// Links come one at a time, but a drain may come meanwhile.
    handlers: Arc<Mutex<Handlers>>,
    /// Told when transforms have given their queue back, and are to try again.
    resting: Arc<Notify>,
    _transforms: Option<AbortOnDropHandle<()>>,
}

/// A subscription that is fed to a sink.
struct Handler {
    is_embedded: bool,
    broker: Arc<dyn Broker>,
    lanes: Arc<Lanes>,
    feed: Feed,
}

impl Handler {
    /// `name` is the group of those that name none.
    async fn open(config: HandlerConfig, broker: Arc<dyn Broker>, sink: Sink, name: String) -> Result<Self, LinkError> {
        let is_embedded = matches!(config.broker, BrokerConfig::Embedded);
        let delivery = config.delivery;
        let subscription = Subscription {
            patterns: config.subscriptions,
            group: config.group.unwrap_or(name),
            order: delivery.order,
            dead_letter: delivery.redelivery.dead_letter.as_ref().map(|(_, subject)| subject.clone()),
            max_in_flight: delivery.max_in_flight,
        };
        let lanes = Lanes::open(sink, delivery.redelivery, broker.clone(), delivery.max_in_flight);
        let feed = broker.subscribe(&subscription, &lanes).await?;
        Ok(Self { is_embedded, broker, lanes, feed })
    }

    async fn close(self, limit: Duration) {
        let end = Instant::now() + limit;
        drop(self.feed);
        self.lanes.close(limit).await;
        // What was handled is acknowledged, or it comes again.
        let _ = timeout_at(end, self.broker.flush()).await;
    }
}

/// Opens brokers; the queue in the provider's file is one for all links.
struct Brokers {
    environment: Environment,
    config: ProviderConfig,
    queues: Mutex<Option<Arc<Queues>>>,
}

impl Brokers {
    async fn open(&self, config: &BrokerConfig) -> Result<Arc<dyn Broker>, LinkError> {
        Ok(match config {
            BrokerConfig::Embedded => self.queues().await?,
            BrokerConfig::Nats(server) => Arc::new(Nats::connect(server).await?),
            BrokerConfig::JetStream(server, stream) => Arc::new(JetStream::connect(server, stream.clone()).await?),
        })
    }

    async fn queues(&self) -> Result<Arc<Queues>, LinkError> {
        let mut queues = self.queues.lock().await;
        if let Some(queues) = &*queues {
            return Ok(queues.clone());
        }
        let opened = Arc::new(Queues::open(&self.environment.data_dir, self.config.limits).await?);
        Ok(queues.insert(opened).clone())
    }

    /// Gives the file back, which no link has any more: the process that takes this one's place may wait for it.
    async fn release(&self) {
        let mut queues = self.queues.lock().await;
        let patience = Instant::now() + CLOSE_LIMIT;
        // What was handed over by the last link gives it back a moment later.
        while queues.as_ref().is_some_and(|queues| Arc::strong_count(queues) > 1) && Instant::now() < patience {
            sleep(LOOK).await;
        }
        if let Some(unused) = queues.take_if(|queues| Arc::strong_count(queues) == 1) {
            // Under the lock, so that the file is closed before it is opened again.
            unused.close(CLOSE_LIMIT).await;
        }
    }
}

impl Messaging {
    /// Reads its config; connects when the first link comes, or for its transforms.
    ///
    /// # Errors
    /// `Config` for a key that is wrong.
    pub fn start(environment: Environment) -> Result<Self, LinkError> {
        let config = ProviderConfig::of(&environment)?;
        let transforms = config.transforms.clone();
        let brokers = Arc::new(Brokers { environment: environment.clone(), config, queues: Mutex::default() });
        let handlers = Arc::new(Mutex::new(Handlers::new()));
        let resting = Arc::new(Notify::new());
        let transforms = transforms.map(|(transforms, config)| {
            let (brokers, handlers, resting) = (brokers.clone(), handlers.clone(), resting.clone());
            let transforming =
                Transforming { transforms, config, key: own_key(&environment), brokers, handlers, resting };
            AbortOnDropHandle::new(tokio::spawn(transforming.run()))
        });
        Ok(Self { environment, brokers, consumers: ArcSwap::default(), handlers, resting, _transforms: transforms })
    }

    /// The config of the provider, and that of the link over it.
    fn config(&self, link: &ActiveLink) -> Result<StringMap, LinkError> {
        config::merged(&self.environment.config, link)
    }

    async fn consumer_up(&self, link: &ActiveLink) -> Result<(), LinkError> {
        let config = ConsumerConfig::parse(&self.config(link)?)?;
        let consumer = Arc::new(Consumer { broker: self.brokers.open(&config.broker).await?, config });
        let key = (link.link.source_id.clone(), link.link.name.clone());
        self.consumers.rcu(|consumers| {
            let mut consumers = Consumers::clone(consumers);
            consumers.insert(key.clone(), consumer.clone());
            consumers
        });
        Ok(())
    }

    async fn handler_up(&self, link: &ActiveLink) -> Result<(), LinkError> {
        let (id, interface) = (&self.environment.id, interface(HANDLER));
        if !link.link.covers(&interface) {
            let text = format!(
                "link {:?} to {} is not for {HANDLER}, which messages are handed to",
                link.link.name, link.link.target
            );
            return Err(LinkError::Unavailable(text));
        }
        let config = HandlerConfig::parse(&self.config(link)?)?;
        let broker = self.brokers.open(&config.broker).await?;
        let sink = Sink::Actor(Route {
            source: id.clone(),
            link: link.link.name.clone(),
            interface,
            caller: self.environment.caller.clone(),
            timeout: config.delivery.timeout,
        });
        let name = format!("{id}-{}-{}", link.link.target, link.link.name);
        let handler = Handler::open(config, broker, sink, name).await?;
        self.handlers.lock().await.insert((link.link.target.clone(), link.link.name.clone()), handler);
        Ok(())
    }

    /// Whether any link has the provider's own queue.
    async fn has_queue(&self) -> bool {
        let own = own_key(&self.environment);
        let handlers = self.handlers.lock().await;
        let is_handled = handlers.iter().any(|(key, handler)| *key != own && handler.is_embedded);
        let consumers = self.consumers.load();
        is_handled || consumers.values().any(|consumer| matches!(consumer.config.broker, BrokerConfig::Embedded))
    }

    /// Has transforms give back the queue that no link has any more, for a moment: nobody can send to it meanwhile, and a
    /// process that is to take this one's place can have it.
    async fn rest(&self) {
        let transforms = {
            let mut handlers = self.handlers.lock().await;
            handlers.extract_if(|key, handler| *key == own_key(&self.environment) && handler.is_embedded).next()
        };
        if let Some((_, transforms)) = transforms {
            transforms.close(CLOSE_LIMIT).await;
            self.resting.notify_one();
        }
    }

    async fn remove(&self, link: &ActiveLink) {
        match link.role {
            Role::Target => {
                let key = (link.link.source_id.clone(), link.link.name.clone());
                self.consumers.rcu(|consumers| {
                    let mut consumers = Consumers::clone(consumers);
                    consumers.remove(&key);
                    consumers
                });
            }
            Role::Source => {
                let key = (link.link.target.clone(), link.link.name.clone());
                let handler = self.handlers.lock().await.remove(&key);
                if let Some(handler) = handler {
                    handler.close(CLOSE_LIMIT).await;
                }
            }
        }
    }
}

/// Under which transforms stand among the handlers: no link leads from a provider to itself.
fn own_key(environment: &Environment) -> (EntityId, LinkName) {
    (environment.id.clone(), LinkName::default())
}

/// What subscribes for transforms, as soon as their broker can be reached, and again when they were given up.
struct Transforming {
    transforms: Vec<Transform>,
    config: HandlerConfig,
    key: (EntityId, LinkName),
    brokers: Arc<Brokers>,
    handlers: Arc<Mutex<Handlers>>,
    resting: Arc<Notify>,
}

impl Transforming {
    async fn run(self) {
        let mut told = None;
        loop {
            match self.open().await {
                Ok(handler) => {
                    info!(provider_id = %self.key.0, transforms = self.transforms.len(), "transforms established");
                    self.handlers.lock().await.insert(self.key.clone(), handler);
                    told = None;
                    self.resting.notified().await;
                }
                Err(error) => {
                    let error = Some(error.to_string());
                    if told != error {
                        warn!(provider_id = %self.key.0, error = error.as_deref(), "transforms not established yet");
                        told = error;
                    }
                }
            }
            sleep(TRY_EVERY).await;
        }
    }

    async fn open(&self) -> Result<Handler, LinkError> {
        let broker = self.brokers.open(&self.config.broker).await?;
        let sink = Sink::Subjects(self.transforms.clone(), broker.clone());
        Handler::open(self.config.clone(), broker, sink, format!("{}-transform", self.key.0)).await
    }
}

fn interface(name: &str) -> Interface {
    Interface::parse(name).expect("a constant of ours")
}

#[async_trait]
impl Provider for Messaging {
    fn description(&self) -> Description {
        Description { name: "messaging".into(), serves: vec![interface(CONSUMER)], calls: vec![interface(HANDLER)] }
    }

    async fn check(&self, link: &ActiveLink) -> Result<(), LinkError> {
        let config = self.config(link)?;
        match link.role {
            Role::Source => HandlerConfig::parse(&config).map(drop),
            Role::Target => ConsumerConfig::parse(&config).map(drop),
        }
    }

    async fn link_up(&self, link: &ActiveLink) -> Result<(), LinkError> {
        self.remove(link).await;
        match link.role {
            Role::Target => self.consumer_up(link).await,
            Role::Source => self.handler_up(link).await,
        }
    }

    async fn link_down(&self, link: &ActiveLink) {
        self.remove(link).await;
        if !self.has_queue().await {
            self.rest().await;
            self.brokers.release().await;
        }
    }

    fn backing(&self, link: &ActiveLink) -> Backing {
        match self.config(link).and_then(|config| ConsumerConfig::parse(&config)).map(|config| config.broker) {
            // A request names by its subject who is to answer it.
            Ok(BrokerConfig::Nats(_) | BrokerConfig::JetStream(..)) => Backing::Network,
            Ok(BrokerConfig::Embedded) | Err(_) => Backing::Machine,
        }
    }

    async fn call(&self, invocation: Invocation<Args>) -> Result<Answer<Args>, CallError> {
        let Invocation { head, args, .. } = invocation;
        if head.interface.without_version() != interface(CONSUMER).without_version() {
            return Err(CallError::contract(format!("messaging serves {CONSUMER}, not {}", head.interface)));
        }
        let key = (head.source.clone(), head.link.clone());
        let consumer = self.consumers.load().get(&key).cloned();
        let consumer = consumer.ok_or_else(|| self.environment.link_not_up(&head))?;
        Ok(Answer { value: consumer.call(&head, &args).await?, body: Body::Empty })
    }

    async fn health(&self) -> Health {
        let mut brokers: Vec<Arc<dyn Broker>> =
            self.consumers.load().values().map(|consumer| consumer.broker.clone()).collect();
        brokers.extend(self.handlers.lock().await.values().map(|handler| handler.broker.clone()));
        let ill = brokers.iter().map(|broker| broker.health()).find(|health| *health != Health::Healthy);
        ill.unwrap_or(Health::Healthy)
    }

    async fn drain(&self, limit: Duration) {
        let handlers = std::mem::take(&mut *self.handlers.lock().await);
        // What is handled may still send: the consumers stay until that is over.
        futures::future::join_all(handlers.into_values().map(|handler| handler.close(limit))).await;
        self.consumers.store(Arc::default());
        let queues = self.brokers.queues.lock().await.take();
        if let Some(queues) = queues {
            queues.close(limit).await;
        }
    }
}
