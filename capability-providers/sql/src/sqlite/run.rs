//! Statements on a connection. All of it blocks.

use rusqlite::{CachedStatement, Connection};
use trellis_interfaces::sql::{Error, Fault, Outcome, Step, Value};

use super::{error, value};
use crate::database::{Statement, Wanted};
use crate::result::{Budget, expect, of_step};

/// Runs a statement.
pub(super) fn statement(connection: &Connection, statement: &Statement, budget: &mut Budget) -> Result<Outcome, Error> {
    run(connection, &statement.text, &statement.params, statement.wanted, budget)
}

/// Runs the steps of a transaction that was begun.
pub(super) fn steps(connection: &Connection, steps: &[Step], budget: &mut Budget) -> Result<Vec<Outcome>, Error> {
    let outcomes = (0..).zip(steps).map(|(index, step)| {
        let outcome = run(connection, &step.statement, &step.params, Wanted::Rows, budget);
        let outcome = outcome.map_err(|error| of_step(error, index))?;
        expect(index, step, outcome.affected)?;
        Ok(outcome)
    });
    outcomes.collect()
}

/// Runs `work` in a transaction, which is undone if it fails. `turn` is held until then.
pub(super) fn in_transaction<T>(
    connection: &Connection,
    turn: impl Into<Option<super::Turn>>,
    work: impl FnOnce() -> Result<T, Error>,
) -> Result<T, Error> {
    let turn = turn.into();
    begin(connection, turn.as_ref())?;
    let result = work().and_then(|value| commit(connection).map(|()| value));
    if result.is_err() {
        rollback(connection);
    }
    drop(turn);
    result
}

/// Begins a transaction; with the turn to write, one that writes.
pub(super) fn begin(connection: &Connection, turn: Option<&super::Turn>) -> Result<(), Error> {
    let text = if turn.is_some() { "begin immediate" } else { "begin" };
    connection.execute_batch(text).map_err(error::of)
}

/// Commits.
pub(super) fn commit(connection: &Connection) -> Result<(), Error> {
    connection.execute_batch("commit").map_err(error::of)
}

/// Undoes. SQLite has done so already after some errors; if it fails, the connection is closed, which undoes as well.
pub(super) fn rollback(connection: &Connection) {
    if !connection.is_autocommit() {
        let _ = connection.execute_batch("rollback");
    }
}

/// Whether the file is a database.
pub(super) fn probe(connection: &Connection) -> Result<(), Error> {
    connection.query_row("select count(*) from sqlite_schema", (), |_| Ok(())).map_err(error::of)
}

fn run(
    connection: &Connection,
    text: &str,
    params: &[Value],
    wanted: Wanted,
    budget: &mut Budget,
) -> Result<Outcome, Error> {
    let mut statement = connection.prepare_cached(text).map_err(error::of)?;
    bind(&mut statement, params)?;
    let before = connection.total_changes();
    let (mut outcome, count) = collect(&mut statement, wanted, budget)?;
    outcome.affected = if statement.readonly() {
        count
    } else if connection.total_changes() == before {
        0
    } else {
        connection.changes()
    };
    Ok(outcome)
}

/// Binds by name: SQLite numbers `$2` by where it stands.
fn bind(statement: &mut CachedStatement<'_>, params: &[Value]) -> Result<(), Error> {
    let mut highest = 0;
    for index in 1..=statement.parameter_count() {
        let name = statement.parameter_name(index).unwrap_or("?");
        let number = name.strip_prefix('$').and_then(|digits| digits.parse().ok()).filter(|number| *number > 0);
        let number: usize = number.ok_or_else(|| {
            invalid(format!("parameter {name:?} is not of the form `$1` (a type goes by `cast($1 as …)`)"))
        })?;
        highest = highest.max(number);
        if let Some(param) = params.get(number - 1) {
            statement.raw_bind_parameter(index, value::to_sql(param)?).map_err(error::of)?;
        }
    }
    if highest == params.len() {
        return Ok(());
    }
    Err(invalid(format!("the statement has {highest} parameters and was given {}", params.len())))
}

fn invalid(message: String) -> Error {
    Error::Invalid(Fault { message, code: Some("42601".to_owned()), step: None })
}

/// Goes through all rows: a statement has done its work only then.
fn collect(statement: &mut CachedStatement<'_>, wanted: Wanted, budget: &mut Budget) -> Result<(Outcome, u64), Error> {
    let (mut outcome, mut count, mut kinds) = (Outcome::default(), 0, Vec::new());
    let mut rows = statement.raw_query();
    loop {
        // The columns are known for certain after the first step only, which may prepare the statement anew.
        let row = rows.next().map_err(error::of)?;
        let Some(row) = row else { break };
        count += 1;
        if wanted == Wanted::Count {
            continue;
        }
        if count == 1 {
            (outcome.returned.columns, kinds) = value::columns(row.as_ref());
        }
        let values = kinds.iter().enumerate().map(|(index, kind)| Ok(kind.value(row.get_ref(index)?)));
        let values = values.collect::<rusqlite::Result<_>>().map_err(error::of)?;
        budget.add(&mut outcome.returned, values)?;
    }
    drop(rows);
    if wanted == Wanted::Rows && count == 0 {
        (outcome.returned.columns, _) = value::columns(statement);
    }
    Ok((outcome, count))
}
