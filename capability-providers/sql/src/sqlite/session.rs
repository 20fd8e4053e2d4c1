//! A transaction that stays open between calls: a connection, and the turn to write.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use async_trait::async_trait;
use trellis_interfaces::sql::{Error, Outcome};

use super::pool::{Lease, Pool, blocking};
use super::{Turn, run};
use crate::database::{Session, Statement};
use crate::deadline::Deadline;
use crate::result::{Budget, Limits};

/// What a transaction holds. It is with the blocking thread while that works, and is lost with it.
struct Held {
    lease: Lease,
    turn: Option<Turn>,
}

struct Transaction {
    held: Option<Held>,
    limits: Limits,
}

/// Begins one on a connection of `pool`.
pub(super) async fn begin(
    pool: &Arc<Pool>,
    turn: Option<Turn>,
    limits: Limits,
    deadline: Deadline,
) -> Result<Box<dyn Session>, Error> {
    let slot = pool.slot(deadline).await?;
    let pool = Arc::clone(pool);
    let held = blocking(deadline, move |leave| {
        let mut lease = pool.lease(slot)?;
        lease.arm(deadline, leave)?;
        run::begin(&lease.connection, turn.as_ref())?;
        Ok(Held { lease, turn })
    });
    Ok(Box::new(Transaction { held: Some(held.await?), limits }))
}

impl Transaction {
    async fn work<T: Send + 'static>(
        &mut self,
        deadline: Deadline,
        work: impl FnOnce(Held) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let mut held = self.held.take().ok_or(Error::NoTransaction)?;
        let armed = move |leave: Arc<AtomicBool>| {
            held.lease.arm(deadline, leave)?;
            work(held)
        };
        blocking(deadline, armed).await
    }
}

#[async_trait]
impl Session for Transaction {
    async fn run(&mut self, statement: Statement, deadline: Deadline) -> Result<Outcome, Error> {
        let mut budget = Budget::new(self.limits);
        let work = move |held: Held| {
            let outcome = run::statement(&held.lease.connection, &statement, &mut budget);
            Ok((held, outcome))
        };
        let (held, outcome) = self.work(deadline, work).await?;
        self.held = Some(held);
        outcome
    }

    async fn commit(mut self: Box<Self>, deadline: Deadline) -> Result<(), Error> {
        let work = |Held { lease, turn }| {
            let result = run::commit(&lease.connection);
            run::rollback(&lease.connection);
            lease.give_back();
            drop(turn);
            result
        };
        self.work(deadline, work).await
    }

    async fn rollback(mut self: Box<Self>, deadline: Deadline) -> Result<(), Error> {
        let work = |Held { lease, turn }| {
            run::rollback(&lease.connection);
            lease.give_back();
            drop(turn);
            Ok(())
        };
        self.work(deadline, work).await
    }
}
