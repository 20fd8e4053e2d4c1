//! Carrying out plans: commands are sent stage by stage within an application, across applications and hosts at once,
//! up to a bound; what comes of each is kept as an [`Attempt`] until it is seen or no longer wanted.
//!
//! [`command`] sends one, [`validity`] says until when it counts, [`flight`] is how far one is, [`ledger`] has all of
//! them, [`queue`] knows which goes next, [`begun`] has what may have started on hosts that fell silent, [`inherited`] what
//! whoever acted before may have started, [`leaving`] what may have stopped.

mod begun;
mod command;
mod flight;
mod inherited;
mod leaving;
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
use trellis_lattice::error::{Error, ErrorKind, Result};
use trellis_lattice::id::HostId;
use trellis_lattice::message::fence::Terms;
use trellis_lattice::message::inventory::HostInventory;

use self::begun::Begun;
use self::command::{Confirmed, Foretold, Means, Order};
use self::flight::Flight;
use self::leaving::Leaving;
use self::ledger::Ledger;
use self::queue::Queue;
use self::validity::{HostClocks, OVER};
use crate::clock::Clock;
use crate::intent::AppName;
use crate::lease::Fence;
use crate::observe::{Attempt, LatePuts, Observed, Sight, Told};
use crate::plan::{Action, ActionKey, Deed, Plan};

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
    /// The application, when it is a put: one that nobody answers may yet be carried out.
    put_for: Option<AppName>,
    sent: Instant,
}

/// A command that is about to be sent.
struct Departure {
    action: Action,
    flight: u64,
    order: Result<Order>,
    sent: Instant,
}

/// Carries out plans.
pub(crate) struct Executor {
    means: Means,
    fence: Fence,
    ledger: Ledger,
    /// What the last plan asks for and was not sent yet, in its order.
    queue: Queue,
    clocks: HostClocks,
    begun: Begun,
    leaving: Leaving,
    late_puts: LatePuts,
    clock: Clock,
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
            begun: Begun::default(),
            leaving: Leaving::default(),
            late_puts: LatePuts::default(),
            clock,
            commands: FuturesUnordered::new(),
        }
    }

    /// What came of commands so far.
    pub(crate) fn attempts(&self) -> BTreeMap<ActionKey, Attempt> {
        self.ledger.attempts()
    }

    /// Adds to a look what only the one who sends commands can know.
    pub(crate) fn complete(&self, observed: &mut Observed, sight: &Sight) {
        observed.late_puts = self.late_puts.clone();
        self.leaving.complete(observed, sight);
        self.begun.complete(observed, sight);
    }

    /// What a host said last, with what was begun there since; `None` when nothing was.
    pub(crate) fn completed(&self, host: &HostId) -> Option<HostInventory> {
        self.begun.completed(host)
    }

    /// Somebody else acted until now: what that one put may yet appear, what it stopped may be gone, and what it had
    /// `written` down may have started. `token` is ours. Gives when none of its commands counts any more.
    pub(crate) fn take_over(&mut self, written: &[HostInventory], token: u64) -> Instant {
        let now = Instant::now();
        self.leaving.take_over(now);
        self.begun.take_over(written, token, now);
        self.late_puts.of_others = self.clock.now() + OVER;
        now + OVER
    }

    /// Forgets what is under way: somebody else acts.
    pub(crate) fn stand_down(&mut self) {
        self.queue.clear();
        self.commands.clear();
        self.ledger.clear();
    }

    /// What a look at the lattice says about commands that are under way.
    pub(crate) fn look(&mut self, sight: &Sight) {
        self.ledger.look(sight);
        self.clocks = HostClocks::of(sight);
        self.begun.look(sight);
        self.leaving.look(sight);
        let now = self.clock.at(sight.at);
        self.late_puts.own.retain(|_, until| *until > now);
    }

    /// Takes on a plan that was made from the last look, in the place of the one before.
    pub(crate) fn take(&mut self, plan: &Plan) {
        self.ledger.compare(plan);
        // While nobody is heard, nothing can be sent; who comes has the plan made anew.
        let is_new = |action: &&Action| self.clocks.scribe(0).is_some() && !self.ledger.is_under_way(action);
        self.queue.replace(plan.actions.iter().filter(is_new).cloned());
        self.send();
    }

    /// A host told what came of something; whether the plan should be made anew.
    pub(crate) fn told(&mut self, told: &Told) -> bool {
        let is_failure = self.ledger.told(told);
        self.begun.told(told);
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
        let Acknowledged { key, flight, result, put_for, sent } = acknowledged;
        match (&result, put_for) {
            (Err(error), Some(app)) if is_unknown(error) => {
                self.late_puts.own.insert(app, self.clock.at(sent) + OVER);
            }
            _ => {}
        }
        self.begun.acknowledged(&key, &result);
        self.leaving.acknowledged(flight, &result);
        let is_news = self.ledger.acknowledged(&key, flight, result);
        self.send();
        is_news
    }

    /// When there is something to do again after `now`, if nothing happens until then.
    pub(crate) fn next_due(&self, now: Instant) -> Option<Instant> {
        self.ledger.next_due(now)
    }

    /// Sends what may be sent now. What has to be written down before is written once for all that goes together.
    fn send(&mut self) {
        let mut batch = Vec::new();
        while self.commands.len() + batch.len() < AT_ONCE {
            let Some(token) = self.fence.token() else { break };
            let Some(action) = self.queue.next(|app| self.ledger.hold(app)) else { break };
            batch.push(self.take_off(action, token));
        }
        let (mut ledgers, mut hosts) = (BTreeMap::new(), BTreeMap::new());
        for departure in batch {
            let action = &departure.action;
            let confirmed = is_put(&action.deed).then(|| {
                let confirm = || self.means.confirm(action.app.clone());
                ledgers.entry(action.app.clone()).or_insert_with(confirm).clone()
            });
            let foretold = self.begun.foretold(action).map(|inventory| {
                let host = inventory.host_id.clone();
                hosts.entry(host).or_insert_with(|| self.means.foretell(inventory)).clone()
            });
            self.dispatch(departure, confirmed, foretold);
        }
    }

    /// Enters an action as sent.
    fn take_off(&mut self, action: Action, token: u64) -> Departure {
        let sent = Instant::now();
        let flight = self.ledger.sent(&action);
        let order = self.order(&action, token, sent);
        if order.is_ok() {
            info!(app = %action.app, generation = action.generation, token, action = %action, "command sent");
            self.begun.sent(&action, sent);
            self.leaving.sent(&action, flight, sent);
        }
        Departure { action, flight, order, sent }
    }

    fn dispatch(&mut self, departure: Departure, confirmed: Option<Confirmed>, foretold: Option<Foretold>) {
        let Departure { action, flight, order, sent } = departure;
        let key = action.key.clone();
        let put_for = is_put(&action.deed).then(|| action.app.clone());
        let send = match order {
            Ok(order) => self.means.clone().carry_out(action, Order { confirmed, foretold, ..order }).boxed(),
            Err(error) => std::future::ready(Err(error)).boxed(),
        };
        let send = async move {
            let result = send.await;
            if let Err(error) = &result {
                debug!(key = %key, %error, "command failed");
            }
            Acknowledged { key, flight, result, put_for, sent }
        };
        self.commands.push(send.boxed());
    }

    /// How `action` is sent: to whom if any host could do it, and until when it counts. Without knowing the clock of who
    /// takes it, it is not sent: it would count for ever.
    fn order(&self, action: &Action, token: u64, now: Instant) -> Result<Order> {
        let (mut terms, mut scribe) = (Terms { token: Some(token), not_after_ms: None }, None);
        let unknown = |what: String| Err(Error::new(ErrorKind::NoResponders, what));
        if let Some((host, _)) = Flight::place(action) {
            terms.not_after_ms = self.clocks.not_after_ms(host, now);
            if terms.not_after_ms.is_none() {
                return unknown(format!("host {host} has not said what its clock shows"));
            }
        } else if is_record(&action.deed) {
            let Some(host) = self.clocks.scribe(self.ledger.failures(&action.key)) else {
                return unknown("no host is there that could write it".to_owned());
            };
            terms.not_after_ms = self.clocks.not_after_ms(host, now);
            scribe = Some(host.clone());
        }
        Ok(Order { terms, scribe, confirmed: None, foretold: None })
    }
}

/// Whether something is made that a ledger has to name.
fn is_put(deed: &Deed) -> bool {
    matches!(deed, Deed::PutLink { .. } | Deed::PutConfig { .. })
}

/// Whether any host could do it.
fn is_record(deed: &Deed) -> bool {
    is_put(deed) || matches!(deed, Deed::RestoreLink { .. } | Deed::DeleteLink { .. } | Deed::DeleteConfig { .. })
}

/// Whether a command that failed so may have been carried out, or may yet be.
fn is_unknown(error: &Error) -> bool {
    !matches!(error.kind(), ErrorKind::Refused | ErrorKind::NoResponders | ErrorKind::Conflict)
}

/// How long a host may take to tell what came of a command it took: artefacts may have to be pulled and compiled.
pub(crate) const OUTCOME: Duration = Duration::from_secs(120);
