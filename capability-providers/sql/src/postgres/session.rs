//! A transaction that stays open between calls: a connection that nobody else uses.

use async_trait::async_trait;
use trellis_interfaces::sql::{Error, Isolation, Outcome};

use super::Settings;
use super::pool::Lease;
use super::run::{self, Phase, Request};
use crate::database::{Session, Statement};
use crate::deadline::Deadline;
use crate::result::{Budget, Limits};

struct Transaction {
    lease: Lease,
    limits: Limits,
}

/// Begins one.
pub(super) async fn begin(
    mut lease: Lease,
    settings: Settings,
    isolation: Isolation,
    deadline: Deadline,
) -> Result<Box<dyn Session>, Error> {
    let (canceller, connection) = (lease.canceller(), lease.connection());
    let work = run::begin(connection, isolation, settings.access, deadline);
    run::within(canceller, deadline, Phase::Harmless, work).await?;
    Ok(Box::new(Transaction { lease, limits: settings.limits }))
}

#[async_trait]
impl Session for Transaction {
    async fn run(&mut self, statement: Statement, deadline: Deadline) -> Result<Outcome, Error> {
        let mut budget = Budget::new(self.limits);
        let (canceller, connection) = (self.lease.canceller(), self.lease.connection());
        let Statement { text, params, wanted, .. } = &statement;
        let request = Request { text, params, wanted: *wanted };
        let work = run::statement(connection, request, &mut budget, Phase::Harmless);
        run::within(canceller, deadline, Phase::Harmless, work).await
    }

    async fn commit(mut self: Box<Self>, deadline: Deadline) -> Result<(), Error> {
        run::commit(&mut self.lease, deadline).await?;
        self.lease.give_back();
        Ok(())
    }

    async fn rollback(mut self: Box<Self>, deadline: Deadline) -> Result<(), Error> {
        run::rollback(&mut self.lease, deadline).await?;
        self.lease.give_back();
        Ok(())
    }
}
