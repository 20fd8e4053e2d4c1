//! An actor that calls over its link.

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use trellis_interfaces::sql::{
    Begin, Commit, DATABASE, Error, Execute, ExecuteIn, Isolation, Outcome, Query, QueryIn, Rollback, Rows, Step,
    Transaction, Value,
};
use trellis_provider_sdk::testing::{as_target, invocation, link, value};
use trellis_provider_sdk::{CallError, Context, Link, LinkError, Provider};

pub(crate) fn text(text: &str) -> Value {
    Value::Text(text.to_owned())
}

pub(crate) fn int(number: i64) -> Value {
    Value::Int64(number)
}

pub(crate) fn step(statement: &str, params: &[Value], expect: Option<u64>) -> Step {
    Step { statement: statement.to_owned(), params: params.to_vec(), expect }
}

#[derive(Clone)]
pub(crate) struct Actor {
    pub(crate) provider: Arc<dyn Provider>,
    pub(crate) link: Link,
    pub(crate) budget: Duration,
}

impl Actor {
    pub(crate) async fn try_linked(
        provider: &Arc<dyn Provider>,
        actor: &str,
        pairs: &[(&str, &str)],
    ) -> Result<Self, LinkError> {
        let link = link(actor, "sql", &["trellis:sql/database"]);
        provider.link_up(&as_target(link.clone(), pairs)).await?;
        Ok(Self::of(provider, link))
    }

    pub(crate) fn of(provider: &Arc<dyn Provider>, link: Link) -> Self {
        Self { provider: Arc::clone(provider), link, budget: Duration::from_secs(10) }
    }

    pub(crate) fn within(&self, budget: Duration) -> Self {
        Self { budget, ..self.clone() }
    }

    pub(crate) async fn call(
        &self,
        function: &str,
        args: &impl Serialize,
    ) -> Result<trellis_provider_sdk::Args, CallError> {
        let mut invocation = invocation(&self.link, DATABASE, function, args);
        invocation.head.context = Context::root(self.budget);
        self.provider.call(invocation).await.map(|answer| answer.value)
    }

    async fn ask<T: DeserializeOwned>(&self, function: &str, args: &impl Serialize) -> Result<T, Error> {
        let answer = self.call(function, args).await.unwrap();
        value(&trellis_provider_sdk::Answer { value: answer, body: trellis_provider_sdk::Body::Empty }).unwrap()
    }

    pub(crate) async fn query(&self, statement: &str, params: &[Value]) -> Result<Rows, Error> {
        self.ask("query", &Query { statement: statement.into(), params: params.to_vec() }).await
    }

    /// The only value of a result.
    pub(crate) async fn one(&self, statement: &str, params: &[Value]) -> Value {
        let mut rows = self.query(statement, params).await.unwrap().rows;
        assert_eq!(rows.len(), 1, "{rows:?}");
        assert_eq!(rows[0].len(), 1, "{rows:?}");
        rows.remove(0).remove(0)
    }

    pub(crate) async fn execute(&self, statement: &str, params: &[Value]) -> Result<u64, Error> {
        self.ask("execute", &Execute { statement: statement.into(), params: params.to_vec() }).await
    }

    pub(crate) async fn transaction(&self, steps: &[Step]) -> Result<Vec<Outcome>, Error> {
        self.ask("transaction", &Transaction { steps: steps.to_vec(), isolation: None }).await
    }

    pub(crate) async fn begin(&self, isolation: Option<Isolation>) -> Result<String, Error> {
        self.ask("begin", &Begin { isolation }).await
    }

    pub(crate) async fn query_in(&self, tx: &str, statement: &str, params: &[Value]) -> Result<Rows, Error> {
        self.ask("query-in", &QueryIn { tx: tx.into(), statement: statement.into(), params: params.to_vec() }).await
    }

    pub(crate) async fn execute_in(&self, tx: &str, statement: &str, params: &[Value]) -> Result<u64, Error> {
        self.ask("execute-in", &ExecuteIn { tx: tx.into(), statement: statement.into(), params: params.to_vec() }).await
    }

    pub(crate) async fn commit(&self, tx: &str) -> Result<(), Error> {
        self.ask("commit", &Commit { tx: tx.into() }).await
    }

    pub(crate) async fn rollback(&self, tx: &str) -> Result<(), Error> {
        self.ask("rollback", &Rollback { tx: tx.into() }).await
    }
}
