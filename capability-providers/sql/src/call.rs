//! The functions of the contract, on one link.

use std::time::Duration;

use trellis_interfaces::sql::{
    Begin, Commit, Error, Execute, ExecuteIn, Isolation, Outcome, Query, QueryIn, Rollback, Step, Transaction, Value,
    function,
};
use trellis_provider_sdk::wire::decode;
use trellis_provider_sdk::{Args, CallError, Head};

use crate::database::{Database, Statement, Wanted};
use crate::deadline::Deadline;
use crate::open::Open;
use crate::provider::encode;
use crate::result::of_step;
use crate::statement::{Access, Kind, MAX_PARAMS, check};

/// The most steps that a transaction has.
const MAX_STEPS: usize = 1_000;

/// A link that is up. Dropping it undoes what is open and closes its connections.
pub(crate) struct Link {
    /// Its database.
    pub(crate) database: Box<dyn Database>,
    /// Its open transactions.
    pub(crate) open: Open,
    /// What its actor may do.
    pub(crate) access: Access,
    /// What transactions see of others when the actor does not say.
    pub(crate) isolation: Isolation,
    /// The longest that a call takes.
    pub(crate) timeout: Duration,
}

impl Link {
    /// Carries out a call.
    pub(crate) async fn call(&self, head: &Head, args: &Args) -> Result<Args, CallError> {
        let deadline = Deadline::of(&head.context, self.timeout);
        match &*head.function {
            function::QUERY => {
                let Query { statement, params } = decode(args)?;
                let outcome = self.run(statement, params, Wanted::Rows, deadline).await;
                encode(&outcome.map(|outcome| outcome.returned))
            }
            function::EXECUTE => {
                let Execute { statement, params } = decode(args)?;
                let outcome = self.run(statement, params, Wanted::Count, deadline).await;
                encode(&outcome.map(|outcome| outcome.affected))
            }
            function::TRANSACTION => {
                let Transaction { steps, isolation } = decode(args)?;
                encode(&self.transaction(steps, isolation, deadline).await)
            }
            function::BEGIN => {
                let Begin { isolation } = decode(args)?;
                encode(&self.begin(isolation, deadline).await)
            }
            _ => self.call_in(head, args, deadline).await,
        }
    }

    /// Carries out a call in an open transaction.
    async fn call_in(&self, head: &Head, args: &Args, deadline: Deadline) -> Result<Args, CallError> {
        match &*head.function {
            function::QUERY_IN => {
                let QueryIn { tx, statement, params } = decode(args)?;
                let statement = self.statement(statement, params, Wanted::Rows);
                let outcome = self.run_in(&tx, statement, deadline).await;
                encode(&outcome.map(|outcome| outcome.returned))
            }
            function::EXECUTE_IN => {
                let ExecuteIn { tx, statement, params } = decode(args)?;
                let statement = self.statement(statement, params, Wanted::Count);
                let outcome = self.run_in(&tx, statement, deadline).await;
                encode(&outcome.map(|outcome| outcome.affected))
            }
            function::COMMIT => {
                let Commit { tx } = decode(args)?;
                encode(&self.open.commit(&tx, deadline).await)
            }
            function::ROLLBACK => {
                let Rollback { tx } = decode(args)?;
                encode(&self.open.rollback(&tx, deadline).await)
            }
            name => Err(CallError::contract(format!("{name} is not a function of {}", head.interface))),
        }
    }

    async fn run(
        &self,
        text: String,
        params: Vec<Value>,
        wanted: Wanted,
        deadline: Deadline,
    ) -> Result<Outcome, Error> {
        let statement = self.statement(text, params, wanted)?;
        self.database.run(statement, deadline).await
    }

    async fn transaction(
        &self,
        steps: Vec<Step>,
        isolation: Option<Isolation>,
        deadline: Deadline,
    ) -> Result<Vec<Outcome>, Error> {
        if steps.len() > MAX_STEPS {
            return Err(Error::Limit(format!("a transaction has at most {MAX_STEPS} steps")));
        }
        for (index, step) in (0..).zip(&steps) {
            self.check(&step.statement, &step.params).map_err(|error| of_step(error, index))?;
        }
        self.database.transaction(&steps, isolation.unwrap_or(self.isolation), deadline).await
    }

    async fn begin(&self, isolation: Option<Isolation>, deadline: Deadline) -> Result<String, Error> {
        let slot = self.open.reserve()?;
        let session = self.database.begin(isolation.unwrap_or(self.isolation), deadline).await?;
        Ok(self.open.keep(session, slot))
    }

    async fn run_in(
        &self,
        tx: &str,
        statement: Result<Statement, Error>,
        deadline: Deadline,
    ) -> Result<Outcome, Error> {
        match statement {
            Ok(statement) => self.open.run(tx, statement, deadline).await,
            Err(error) => {
                // As after any other error.
                let _ = self.open.rollback(tx, deadline).await;
                Err(error)
            }
        }
    }

    fn statement(&self, text: String, params: Vec<Value>, wanted: Wanted) -> Result<Statement, Error> {
        let kind = self.check(&text, &params)?;
        Ok(Statement { text, kind, params, wanted })
    }

    fn check(&self, text: &str, params: &[Value]) -> Result<Kind, Error> {
        if params.len() > MAX_PARAMS {
            return Err(Error::Limit(format!("a statement has at most {MAX_PARAMS} parameters")));
        }
        check(text, self.access)
    }
}
