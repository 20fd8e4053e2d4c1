//! Providers on this host: how one is made, and the task that brings it its links and watches its health.

mod start;

mod builtin;
mod process;
mod program;
mod reference;

mod delivery;
mod health;
mod standing;
mod supervisor;

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use trellis_lattice::id::EntityId;
use trellis_lattice::message::inventory::ProviderLink;
use trellis_lattice::message::presence::Running as Presented;
use trellis_provider_sdk as sdk;

use crate::resilience::Defaults;
use crate::router::Target;

pub(crate) use program::Programs;
pub(crate) use reference::Reference;
pub(crate) use start::{Spec, Start, make_private_dir, replace, start};

/// A provider that runs. Dropping it ends its task; [`Running::stop`] drains it first.
pub(crate) struct Running {
    id: EntityId,
    description: ArcSwap<sdk::Description>,
    provider: Arc<dyn sdk::Provider>,
    /// Of one that runs as a process.
    keeper: Option<process::Keeper>,
    drain: tokio::sync::watch::Sender<Duration>,
    stop: CancellationToken,
    ended: CancellationToken,
    standing: standing::Reader,
    defaults: Arc<Defaults>,
    task: AbortOnDropHandle<()>,
}

impl Running {
    /// What it is.
    pub(crate) fn description(&self) -> Arc<sdk::Description> {
        self.description.load_full()
    }

    /// To call it.
    pub(crate) fn target(&self) -> Target {
        Target::Provider(Arc::clone(&self.provider), Arc::clone(&self.defaults))
    }

    /// How calls to it behave that nothing is said of.
    pub(crate) fn defaults(&self) -> &Defaults {
        &self.defaults
    }

    /// What presence says of it.
    pub(crate) fn presented(&self) -> Presented {
        let description = self.description();
        let exports = description.serves.iter().map(|interface| (interface.clone(), None)).collect();
        Presented { id: self.id.clone(), exports }
    }

    /// Whether it can read the config of `link`.
    ///
    /// # Errors
    /// `Config` naming the key, the expected form and an example.
    pub(crate) async fn check(&self, link: &sdk::ActiveLink) -> Result<(), sdk::LinkError> {
        supervisor::guarded(self.provider.check(link)).await
    }

    /// How each of its links stands.
    pub(crate) fn links(&self) -> Vec<ProviderLink> {
        self.standing.now()
    }

    /// Why it is ill, as it was when its health was asked for last.
    pub(crate) fn unhealthy(&self) -> Option<String> {
        self.standing.unhealthy()
    }

    /// Whether it calls actors, as an HTTP server does: it is stopped before them, others after.
    pub(crate) fn is_source(&self) -> bool {
        !self.description.load().calls.is_empty()
    }

    /// Drains it for at most `limit`, takes its links down, and ends its task.
    pub(crate) async fn stop(self: Arc<Self>, limit: Duration) {
        self.drain.send_replace(limit);
        self.stop.cancel();
        let patience = limit + supervisor::LINK_TIMEOUT * 2;
        if tokio::time::timeout(patience, self.ended.cancelled()).await.is_err() {
            tracing::warn!(provider_id = %self.id, "provider did not stop in time and was ended");
            self.task.abort();
        }
        if let Some(keeper) = &self.keeper {
            keeper.stop().await;
        }
    }
}
