//! The task that owns the roster.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use futures::FutureExt as _;
use futures::future::{BoxFuture, join_all};
use serde_json::Value;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;
use trellis_lattice::id::EntityId;
use trellis_lattice::message::event::EventName;
use trellis_lattice::message::presence::{Running as Presented, State};
use trellis_lattice::rpc::Peer;

use super::{ActorEntry, Context, Message, Order, ProviderEntry, Snapshot, actors, providers};
use crate::announce;
use crate::assignment::{Assignment, Writer};
use crate::pulse::Taken;
use crate::router::{Target, Targets};

/// Orders for one id that wait for the one before.
const ORDERS_PER_ID: usize = 32;

/// What an order that was carried out changed.
pub(super) struct Done {
    pub(super) id: EntityId,
    pub(super) change: Change,
    /// Told when the change can be seen.
    pub(super) events: Vec<(EventName, Value)>,
}

/// How the roster changes.
pub(super) enum Change {
    /// Not at all.
    None,
    /// This actor runs, in the place of the one before.
    Actor(Box<ActorEntry>),
    /// This provider runs.
    Provider(Box<ProviderEntry>),
}

/// One order being carried out, and what is told if it panics.
pub(super) struct Job {
    pub(super) work: BoxFuture<'static, Done>,
    pub(super) id: EntityId,
    pub(super) failure: (EventName, Value),
}

impl Job {
    async fn run(self) -> Done {
        let Self { work, id, failure } = self;
        let panicked = |_| {
            tracing::error!(actor_id = %id, "order broke off by a panic");
            Done { id: id.clone(), change: Change::None, events: vec![failure] }
        };
        AssertUnwindSafe(work).catch_unwind().await.unwrap_or_else(panicked)
    }
}

/// The roster and those who are told of it.
pub(super) struct Owner {
    context: Arc<Context>,
    peer: Arc<Peer>,
    runs: Snapshot,
    published: Arc<ArcSwap<Snapshot>>,
    writer: Writer,
    /// What was assigned before this start and does not run yet.
    unmet: Assignment,
    /// An id is a key while an order for it is carried out; more orders for it wait in its queue.
    waiting: HashMap<EntityId, VecDeque<(Order, Taken)>>,
    jobs: JoinSet<Done>,
    drains: JoinSet<()>,
}

impl Owner {
    pub(super) fn new(
        context: Arc<Context>,
        peer: Arc<Peer>,
        published: Arc<ArcSwap<Snapshot>>,
        writer: Writer,
        unmet: Assignment,
    ) -> Self {
        Self {
            context,
            peer,
            runs: Snapshot::default(),
            published,
            writer,
            unmet,
            waiting: HashMap::new(),
            jobs: JoinSet::new(),
            drains: JoinSet::new(),
        }
    }

    pub(super) async fn run(mut self, mut queue: mpsc::Receiver<Message>) {
        let mut told = self.context.told.changes();
        self.peer.announce(State::Ready, self.presented());
        loop {
            tokio::select! {
                message = queue.recv() => match message {
                    Some(Message::Order(order, taken)) => self.take(order, taken),
                    Some(Message::Shutdown { drain, done }) => {
                        self.shutdown(drain).await;
                        // Whoever waited may have left.
                        let _ = done.send(());
                        return;
                    }
                    None => return,
                },
                Some(done) = self.jobs.join_next() => {
                    self.settle(done.expect("jobs catch panics and are not aborted while this runs"));
                }
                Some(_) = self.drains.join_next() => {}
                Ok(()) = told.changed() => self.keep(),
            }
        }
    }

    fn take(&mut self, order: Order, taken: Taken) {
        self.runs.taken_up += 1;
        match self.waiting.get_mut(order.id()) {
            None => self.begin(order, taken),
            Some(queue) if queue.len() < ORDERS_PER_ID => queue.push_back((order, taken)),
            Some(_) => {
                let failure = failure(&self.context, &order, "too many commands for it wait; try again in a moment");
                self.context.announcer.emit(failure.0, failure.1);
            }
        }
        self.show_orders();
    }

    /// Shows for which ids orders are carried out.
    fn show_orders(&mut self) {
        self.runs.underway = Arc::new(self.waiting.keys().cloned().collect());
        self.published.store(Arc::new(self.runs.clone()));
    }

    /// Starts carrying out an order. What is to be stopped is gone from the roster, and gets no more calls, before
    /// it is drained.
    fn begin(&mut self, order: Order, taken: Taken) {
        self.waiting.entry(order.id().clone()).or_default();
        if let Err(stale) = self.context.admit(&taken) {
            let (id, failure) = (order.id().clone(), failure(&self.context, &order, &stale.to_string()));
            let done = Done { id: id.clone(), change: Change::None, events: vec![failure.clone()] };
            return drop(self.jobs.spawn(Job { work: std::future::ready(done).boxed(), id, failure }.run()));
        }
        if !matches!(order, Order::Resume(..)) {
            self.unmet.forget(order.id());
        }
        let failure = failure(&self.context, &order, "the host failed inside while it carried out the command");
        let id = order.id().clone();
        let context = Arc::clone(&self.context);
        let work = match order {
            Order::Scale(command) if command.count == 0 => {
                let stopped = self.runs.actors.remove(&id);
                self.publish();
                actors::stop(context, *command, stopped).boxed()
            }
            Order::Scale(command) if self.runs.providers.contains_key(&id) => {
                actors::refuse(context, *command, "a provider with that id runs here".to_owned()).boxed()
            }
            Order::Scale(command) => {
                let current = self.runs.actors.get(&id).cloned();
                actors::scale(context, actors::Ordered { command: *command, taken }, None, current).boxed()
            }
            Order::Resume(command, digest) => {
                actors::scale(context, actors::Ordered { command: *command, taken }, Some(digest), None).boxed()
            }
            Order::StartProvider(command) if command.allow_update && self.runs.providers.contains_key(&id) => {
                providers::replace(context, *command, taken, Arc::clone(&self.runs.providers[&id])).boxed()
            }
            Order::StartProvider(command) => {
                let is_there = self.runs.providers.contains_key(&id) || self.runs.actors.contains_key(&id);
                if is_there {
                    providers::refuse(context, *command, "something with that id runs here already".to_owned()).boxed()
                } else {
                    providers::start(context, *command, taken).boxed()
                }
            }
            Order::StopProvider(id) => {
                let stopped = self.runs.providers.remove(&id);
                self.publish();
                providers::stop(context, id, stopped).boxed()
            }
        };
        self.jobs.spawn(Job { work, id, failure }.run());
    }

    /// Takes in what an order changed, tells it, and goes on to the next order for the same id.
    fn settle(&mut self, done: Done) {
        match done.change {
            Change::None => {}
            Change::Actor(entry) => {
                self.unmet.forget(&done.id);
                let entry = Arc::new(*entry);
                let before = self.runs.actors.insert(done.id.clone(), Arc::clone(&entry));
                self.publish();
                self.retire(before.filter(|before| !Arc::ptr_eq(&before.actor, &entry.actor)));
            }
            Change::Provider(entry) => {
                self.unmet.forget(&done.id);
                self.runs.providers.insert(done.id.clone(), Arc::new(*entry));
                self.publish();
            }
        }
        for (name, data) in done.events {
            self.context.announcer.emit(name, data);
        }
        let next = self.waiting.get_mut(&done.id).and_then(VecDeque::pop_front);
        match next {
            Some((order, taken)) => self.begin(order, taken),
            None => drop(self.waiting.remove(&done.id)),
        }
        self.show_orders();
    }

    fn retire(&mut self, replaced: Option<Arc<ActorEntry>>) {
        if let Some(replaced) = replaced {
            let limit = self.context.config.drain;
            self.drains.spawn(async move { replaced.actor.retire(limit).await });
        }
    }

    /// Tells everyone what runs now.
    fn publish(&mut self) {
        self.published.store(Arc::new(self.runs.clone()));
        self.context.router.set_targets(self.targets());
        self.peer.announce(State::Ready, self.presented());
        self.keep();
    }

    /// Writes down what this host is to do after a restart.
    fn keep(&self) {
        self.writer.write(self.unmet.with(&self.runs, self.context.told.now()));
    }

    fn targets(&self) -> Targets {
        let actors = self.runs.actors.iter().map(|(id, entry)| (id.clone(), Target::Actor(Arc::clone(&entry.actor))));
        let providers = self.runs.providers.iter();
        let providers = providers.map(|(id, entry)| (id.clone(), entry.running.target()));
        actors.chain(providers).collect()
    }

    fn presented(&self) -> Vec<Presented> {
        let actors = self.runs.actors.iter();
        let actors = actors.map(|(id, entry)| Presented { id: id.clone(), exports: entry.actor.exports().to_vec() });
        actors.chain(self.runs.providers.values().map(|entry| entry.running.presented())).collect()
    }

    async fn shutdown(&mut self, drain: Duration) {
        self.peer.announce(State::Draining, self.presented());
        self.waiting.clear();
        let (sources, rest): (BTreeMap<_, _>, BTreeMap<_, _>) =
            std::mem::take(&mut self.runs.providers).into_iter().partition(|(_, entry)| entry.running.is_source());
        // One limit for all of it, or a host would take as many times as long as there are stages.
        let until = Instant::now() + drain;
        let left = || until.saturating_duration_since(Instant::now());
        stop_providers(&sources, left()).await;
        let actors_left = left();
        join_all(self.runs.actors.values().map(|entry| entry.actor.drain(actors_left))).await;
        stop_providers(&rest, left()).await;
        self.jobs.abort_all();
        self.context.router.set_targets(Targets::new());
        self.published.store(Arc::default());
        self.writer.finish().await;
    }
}

async fn stop_providers(providers: &BTreeMap<EntityId, Arc<ProviderEntry>>, drain: Duration) {
    join_all(providers.values().map(|entry| Arc::clone(&entry.running).stop(drain))).await;
}

/// The event that says that `order` failed.
fn failure(context: &Context, order: &Order, error: &str) -> (EventName, Value) {
    let host = &context.host;
    match order {
        Order::Scale(command) | Order::Resume(command, _) => {
            (EventName::ComponentScaleFailed, announce::scale_failed(host, command, error))
        }
        Order::StartProvider(command) => {
            let data = announce::provider_start_failed(host, &command.provider_id, &command.provider_ref, error);
            (EventName::ProviderStartFailed, data)
        }
        Order::StopProvider(id) => (EventName::ProviderStopped, announce::provider_stopped(host, id, None, error)),
    }
}
