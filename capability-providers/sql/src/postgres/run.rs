//! Statements and transactions on a connection.

use std::pin::pin;

use futures::TryStreamExt as _;
use tokio::time::{sleep_until, timeout_at};
use tokio_postgres::types::Type;
use trellis_interfaces::sql::{Error, Fault, Isolation, Outcome, Value};

use super::connection::Connection;
use super::error;
use super::pool::{Canceller, Lease};
use super::value::{Cell, Param, check_columns};
use crate::database::Wanted;
use crate::deadline::{Deadline, over};
use crate::result::Budget;
use crate::statement::Access;

/// What is lost when a connection is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// Nothing: it only reads, or is in a transaction that is not being committed.
    Harmless,
    /// The knowledge whether a change has happened.
    Change,
}

/// Awaits `work` until `deadline`; then tells the server to stop, and awaits what it says to that.
pub(super) async fn within<T>(
    canceller: Canceller,
    deadline: Deadline,
    phase: Phase,
    work: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    let mut work = pin!(work);
    tokio::select! {
        result = &mut work => return result,
        () = sleep_until(deadline.stop) => {}
    }
    let stopped = async {
        let (result, ()) = tokio::join!(work, canceller.cancel());
        result
    };
    match timeout_at(deadline.answer, stopped).await {
        Ok(result) => result,
        Err(_) if phase == Phase::Change => Err(Error::UnknownOutcome("the server did not answer in time".to_owned())),
        Err(_) => Err(over("the server was asked")),
    }
}

/// A statement with its parameters, and what is wanted of it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Request<'a> {
    pub(super) text: &'a str,
    pub(super) params: &'a [Value],
    pub(super) wanted: Wanted,
}

/// Runs one statement.
pub(super) async fn statement(
    connection: &mut Connection,
    request: Request<'_>,
    budget: &mut Budget,
    phase: Phase,
) -> Result<Outcome, Error> {
    let Request { text, params, wanted } = request;
    let statement = connection.prepare(text).await.map_err(|error| error::of(&error, Phase::Harmless))?;
    let params = bind(params, statement.params())?;
    let mut outcome = Outcome::default();
    if wanted == Wanted::Rows {
        check_columns(statement.columns())?;
        outcome.returned.columns = statement.columns().iter().map(|column| column.name().to_owned()).collect();
    }
    let failed = |connection: &mut Connection, error: &tokio_postgres::Error| {
        let error = error::of(error, phase);
        if matches!(&error, Error::Conflict(fault) if fault.code.as_deref() == Some(error::STALE_STATEMENT)) {
            connection.forget_statements();
        }
        error
    };
    let rows = connection.client.query_raw(&statement, params).await;
    let mut rows = pin!(rows.map_err(|error| failed(connection, &error))?);
    while let Some(row) = rows.try_next().await.map_err(|error| failed(connection, &error))? {
        if wanted == Wanted::Rows {
            let values = (0..row.len()).map(|index| row.try_get(index).map(|Cell(value)| value));
            let values: Result<_, _> = values.collect();
            budget.add(&mut outcome.returned, values.map_err(|error| error::of(&error, phase))?)?;
        }
    }
    outcome.affected = rows.rows_affected().unwrap_or_default();
    Ok(outcome)
}

fn bind(params: &[Value], types: &[Type]) -> Result<Vec<Param>, Error> {
    let invalid = |message, code: &str| Error::Invalid(Fault { message, code: Some(code.to_owned()), step: None });
    let (expected, given) = (types.len(), params.len());
    if given != expected {
        return Err(invalid(format!("the statement has {expected} parameters and was given {given}"), "42601"));
    }
    let params = params.iter().zip(types).map(|(param, ty)| match param {
        Value::Blob(_) if *ty != Type::BYTEA => Err(invalid(format!("a blob cannot be given for a {ty}"), "42804")),
        param => Param::new(param),
    });
    params.collect()
}

/// Begins a transaction.
pub(super) async fn begin(
    connection: &mut Connection,
    isolation: Isolation,
    access: Access,
    deadline: Deadline,
) -> Result<(), Error> {
    let isolation = match isolation {
        Isolation::ReadCommitted => "read committed",
        Isolation::RepeatableRead => "repeatable read",
        Isolation::Serializable => "serializable",
    };
    let mode = if access == Access::Read { "read only" } else { "read write" };
    let limit = connection.limit(deadline).as_millis();
    let text = format!("begin isolation level {isolation} {mode}; set local statement_timeout = {limit}");
    connection.client.batch_execute(&text).await.map_err(|error| error::of(&error, Phase::Harmless))
}

/// Commits.
pub(super) async fn commit(lease: &mut Lease, deadline: Deadline) -> Result<(), Error> {
    let canceller = lease.canceller();
    let client = &lease.connection().client;
    let work = async { client.batch_execute("commit").await.map_err(|error| error::of(&error, Phase::Change)) };
    within(canceller, deadline, Phase::Change, work).await
}

/// Undoes.
pub(super) async fn rollback(lease: &mut Lease, deadline: Deadline) -> Result<(), Error> {
    let client = &lease.connection().client;
    let work = async { client.batch_execute("rollback").await.map_err(|error| error::of(&error, Phase::Harmless)) };
    timeout_at(deadline.answer, work).await.map_err(|_| over("a transaction was undone"))?
}
