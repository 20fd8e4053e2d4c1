//! Carrying out plans: commands are sent stage by stage within an application, across applications and hosts at once,
//! up to a bound; what comes of each is kept as an [`Attempt`] until it is seen or no longer wanted.
//!
//! [`command`] sends one, [`validity`] says until when it counts, [`flight`] is how far one is, [`ledger`] has all of
//! them, [`queue`] knows which goes next.

mod command;
mod flight;
mod ledger;
mod queue;
mod validity;

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use futures::{FutureExt as _, StreamExt as _};
use tokio::time::Instant;
use tracing::{debug, info};
use trellis_lattice::error::Result;
use trellis_lattice::message::fence::Terms;

use self::command::Means;
use self::flight::Flight;
use self::ledger::Ledger;
use self::queue::Queue;
use self::validity::HostClocks;
use crate::clock::Clock;
use crate::intent::AppName;
use crate::lease::Fence;
use crate::observe::{Attempt, Sight, Told};
use crate::plan::{Action, ActionKey, Plan};

pub(crate) use self::command::Tools;

/// How many commands are under way at once.
const AT_ONCE: usize = 256;

/// Deploys an earlier version: who keeps the intent does it.
#[async_trait]
pub trait RollBack: Send + Sync + 'static {
    /// Deploys version `to` of `app` instead of `generation`; does nothing if another generation is deployed by now,
    /// so that it may be asked for twice.
    async fn roll_back(&self, app: &AppName, generation: u64, to: &str, why: &str) -> Result<()>;
}

/// A command's acknowledgement.
pub(crate) struct Acknowledged {
    key: ActionKey,
    flight: u64,
    result: Result<()>,
}

/// Carries out plans.
pub(crate) struct Executor {
    means: Means,
    fence: Fence,
    ledger: Ledger,
    /// What the last plan asks for and was not sent yet, in its order.
    queue: Queue,
    clocks: HostClocks,
    commands: FuturesUnordered<BoxFuture<'static, Acknowledged>>,
}

impl Executor {
    /// Sends with `tools`, as long as `fence` holds. `seed` decides the jitter of pauses.
    pub(crate) fn new(tools: Tools, fence: Fence, clock: Clock, seed: u64) -> Self {
        Self {
            means: Means::new(tools),
            fence,
            ledger: Ledger::new(clock, seed),
            queue: Queue::default(),
            clocks: HostClocks::default(),
            commands: FuturesUnordered::new(),
        }
    }

    /// What came of commands so far.
    pub(crate) fn attempts(&self) -> BTreeMap<ActionKey, Attempt> {
        self.ledger.attempts()
    }

    /// Forgets everything: somebody else acts.
    pub(crate) fn stand_down(&mut self) {
        self.queue.clear();
        self.commands.clear();
        self.ledger.clear();
    }

    /// What a look at the lattice says about commands that are under way.
    pub(crate) fn look(&mut self, sight: &Sight) {
        self.ledger.look(sight);
        self.clocks = HostClocks::of(sight);
    }

    /// Takes on a plan that was made from the last look, in the place of the one before.
    pub(crate) fn take(&mut self, plan: &Plan) {
        self.ledger.compare(plan);
        let is_new = |action: &&Action| !self.ledger.is_under_way(action);
        self.queue.replace(plan.actions.iter().filter(is_new).cloned());
        self.send();
    }

    /// A host told what came of something; whether the plan should be made anew.
    pub(crate) fn told(&mut self, told: &Told) -> bool {
        let is_failure = self.ledger.told(told);
        self.send();
        is_failure
    }

    /// Waits for the next acknowledgement; for ever when none is under way. Cancel safe.
    pub(crate) async fn acknowledgement(&mut self) -> Acknowledged {
        match self.commands.next().await {
            Some(acknowledged) => acknowledged,
            None => std::future::pending().await,
        }
    }

    /// Takes in an acknowledgement; whether the plan should be made anew.
    pub(crate) fn acknowledged(&mut self, acknowledged: Acknowledged) -> bool {
        let Acknowledged { key, flight, result } = acknowledged;
        let is_news = self.ledger.acknowledged(&key, flight, result);
        self.send();
        is_news
    }

    /// When there is something to do again after `now`, if nothing happens until then.
    pub(crate) fn next_due(&self, now: Instant) -> Option<Instant> {
        self.ledger.next_due(now)
    }

    /// Sends what may be sent now.
    fn send(&mut self) {
        while self.commands.len() < AT_ONCE {
            let Some(token) = self.fence.token() else { return };
            let Some(action) = self.queue.next(|app| self.ledger.hold(app)) else { return };
            self.dispatch(action, token);
        }
    }

    fn dispatch(&mut self, action: Action, token: u64) {
        info!(app = %action.app, generation = action.generation, token, action = %action, "command sent");
        let (key, flight) = (action.key.clone(), self.ledger.sent(&action));
        let host = Flight::place(&action).map(|(host, _)| host);
        let not_after_ms = self.clocks.not_after_ms(host, Instant::now());
        let command = self.means.clone().carry_out(action, Terms { token: Some(token), not_after_ms });
        let send = async move {
            let result = command.await;
            if let Err(error) = &result {
                debug!(key = %key, %error, "command failed");
            }
            Acknowledged { key, flight, result }
        };
        self.commands.push(send.boxed());
    }
}

/// How long a host may take to tell what came of a command it took: artefacts may have to be pulled and compiled.
pub(crate) const OUTCOME: Duration = Duration::from_secs(120);
