//! What a backend does. Texts were checked by [`crate::statement`] before they come here.

use async_trait::async_trait;
use trellis_interfaces::sql::{Error, Isolation, Outcome, Step, Value};

use crate::deadline::Deadline;
use crate::statement::Kind;

/// A statement with its parameters.
#[derive(Debug)]
pub(crate) struct Statement {
    /// The text.
    pub(crate) text: String,
    /// What it does, as far as is known.
    pub(crate) kind: Kind,
    /// Its parameters.
    pub(crate) params: Vec<Value>,
    /// What is wanted of its result.
    pub(crate) wanted: Wanted,
}

/// What is wanted of a result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// The rows that it returns.
    Rows,
    /// How many rows it affects.
    Count,
}

/// The database of one link. Dropping a future breaks its work off; what was not committed is undone.
#[async_trait]
pub(crate) trait Database: Send + Sync + 'static {
    /// Runs a statement by itself.
    async fn run(&self, statement: Statement, deadline: Deadline) -> Result<Outcome, Error>;

    /// Runs all steps or none.
    async fn transaction(
        &self,
        steps: &[Step],
        isolation: Isolation,
        deadline: Deadline,
    ) -> Result<Vec<Outcome>, Error>;

    /// Begins a transaction that stays open between calls.
    async fn begin(&self, isolation: Isolation, deadline: Deadline) -> Result<Box<dyn Session>, Error>;
}

/// A transaction that is open. Dropping it undoes it.
#[async_trait]
pub(crate) trait Session: Send + 'static {
    /// Runs a statement in it. After an error the transaction is of no use any more.
    async fn run(&mut self, statement: Statement, deadline: Deadline) -> Result<Outcome, Error>;

    /// Makes its changes last.
    async fn commit(self: Box<Self>, deadline: Deadline) -> Result<(), Error>;

    /// Undoes it.
    async fn rollback(self: Box<Self>, deadline: Deadline) -> Result<(), Error>;
}
