//! The task of one provider: brings it its links one at a time, asks for its health, and ends it politely.

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;
use serde_json::json;
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use trellis_lattice::id::{ConfigName, EntityId, HostId};
use trellis_lattice::message::event::EventName;
use trellis_provider_sdk::{ActiveLink, Backing, Health, LinkError, Provider, Role};

use super::delivery::{Action, Delivery, Outcome, Wanted, wanted};
use super::health;
use super::standing::Board;
use crate::announce::{self, Announcer};
use crate::resilience::Defaults;
use crate::secrets::{Vault, references};

/// The longest that a provider may take to bring a link up or down.
pub(super) const LINK_TIMEOUT: Duration = Duration::from_secs(10);
/// How often its health is asked for.
const HEALTH_EVERY: Duration = Duration::from_secs(5);
/// The longest that the answer may take.
const HEALTH_TIMEOUT: Duration = Duration::from_secs(2);
/// How often a health that did not change is told.
const STATUS_EVERY: Duration = Duration::from_secs(30);

/// What the task works with.
pub(super) struct Supervisor {
    pub(super) id: EntityId,
    pub(super) host: HostId,
    pub(super) provider: Arc<dyn Provider>,
    pub(super) vault: Arc<Vault>,
    pub(super) config_names: Vec<ConfigName>,
    pub(super) announcer: Announcer,
    pub(super) board: Board,
    pub(super) defaults: Arc<Defaults>,
    pub(super) drain_limit: watch::Receiver<Duration>,
    /// Changes when the provider has lost links that it had.
    pub(super) relink: watch::Receiver<u64>,
    pub(super) stop: CancellationToken,
}

/// What a panic of a provider becomes.
pub(super) async fn guarded<T>(work: impl Future<Output = Result<T, LinkError>>) -> Result<T, LinkError> {
    let panicked = |_| Err(LinkError::Unavailable("the provider panicked".to_owned()));
    AssertUnwindSafe(work).catch_unwind().await.unwrap_or_else(panicked)
}

impl Supervisor {
    /// Runs until it is told to stop; then drains the provider and takes its links down.
    pub(super) async fn run(self) {
        let mut delivery = Delivery::default();
        let mut changes = self.vault.view().changes();
        let mut relink = self.relink.clone();
        let mut ticks = tokio::time::interval_at(Instant::now() + HEALTH_EVERY, HEALTH_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut state = health::State::default();
        let mut told_at = Instant::now();
        self.deliver(&mut delivery).await;
        loop {
            let retry_at = delivery.next_retry();
            tokio::select! {
                () = self.stop.cancelled() => break,
                () = changes.next() => self.deliver(&mut delivery).await,
                Ok(()) = relink.changed() => {
                    delivery.lost(Instant::now());
                    self.deliver(&mut delivery).await;
                }
                () = sleep_until(retry_at.unwrap_or_else(Instant::now)), if retry_at.is_some() => {
                    self.deliver(&mut delivery).await;
                }
                _ = ticks.tick() => state = self.check_health(state, &mut told_at).await,
            }
        }
        self.end(&delivery).await;
    }

    /// Makes what the provider has the same as what the records say, as far as it lets itself.
    async fn deliver(&self, delivery: &mut Delivery) {
        let (view, configs) = (self.vault.view(), self.vault.view().configs());
        let secrets = |names: &[ConfigName]| {
            let references = references(&configs, self.config_names.iter().chain(names))?;
            self.vault.resolve(&references, &self.id)
        };
        let wanted = wanted(&self.id, &view.links(), &configs, &secrets);
        delivery.forget(&wanted);
        let mut is_news = self.board.show_all(&wanted, delivery);
        for action in delivery.plan(&wanted, Instant::now()) {
            if self.stop.is_cancelled() {
                return;
            }
            match action {
                Action::Up(key, wanted) => {
                    let outcome = self.link_up(&wanted).await;
                    delivery.tried(key.clone(), wanted.clone(), outcome, Instant::now());
                    is_news |= self.board.show(key.clone(), delivery.standing(&key, &wanted));
                }
                Action::Down(key, active) => {
                    self.link_down(&active).await;
                    delivery.removed(&key);
                }
            }
        }
        if is_news {
            let data = json!({"host_id": self.host.as_str(), "provider_id": self.id.as_str()});
            self.announcer.emit(EventName::ProviderLinksChanged, data);
        }
    }

    async fn link_up(&self, wanted: &Wanted) -> Outcome {
        let error = match &wanted.ready {
            Err(missing) => missing.clone(),
            Ok(active) => match timeout(LINK_TIMEOUT, guarded(self.provider.link_up(active))).await {
                Ok(Ok(())) => {
                    self.put_default(active).await;
                    tracing::info!(
                        provider_id = %self.id, link_name = %active.link.name, actor_id = %other_end(&self.id, wanted),
                        "link established"
                    );
                    return Outcome::Established;
                }
                Ok(Err(error)) => error.to_string(),
                Err(_) => format!("provider {} did not take the link within {} s", self.id, LINK_TIMEOUT.as_secs()),
            },
        };
        tracing::warn!(
            provider_id = %self.id, link_name = %wanted.link.name, actor_id = %other_end(&self.id, wanted), error,
            "link failed"
        );
        self.announcer.emit(EventName::LinkdefSetFailed, announce::link_set(&wanted.link, Some(&error)));
        Outcome::Failed(error)
    }

    /// Lets calls over a link that was established behave as is usual for what is behind it.
    async fn put_default(&self, active: &ActiveLink) {
        if active.role == Role::Target {
            let backing = guarded(async { Ok(self.provider.backing(active)) }).await;
            self.defaults.put(&active.link, backing.unwrap_or(Backing::Machine));
        }
    }

    async fn link_down(&self, active: &ActiveLink) {
        self.defaults.remove(&active.link);
        let down = guarded(async {
            self.provider.link_down(active).await;
            Ok(())
        });
        match timeout(LINK_TIMEOUT, down).await {
            Ok(Ok(())) => tracing::info!(provider_id = %self.id, link_name = %active.link.name, "link taken down"),
            Ok(Err(error)) => tracing::warn!(provider_id = %self.id, error = %error, "link not taken down"),
            Err(_) => tracing::warn!(provider_id = %self.id, "link not taken down in time"),
        }
    }

    async fn check_health(&self, state: health::State, told_at: &mut Instant) -> health::State {
        let asked = guarded(async { Ok(self.provider.health().await) });
        let check = match timeout(HEALTH_TIMEOUT, asked).await {
            Ok(Ok(check)) => check,
            Ok(Err(error)) => Health::Unhealthy(error.to_string()),
            Err(_) => Health::Unhealthy(format!("no answer within {} s", HEALTH_TIMEOUT.as_secs())),
        };
        self.board.show_health(&check);
        let (next, event) = health::step(state, &check);
        if let (true, Health::Unhealthy(reason)) = (next != state, &check) {
            tracing::warn!(provider_id = %self.id, error = reason, "provider is unhealthy");
        }
        if next != state || told_at.elapsed() >= STATUS_EVERY {
            *told_at = Instant::now();
            self.announcer.emit(event, json!({"host_id": self.host.as_str(), "provider_id": self.id.as_str()}));
        }
        next
    }

    async fn end(&self, delivery: &Delivery) {
        let limit = *self.drain_limit.borrow();
        let drain = guarded(async {
            self.provider.drain(limit).await;
            Ok(())
        });
        // The provider keeps to the limit by itself; the margin is for one that does not.
        if timeout(limit + Duration::from_secs(1), drain).await.is_err() {
            tracing::warn!(provider_id = %self.id, "provider did not drain in time");
        }
        for active in delivery.up() {
            self.link_down(active).await;
        }
    }
}

fn other_end<'a>(provider: &EntityId, wanted: &'a Wanted) -> &'a EntityId {
    if wanted.link.source_id == *provider { &wanted.link.target } else { &wanted.link.source_id }
}
