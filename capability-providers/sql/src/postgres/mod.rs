//! PostgreSQL: a bounded pool of connections for each link, so that what one leaves in its session never meets another.

mod connection;
mod error;
mod migrate;
mod pool;
mod run;
mod session;
mod tls;
mod value;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::time::{Instant, sleep};
use trellis_interfaces::sql::{Error, Isolation, Outcome, Step};
use trellis_provider_sdk::LinkError;

use crate::config;
use crate::database::{Database, Session, Statement, Wanted};
use crate::deadline::Deadline;
use crate::migration::Migration;
use crate::result::{Budget, Limits, expect, of_step};
use crate::statement::{Access, Kind};

use self::pool::{Lease, Pool};
use self::run::{Phase, Request};

/// The longest pause before a transaction is done again; it grows by as much with every attempt.
const PAUSE: Duration = Duration::from_millis(20);

/// How a link uses its server.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Settings {
    /// What its actor may do.
    pub(crate) access: Access,
    /// Limits of results.
    pub(crate) limits: Limits,
    /// Connections at once.
    pub(crate) connections: usize,
    /// The longest that a statement runs.
    pub(crate) timeout: Duration,
    /// How long a transaction may be idle.
    pub(crate) idle: Duration,
    /// How often a transaction is done again after a conflict.
    pub(crate) retries: usize,
}

/// The database of one link.
pub(crate) struct Postgres {
    pool: Arc<Pool>,
    settings: Settings,
}

impl Postgres {
    /// Connects once, and runs `migrations` that were not run yet.
    ///
    /// # Errors
    /// When there is no connection, or a migration is refused.
    pub(crate) async fn open(
        place: config::Postgres,
        settings: Settings,
        migrations: Vec<Migration>,
        deadline: Deadline,
    ) -> Result<Self, LinkError> {
        let connector = tls::Connector::new(place.tls).await?;
        let pool = Arc::new(Pool::new(place.server, connector, settings));
        let unavailable = |error: Error| LinkError::Unavailable(error.to_string());
        let mut lease = pool.lease(deadline).await.map_err(unavailable)?;
        if !migrations.is_empty() {
            migrate::migrate(&mut lease, migrations, deadline).await?;
        }
        lease.give_back();
        Ok(Self { pool, settings })
    }

    /// Runs a statement outside of a transaction.
    async fn alone(&self, statement: &Statement, deadline: Deadline) -> Result<Outcome, Error> {
        let mut lease = self.pool.lease(deadline).await?;
        let phase = if statement.kind == Kind::Read { Phase::Harmless } else { Phase::Change };
        let mut budget = Budget::new(self.settings.limits);
        let canceller = lease.canceller();
        let connection = lease.connection();
        let work = async {
            connection.limit_statements(deadline).await?;
            let Statement { text, params, wanted, .. } = statement;
            let request = Request { text, params, wanted: *wanted };
            run::statement(connection, request, &mut budget, phase).await
        };
        let outcome = run::within(canceller, deadline, phase, work).await;
        if is_in_order(&outcome) {
            lease.give_back();
        }
        outcome
    }

    /// Does the work once.
    async fn attempt(&self, work: Work<'_>) -> Result<Vec<Outcome>, Error> {
        let mut lease = self.pool.lease(work.deadline).await?;
        let result = self.try_in(&mut lease, work).await;
        let is_in_order = result.is_ok() || run::rollback(&mut lease, work.deadline).await.is_ok();
        if is_in_order {
            lease.give_back();
        }
        result
    }

    async fn try_in(&self, lease: &mut Lease, work: Work<'_>) -> Result<Vec<Outcome>, Error> {
        let Work { steps, wanted, isolation, deadline } = work;
        let mut budget = Budget::new(self.settings.limits);
        let (canceller, connection) = (lease.canceller(), lease.connection());
        let all = async {
            run::begin(connection, isolation, self.settings.access, deadline).await?;
            let mut outcomes = Vec::with_capacity(steps.len());
            for (index, step) in (0..).zip(steps) {
                let request = Request { text: &step.statement, params: &step.params, wanted };
                let outcome = run::statement(connection, request, &mut budget, Phase::Harmless).await;
                let outcome = outcome.map_err(|error| of_step(error, index))?;
                expect(index, step, outcome.affected)?;
                outcomes.push(outcome);
            }
            Ok(outcomes)
        };
        let outcomes = run::within(canceller, deadline, Phase::Harmless, all).await?;
        run::commit(lease, deadline).await?;
        Ok(outcomes)
    }

    /// Does the work, again after a conflict.
    async fn transact(&self, work: Work<'_>) -> Result<Vec<Outcome>, Error> {
        let mut pause = PAUSE;
        for _ in 0..self.settings.retries {
            match self.attempt(work).await {
                Err(Error::Conflict(_)) if Instant::now() + pause < work.deadline.stop => {
                    sleep(pause.mul_f64(rand::random::<f64>())).await;
                }
                result => return result,
            }
            pause += PAUSE;
        }
        self.attempt(work).await
    }
}

/// A transaction in one call.
#[derive(Clone, Copy)]
struct Work<'a> {
    steps: &'a [Step],
    wanted: Wanted,
    isolation: Isolation,
    deadline: Deadline,
}

#[async_trait]
impl Database for Postgres {
    async fn run(&self, statement: Statement, deadline: Deadline) -> Result<Outcome, Error> {
        // A change whose rows are over a limit is to be undone, and what may only read is told so by a transaction.
        let is_alone = statement.kind == Kind::Read || statement.wanted == Wanted::Count;
        if is_alone && self.settings.access != Access::Read {
            return match self.alone(&statement, deadline).await {
                // The tables have changed since the statement was prepared; that is known only now.
                Err(Error::Conflict(fault)) if fault.code.as_deref() == Some(error::STALE_STATEMENT) => {
                    self.alone(&statement, deadline).await
                }
                outcome => outcome,
            };
        }
        let step = Step { statement: statement.text, params: statement.params, expect: None };
        let (steps, wanted, isolation) = (&[step], statement.wanted, Isolation::ReadCommitted);
        let outcomes = self.transact(Work { steps, wanted, isolation, deadline }).await;
        outcomes.map(|mut outcomes| outcomes.pop().unwrap_or_default()).map_err(error::of_no_step)
    }

    async fn transaction(
        &self,
        steps: &[Step],
        isolation: Isolation,
        deadline: Deadline,
    ) -> Result<Vec<Outcome>, Error> {
        self.transact(Work { steps, wanted: Wanted::Rows, isolation, deadline }).await
    }

    async fn begin(&self, isolation: Isolation, deadline: Deadline) -> Result<Box<dyn Session>, Error> {
        let lease = self.pool.lease(deadline).await?;
        session::begin(lease, self.settings, isolation, deadline).await
    }
}

/// Whether a connection can be used again after a statement by itself.
fn is_in_order(outcome: &Result<Outcome, Error>) -> bool {
    match outcome {
        Ok(_) => true,
        Err(error) => !matches!(
            error,
            Error::Limit(_) | Error::Timeout(_) | Error::Unavailable(_) | Error::UnknownOutcome(_) | Error::Other(_)
        ),
    }
}
