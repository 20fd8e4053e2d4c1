//! The task that owns a process: starts it, brings it the links it had, starts it again when it ends, and replaces it.

use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::time::Duration;

use arc_swap::{ArcSwap, ArcSwapOption};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::task::AbortOnDropHandle;
use trellis_lattice::id::EntityId;
use trellis_provider_sdk::{ActiveLink, Backing, Caller, Description, Provider, SecretMap, StringMap};

use super::connection::Connection;
use super::gate::Gate;
use super::handover;
use super::launch::Program;
use super::proxy::Proxy;
use super::running::{Running, gone, link_down, link_up, retire, run};
use super::state::{Input, State, step};
use crate::config::Native;
use crate::error::{Error, ErrorKind, Result};

/// Requests that wait.
const REQUESTS: usize = 64;
/// The longest that it may take to end a process politely.
const STOP_TIMEOUT: Duration = Duration::from_secs(5);

/// What is to be run, for whom.
#[derive(Clone)]
pub(crate) struct Plan {
    /// The provider.
    pub(crate) id: EntityId,
    /// The host.
    pub(crate) host: String,
    /// The lattice.
    pub(crate) lattice: String,
    /// What it runs.
    pub(crate) program: Program,
    /// Its configs merged.
    pub(crate) config: StringMap,
    /// Its own secrets.
    pub(crate) secrets: SecretMap,
    /// Where it keeps its state.
    pub(crate) data_dir: std::path::PathBuf,
    /// Its limits.
    pub(crate) native: Arc<Native>,
    /// What its calls go to.
    pub(crate) caller: Arc<dyn Caller>,
}

/// What is asked of the task.
pub(super) enum Request {
    /// Give the process a link; what is behind it, or why it did not take it.
    LinkUp(Box<ActiveLink>, oneshot::Sender<Result<Backing, String>>),
    /// Take one from it.
    LinkDown(Box<ActiveLink>, oneshot::Sender<()>),
    /// The process that this connection is to does not answer any more.
    Hung(Arc<Connection>),
    /// Run something else in its place, which takes over the links.
    Replace(Box<Plan>, Duration, oneshot::Sender<Result<Description, String>>),
    /// End it.
    Stop(oneshot::Sender<()>),
}

/// To have a process ended or replaced. Dropped, it is killed.
pub(crate) struct Keeper {
    requests: mpsc::Sender<Request>,
    /// Changes when the process ends, and when another one has taken its place: links stand differently then.
    pub(crate) relink: watch::Receiver<u64>,
    task: AbortOnDropHandle<()>,
}

impl Keeper {
    /// Starts a process, and gives the provider that it is.
    ///
    /// # Errors
    /// `Unavailable` when it cannot be started, or is not ready in time.
    pub(crate) async fn start(plan: Plan) -> Result<(Self, Arc<dyn Provider>)> {
        let (running, description) = run(&plan).await.map_err(|why| {
            Error::new(ErrorKind::Unavailable, format!("provider {} ({}): {why}", plan.id, plan.program.file.display()))
        })?;
        let (requests, asked) = mpsc::channel(REQUESTS);
        let (relink, relinked) = watch::channel(0);
        let (status, shown) = watch::channel("its process is starting".to_owned());
        let current = Arc::new(ArcSwapOption::from(Some(Arc::clone(&running.connection))));
        let gate = Arc::<Gate>::default();
        let proxy = Proxy {
            id: plan.id.clone(),
            description,
            current: Arc::clone(&current),
            gate: Arc::clone(&gate),
            status: shown,
            requests: requests.clone(),
            silence: AtomicU32::new(0),
            backings: ArcSwap::default(),
        };
        let ready = Input::Ready(Instant::now());
        let state = step(State::Starting { failures: 0 }, ready, &plan.native.restarts);
        let owner = Owner {
            plan,
            running: Some(running),
            links: Vec::new(),
            state,
            current,
            gate,
            status,
            relink,
            retired: JoinSet::new(),
        };
        let task = AbortOnDropHandle::new(tokio::spawn(owner.run(asked)));
        Ok((Self { requests, relink: relinked, task }, Arc::new(proxy)))
    }

    /// Runs `plan` in the place of what runs now: first it is ready and has all links, then calls go to it, then what
    /// ran before drains for at most `drain`. Calls over links that only one process can have wait while they are
    /// handed over.
    ///
    /// # Errors
    /// Why the new one cannot take over; the old one goes on then, with the links that it had.
    pub(crate) async fn replace(&self, plan: Plan, drain: Duration) -> Result<Description> {
        let id = plan.id.clone();
        let (answer, answered) = oneshot::channel();
        let asked = self.requests.send(Request::Replace(Box::new(plan), drain, answer)).await;
        let outcome = match asked {
            Ok(()) => answered.await.unwrap_or_else(|_| Err("it is being stopped".to_owned())),
            Err(_) => Err("it is being stopped".to_owned()),
        };
        outcome.map_err(|why| Error::new(ErrorKind::Unavailable, format!("provider {id} was not replaced: {why}")))
    }

    /// Ends the process: politely, then not.
    pub(crate) async fn stop(&self) {
        let (answer, answered) = oneshot::channel();
        let stop = async {
            if self.requests.send(Request::Stop(answer)).await.is_ok() {
                // An error means that the task has ended, and the process with it.
                let _ = answered.await;
            }
        };
        if timeout(STOP_TIMEOUT, stop).await.is_err() {
            self.task.abort();
        }
    }
}

fn is_same(one: &ActiveLink, other: &ActiveLink) -> bool {
    let key = |active: &ActiveLink| {
        let link = &active.link;
        let package = (link.wit_namespace.clone(), link.wit_package.clone());
        (link.source_id.clone(), link.target.clone(), link.name.clone(), package, active.role)
    };
    key(one) == key(other)
}

struct Owner {
    plan: Plan,
    running: Option<Running>,
    /// What the process has, to be given to the next one.
    links: Vec<ActiveLink>,
    state: State,
    current: Arc<ArcSwapOption<Connection>>,
    gate: Arc<Gate>,
    status: watch::Sender<String>,
    relink: watch::Sender<u64>,
    /// Processes that were replaced and finish what they have.
    retired: JoinSet<()>,
}

/// What the task woke up for.
enum Event {
    Asked(Option<Request>),
    Ended(String),
    Due,
}

impl Owner {
    async fn run(mut self, mut requests: mpsc::Receiver<Request>) {
        loop {
            match self.next(&mut requests).await {
                Event::Asked(None) => return,
                Event::Asked(Some(Request::Stop(answer))) => {
                    self.current.store(None);
                    if let Some(running) = self.running.take() {
                        running.end().await;
                    }
                    while self.retired.join_next().await.is_some() {}
                    // Whoever asked may have left.
                    let _ = answer.send(());
                    return;
                }
                Event::Asked(Some(request)) => self.answer(request).await,
                Event::Ended(reason) => self.ended(&reason),
                Event::Due => self.restart().await,
            }
        }
    }

    async fn next(&mut self, requests: &mut mpsc::Receiver<Request>) -> Event {
        let due = match self.state {
            State::BackingOff { until, .. } => Some(until),
            _ => None,
        };
        loop {
            tokio::select! {
                request = requests.recv() => return Event::Asked(request),
                reason = gone(self.running.as_mut()) => return Event::Ended(reason),
                () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => return Event::Due,
                Some(_) = self.retired.join_next() => {}
            }
        }
    }

    async fn answer(&mut self, request: Request) {
        // Whoever asked may have left by the time of an answer.
        match request {
            Request::LinkUp(link, answer) => {
                let outcome = match &self.running {
                    Some(running) => link_up(&running.connection, &link).await,
                    None => Err(self.status.borrow().clone().into()),
                };
                let outcome = outcome.map_err(|refusal| refusal.reason);
                if outcome.is_ok() {
                    self.links.retain(|known| !is_same(known, &link));
                    self.links.push(*link);
                }
                let _ = answer.send(outcome);
            }
            Request::LinkDown(link, answer) => {
                self.links.retain(|known| !is_same(known, &link));
                if let Some(running) = &self.running {
                    link_down(&running.connection, *link).await;
                }
                let _ = answer.send(());
            }
            Request::Hung(silent) => {
                if self.running.as_ref().is_some_and(|running| Arc::ptr_eq(&running.connection, &silent)) {
                    self.ended("it did not answer when it was asked for its health, and was killed");
                }
            }
            Request::Replace(plan, drain, answer) => {
                let _ = answer.send(self.replace(*plan, drain).await);
            }
            // Taken before.
            Request::Stop(_) => {}
        }
    }

    /// The process is gone, or is to be.
    fn ended(&mut self, reason: &str) {
        self.current.store(None);
        if let Some(mut running) = self.running.take() {
            running.process.kill();
        }
        self.step(Input::Ended(Instant::now(), rand::random()));
        self.say(reason);
        self.relink.send_modify(|times| *times += 1);
    }

    fn step(&mut self, input: Input) {
        self.state = step(self.state, input, &self.plan.native.restarts);
    }

    fn say(&self, reason: &str) {
        let id = &self.plan.id;
        let status = match self.state {
            State::GivenUp => {
                tracing::error!(provider_id = %id, error = reason, "provider's process was given up");
                let times = self.plan.native.restarts.max_failures;
                format!(
                    "its process ended {times} times in a row and was given up; at last: {reason}; stop the \
                     provider and start it again when that is mended"
                )
            }
            State::BackingOff { until, .. } => {
                let wait = until.saturating_duration_since(Instant::now());
                tracing::warn!(provider_id = %id, error = reason, wait_ms = wait.as_millis(), "provider's process ended");
                format!("its process ended and is started again in {} s: {reason}", wait.as_secs() + 1)
            }
            State::Starting { .. } | State::Running { .. } => return,
        };
        self.status.send_replace(status);
    }

    async fn restart(&mut self) {
        self.step(Input::Due);
        match run(&self.plan).await {
            Ok((running, _)) => {
                self.give_links(&running.connection).await;
                self.current.store(Some(Arc::clone(&running.connection)));
                self.running = Some(running);
                self.step(Input::Ready(Instant::now()));
                self.relink.send_modify(|times| *times += 1);
                tracing::info!(
                    provider_id = %self.plan.id, links = self.links.len(), "provider's process was started again"
                );
            }
            Err(reason) => self.ended(&reason),
        }
    }

    /// Brings a new process the links of the one before, so that they are there before calls are. Whoever watches over
    /// links looks at each of them afterwards.
    async fn give_links(&self, connection: &Connection) {
        for link in &self.links {
            if let Err(refusal) = link_up(connection, link).await {
                let (name, error) = (&link.link.name, refusal.reason);
                tracing::warn!(provider_id = %self.plan.id, link_name = %name, error, "link was not taken again");
            }
        }
    }

    async fn replace(&mut self, plan: Plan, drain: Duration) -> Result<Description, String> {
        let (running, description) = run(&plan).await?;
        let held = match handover::beside(&self.links, &running.connection).await {
            Ok(held) => held,
            Err(reason) => {
                running.end().await;
                return Err(reason);
            }
        };
        let hold = self.gate.hold(&held);
        let old = self.running.as_ref().map(|old| &*old.connection);
        if let Err(reason) = handover::in_order((&hold, &held), old, &running.connection, drain).await {
            // First it has to be gone: what it took is free then.
            running.end().await;
            self.take_back(&held).await;
            return Err(reason);
        }
        self.current.store(Some(Arc::clone(&running.connection)));
        drop(hold);
        tracing::info!(provider_id = %plan.id, links = self.links.len(), in_order = held.len(), "provider was replaced");
        self.plan = plan;
        self.state = State::Starting { failures: 0 };
        self.step(Input::Ready(Instant::now()));
        if let Some(old) = self.running.replace(running) {
            self.retired.spawn(retire(old, drain));
        }
        Ok(description)
    }

    /// Gives the process that goes on the links back that were taken from it. Whoever watches over links tries again
    /// what it does not take.
    async fn take_back(&mut self, held: &[ActiveLink]) {
        let Some(running) = &self.running else { return };
        for link in held {
            if let Err(refusal) = handover::take(&running.connection, link).await {
                let (name, error) = (&link.link.name, refusal.reason);
                tracing::warn!(provider_id = %self.plan.id, link_name = %name, error, "link was not taken back");
                self.links.retain(|known| !is_same(known, link));
                self.relink.send_modify(|times| *times += 1);
            }
        }
    }
}
