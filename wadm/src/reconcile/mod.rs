//! The loop: woken without data, it looks at everything, plans, and carries out what the plan asks for. Running it once
//! more is always safe.

mod rollouts;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::{Instant, sleep_until};
use tracing::{debug, info};

pub(crate) use self::rollouts::Rollouts;

use crate::clock::Clock;
use crate::execute::Executor;
use crate::intent::Intent;
use crate::lease::{Fence, Overtaken};
use crate::observe::{Memory, Observed, Observer, Sign};
use crate::plan::Plan;
use crate::status::{Look, Writer};

/// Makes a plan of what is wanted and what is seen, at a time.
pub type Planner = Arc<dyn Fn(&Intent, &Observed, Duration) -> Plan + Send + Sync>;

/// How many hosts make planning so long that it has a thread of its own.
const MANY_HOSTS: usize = 500;

/// How soon whoever takes over asks the store again what the one before wrote down.
const RECALL: Duration = Duration::from_millis(500);

/// The longest pause between two plans: nothing is missed for longer, whatever wakes are lost.
const LONGEST: Duration = Duration::from_secs(10);

/// What is wanted, as it is now, and when it changes.
#[derive(Debug, Clone)]
pub struct Wishes(tokio::sync::watch::Receiver<Arc<Intent>>);

impl Wishes {
    /// Reads them from a channel.
    pub fn new(intent: tokio::sync::watch::Receiver<Arc<Intent>>) -> Self {
        Self(intent)
    }

    fn now(&mut self) -> Arc<Intent> {
        Arc::clone(&self.0.borrow_and_update())
    }

    async fn changed(&mut self) {
        if self.0.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

/// What the loop works with.
pub(crate) struct Reconciler {
    pub(crate) wishes: Wishes,
    pub(crate) observer: Observer,
    pub(crate) planner: Planner,
    pub(crate) executor: Executor,
    pub(crate) fence: Fence,
    pub(crate) overtaken: Overtaken,
    pub(crate) board: Writer,
    pub(crate) clock: Clock,
    pub(crate) rollouts: Rollouts,
    pub(crate) memory: Memory,
}

/// What woke the loop.
enum Wake {
    /// Something may be different: plan.
    Plan,
    /// It was dealt with.
    Nothing,
    /// It is over.
    Stop,
}

impl Reconciler {
    /// Runs until `stop` is sent or dropped. Dropping it in the middle is safe: commands that were sent are carried
    /// out or not, and whoever looks next sees which.
    pub(crate) async fn run(mut self, mut stop: oneshot::Receiver<()>) {
        let mut acting = None;
        let mut is_due = true;
        let mut not_before = Instant::now();
        let mut latest = Instant::now();
        loop {
            let now = Instant::now();
            if is_due && now >= not_before {
                let began = Instant::now();
                acting = self.turn(acting, &mut latest).await;
                // A plan of a large lattice takes its time, and what happens meanwhile is many small things.
                not_before = Instant::now() + began.elapsed();
                is_due = false;
                continue;
            }
            let until = if is_due { not_before } else { latest };
            match self.wait(&mut stop, until, acting).await {
                Wake::Plan => is_due = true,
                Wake::Nothing => {}
                Wake::Stop => return,
            }
        }
    }

    async fn wait(&mut self, stop: &mut oneshot::Receiver<()>, until: Instant, acting: Option<u64>) -> Wake {
        tokio::select! {
            biased;
            _ = stop => Wake::Stop,
            () = self.fence.changed() => if self.fence.token() == acting { Wake::Nothing } else { Wake::Plan },
            () = self.wishes.changed() => Wake::Plan,
            acknowledged = self.executor.acknowledgement() => {
                if self.executor.acknowledged(acknowledged) { Wake::Plan } else { Wake::Nothing }
            }
            sign = self.observer.next() => match sign {
                Sign::Told(told) if !self.executor.told(&told) => Wake::Nothing,
                Sign::Told(_) | Sign::Changed => Wake::Plan,
            },
            () = sleep_until(until) => Wake::Plan,
        }
    }

    /// Looks, plans, and sends what may be sent. Gives the token that this wadm acts with, and sets when to look again.
    async fn turn(&mut self, before: Option<u64>, latest: &mut Instant) -> Option<u64> {
        let acting = self.fence.token();
        if acting != before {
            info!(token = acting, "acting changed");
            self.executor.stand_down();
            self.rollouts.read().await;
            if let Some(token) = acting {
                let Some(hosts) = self.memory.recall().await else {
                    *latest = Instant::now() + RECALL;
                    return None;
                };
                let over = self.executor.take_over(&hosts, token);
                self.observer.take_over(hosts, over).await;
            }
        }
        let Some(sight) = self.observer.sight().await else { return acting };
        if acting.is_some_and(|token| token < sight.fence()) {
            self.overtaken.by(sight.fence());
        }
        self.executor.look(&sight);
        let intent = self.wishes.now();
        self.rollouts.follow(&intent, self.clock.at(sight.at));
        let mut observed = sight.observed(self.clock, self.rollouts.known(), self.executor.attempts());
        self.executor.complete(&mut observed, &sight);
        let planned = plan(Arc::clone(&self.planner), intent, Arc::new(observed), self.clock.at(sight.at)).await;
        let Some((plan, observed)) = planned else { return acting };
        debug!(actions = plan.actions.len(), waits = plan.waits.len(), "planned");
        if acting.is_some() && self.fence.token() == acting {
            self.executor.take(&plan);
            self.rollouts.learn(&plan).await;
            self.memory.learn(&sight, |host| self.executor.completed(host));
        }
        *latest = self.next_look(&plan, sight.at);
        self.board.post(plan, acting, Look { observed, now: self.clock.at(sight.at) });
        acting
    }

    /// When to look again although nothing happened since the look at `seen`.
    fn next_look(&self, plan: &Plan, seen: Instant) -> Instant {
        let planned = plan.next_wake.map(|wake| self.clock.instant(wake)).filter(|wake| *wake > seen);
        let wakes = [planned, self.executor.next_due(seen)].into_iter().flatten();
        let now = Instant::now();
        wakes.map(|wake| wake.max(now + TICK)).min().unwrap_or(now + LONGEST).min(now + LONGEST)
    }
}

/// Plans; on a thread of its own if that takes long. `None` when the planner panicked.
async fn plan(
    planner: Planner,
    intent: Arc<Intent>,
    observed: Arc<Observed>,
    now: Duration,
) -> Option<(Plan, Arc<Observed>)> {
    if observed.hosts.len() < MANY_HOSTS {
        return Some((planner(&intent, &observed, now), observed));
    }
    let work = move || (planner(&intent, &observed, now), observed);
    let planned = tokio::task::spawn_blocking(work).await;
    planned.inspect_err(|error| tracing::error!(%error, "planning broke off")).ok()
}

/// The shortest pause before a wake that is due already: time moves on between two plans.
const TICK: Duration = Duration::from_millis(1);
