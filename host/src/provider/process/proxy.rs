//! A process as the rest of the host sees it: a provider.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use arc_swap::{ArcSwap, ArcSwapOption};
use async_trait::async_trait;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::timeout;
use trellis_lattice::error::CallError;
use trellis_lattice::id::{EntityId, LinkName};
use trellis_lattice::message::invocation::{Answer, Invocation};
use trellis_provider_sdk::process::Order;
use trellis_provider_sdk::{ActiveLink, Args, Backing, Description, Health, LinkError, Provider};

use super::connection::Connection;
use super::gate::Gate;
use super::keeper::Request;

/// The longest that a process may take to say how it is; less than the host waits for any provider.
const HEALTH_TIMEOUT: Duration = Duration::from_millis(1_500);
/// The longest that a process may take to say whether it can read a config; less than whoever puts a link is patient.
const CHECK_TIMEOUT: Duration = Duration::from_millis(500);
/// So many times without an answer, and it is taken for hung.
const MAX_SILENCE: u32 = 2;

/// Passes on what concerns links to the keeper of the process, and calls to the process itself.
pub(super) struct Proxy {
    pub(super) id: EntityId,
    pub(super) description: Description,
    /// The process that answers now, if one does. The keeper writes.
    pub(super) current: Arc<ArcSwapOption<Connection>>,
    /// Which links are being handed over. The keeper holds.
    pub(super) gate: Arc<Gate>,
    /// Why none does. The keeper writes.
    pub(super) status: watch::Receiver<String>,
    pub(super) requests: mpsc::Sender<Request>,
    pub(super) silence: AtomicU32,
    /// What the process said is behind each link that it took.
    pub(super) backings: ArcSwap<Backings>,
}

/// By source and name of the link, and its package.
pub(super) type Backings = HashMap<(EntityId, LinkName, String), Backing>;

fn key(link: &ActiveLink) -> (EntityId, LinkName, String) {
    let link = &link.link;
    (link.source_id.clone(), link.name.clone(), format!("{}:{}", link.wit_namespace, link.wit_package))
}

impl Proxy {
    fn connection(&self) -> Result<Arc<Connection>, String> {
        self.current.load_full().ok_or_else(|| format!("provider {}: {}", self.id, *self.status.borrow()))
    }

    async fn request<T>(&self, request: impl FnOnce(oneshot::Sender<T>) -> Request) -> Result<T, LinkError> {
        let gone = || LinkError::Unavailable(format!("provider {} is being stopped", self.id));
        let (answer, answered) = oneshot::channel();
        self.requests.send(request(answer)).await.map_err(|_| gone())?;
        answered.await.map_err(|_| gone())
    }

    fn remember(&self, key: (EntityId, LinkName, String), backing: Option<Backing>) {
        self.backings.rcu(|backings| {
            let mut backings = Backings::clone(backings);
            match backing {
                Some(backing) => backings.insert(key.clone(), backing),
                None => backings.remove(&key),
            };
            backings
        });
    }

    async fn ask_health(&self, connection: Arc<Connection>) -> Health {
        let asked = timeout(HEALTH_TIMEOUT, connection.ask(|id| Order::Health { id })).await;
        let Ok(answer) = asked else {
            let silence = self.silence.fetch_add(1, Ordering::Relaxed) + 1;
            if silence >= MAX_SILENCE {
                self.silence.store(0, Ordering::Relaxed);
                // A queue that is full has others who will find out that the process is gone.
                let _ = self.requests.try_send(Request::Hung(connection));
            }
            return Health::Unhealthy(format!("no answer within {} ms", HEALTH_TIMEOUT.as_millis()));
        };
        self.silence.store(0, Ordering::Relaxed);
        match answer {
            Ok(None) => Health::Healthy,
            Ok(Some(refusal)) => Health::Unhealthy(refusal.reason),
            Err(error) => Health::Unhealthy(error.message),
        }
    }
}

#[async_trait]
impl Provider for Proxy {
    fn description(&self) -> Description {
        self.description.clone()
    }

    async fn check(&self, link: &ActiveLink) -> Result<(), LinkError> {
        // One that says nothing now, or is of an older SDK, says nothing of the link.
        let Some(connection) = self.connection().ok().filter(|connection| connection.checks) else { return Ok(()) };
        let asked = connection.ask(|id| Order::Check { id, link: link.clone() });
        match timeout(CHECK_TIMEOUT, asked).await {
            Ok(Ok(Some(refusal))) => Err(LinkError::Unavailable(refusal.reason)),
            _ => Ok(()),
        }
    }

    async fn link_up(&self, link: &ActiveLink) -> Result<(), LinkError> {
        let link = Box::new(link.clone());
        let key = key(&link);
        let taken = self.request(|answer| Request::LinkUp(link, answer)).await?;
        let backing = taken.map_err(LinkError::Unavailable)?;
        self.remember(key, Some(backing));
        Ok(())
    }

    async fn link_down(&self, link: &ActiveLink) {
        let link = Box::new(link.clone());
        self.remember(key(&link), None);
        // An error means that the process ends, and the link with it.
        let _ = self.request(|answer| Request::LinkDown(link, answer)).await;
    }

    fn backing(&self, link: &ActiveLink) -> Backing {
        self.backings.load().get(&key(link)).copied().unwrap_or(Backing::Machine)
    }

    async fn call(&self, invocation: Invocation<Args>) -> Result<Answer<Args>, CallError> {
        let head = &invocation.head;
        let pass = self.gate.pass((head.source.clone(), head.link.clone()), head.context.deadline).await?;
        let answer = self.connection().map_err(CallError::no_target)?.call(invocation).await?;
        Ok(Answer { value: answer.value, body: pass.until_read(answer.body) })
    }

    async fn health(&self) -> Health {
        match self.connection() {
            Ok(connection) => self.ask_health(connection).await,
            Err(reason) => Health::Unhealthy(reason),
        }
    }

    async fn drain(&self, limit: Duration) {
        if let Ok(connection) = self.connection() {
            let limit_ms = u64::try_from(limit.as_millis()).unwrap_or(u64::MAX);
            let drained = timeout(limit, connection.ask(|id| Order::Drain { id, limit_ms })).await;
            if !matches!(drained, Ok(Ok(_))) {
                tracing::warn!(provider_id = %self.id, "provider's process did not drain in time");
            }
        }
    }
}
