//! A connection with the statements that were prepared on it.

use std::collections::HashMap;
use std::time::Duration;

use tokio_postgres::{Client, Statement};
use tokio_util::task::AbortOnDropHandle;
use trellis_interfaces::sql::Error;

use super::error;
use super::run::Phase;
use super::tls::Connector;
use crate::deadline::Deadline;

/// Prepared statements that a connection keeps.
const STATEMENTS: usize = 128;
/// The finest step of the server's own limit for statements: it is set anew only when another one is due.
const FINEST: Duration = Duration::from_millis(64);

/// A connection. Dropping it closes it.
pub(super) struct Connection {
    /// To ask with.
    pub(super) client: Client,
    statements: HashMap<String, Prepared>,
    uses: u64,
    limit: Option<Duration>,
    longest: Duration,
    _driver: AbortOnDropHandle<Result<(), tokio_postgres::Error>>,
}

struct Prepared {
    statement: Statement,
    used: u64,
}

impl Connection {
    /// Connects; no statement runs longer than `longest`, and no transaction idles longer than `idle`.
    pub(super) async fn open(
        server: &tokio_postgres::Config,
        connector: &Connector,
        longest: Duration,
        idle: Duration,
    ) -> Result<Self, tokio_postgres::Error> {
        let (client, driver) = connector.connect(server).await?;
        let driver = AbortOnDropHandle::new(driver);
        // The server's own clock, for the case that this host is not there any more to end it.
        let idle = (idle * 2).as_millis();
        client.batch_execute(&format!("set idle_in_transaction_session_timeout = {idle}")).await?;
        Ok(Self { client, statements: HashMap::new(), uses: 0, limit: None, longest, _driver: driver })
    }

    /// The statement of `text`, prepared now or before.
    pub(super) async fn prepare(&mut self, text: &str) -> Result<Statement, tokio_postgres::Error> {
        self.uses += 1;
        if let Some(prepared) = self.statements.get_mut(text) {
            prepared.used = self.uses;
            return Ok(prepared.statement.clone());
        }
        let statement = self.client.prepare(text).await?;
        if self.statements.len() >= STATEMENTS {
            self.forget_oldest();
        }
        let prepared = Prepared { statement: statement.clone(), used: self.uses };
        self.statements.insert(text.to_owned(), prepared);
        Ok(statement)
    }

    fn forget_oldest(&mut self) {
        let oldest = self.statements.iter().min_by_key(|(_, prepared)| prepared.used).map(|(text, _)| text.clone());
        if let Some(text) = oldest {
            self.statements.remove(&text);
        }
    }

    /// Prepares everything anew from now on: tables have changed.
    pub(super) fn forget_statements(&mut self) {
        self.statements.clear();
    }

    /// Lets the server break off statements by itself soon after `deadline`.
    pub(super) async fn limit_statements(&mut self, deadline: Deadline) -> Result<(), Error> {
        let limit = self.limit(deadline);
        if self.limit != Some(limit) {
            let text = format!("set statement_timeout = {}", limit.as_millis());
            self.client.batch_execute(&text).await.map_err(|error| error::of(&error, Phase::Harmless))?;
            self.limit = Some(limit);
        }
        Ok(())
    }

    /// What the server's own limit is for a call with `deadline`: in steps, so that it is rarely another one.
    pub(super) fn limit(&self, deadline: Deadline) -> Duration {
        let remaining = deadline.remaining().max(FINEST).min(self.longest);
        Duration::from_millis(u64::try_from(remaining.as_millis()).unwrap_or(u64::MAX / 2).next_power_of_two())
    }
}
