//! The table `payment`, and `outbox` beside it.

use crate::demo::bank::types::Fault;
use crate::payment::{Row, State, role_named};
use crate::sql::{fault, int, step, text, unexpected};
use crate::trellis::sql::database::{self, Error, Value};

const COLUMNS: &str = "id, payer, role, debit, credit, amount, reference, state";

/// A message that is to be sent.
pub(crate) struct Letter {
    pub(crate) id: String,
    pub(crate) subject: String,
    pub(crate) body: String,
}

/// Writes the row down as pending, unless there is one of its id; the row and the state that are there now.
pub(crate) fn begin(row: &Row, now_ms: u64) -> Result<(Row, State), Fault> {
    let statement = format!(
        "insert into payment ({COLUMNS}, at_ms) values ($1, $2, $3, $4, $5, $6, $7, $8, $9) on conflict (id) do nothing"
    );
    let Row { id, payer, role, debit, credit, amount, reference } = row;
    let mut params = vec![text(id), text(payer), text(role), text(debit), text(credit), int(*amount)?, text(reference)];
    params.extend([text(State::Pending.name()), int(now_ms)?]);
    database::execute(&statement, &params).map_err(fault)?;
    find(id)
}

/// The row of that id, which has been begun.
pub(crate) fn find(id: &str) -> Result<(Row, State), Fault> {
    let statement = format!("select {COLUMNS} from payment where id = $1");
    let rows = database::query(&statement, &[text(id)]).map_err(fault)?.rows;
    let row = rows.first().ok_or_else(|| Fault::Unavailable(format!("payment {id} is not there yet")))?;
    parse(row)
}

/// Up to 100 payments that are not final and were begun before `before_ms`, oldest first.
pub(crate) fn unfinished(before_ms: u64) -> Result<Vec<(Row, State)>, Fault> {
    let statement = format!(
        "select {COLUMNS} from payment where state in ('pending', 'cleared') and at_ms < $1 order by at_ms limit 100"
    );
    database::query(&statement, &[int(before_ms)?]).map_err(fault)?.rows.iter().map(|row| parse(row)).collect()
}

fn parse(row: &[Value]) -> Result<(Row, State), Fault> {
    match row {
        [
            Value::Text(id),
            Value::Text(payer),
            Value::Text(role),
            Value::Text(debit),
            Value::Text(credit),
            Value::Int64(amount),
            Value::Text(reference),
            Value::Text(state),
        ] => {
            let found = Row {
                id: id.clone(),
                payer: payer.clone(),
                role: role_named(role).ok_or_else(|| unexpected(row))?,
                debit: debit.clone(),
                credit: credit.clone(),
                amount: u64::try_from(*amount).map_err(|_| unexpected(row))?,
                reference: reference.clone(),
            };
            Ok((found, State::named(state).ok_or_else(|| unexpected(row))?))
        }
        other => Err(unexpected(other)),
    }
}

/// Puts a payment from one state into the next, and what is to be said about it into the outbox: both or neither. If
/// it is not in `from` any more, somebody else was first and nothing is changed.
pub(crate) fn advance(id: &str, from: State, to: State, letters: &[Letter], now_ms: u64) -> Result<(), Fault> {
    let change = "update payment set state = $1 where id = $2 and state = $3";
    let mut steps = vec![step(change, vec![text(to.name()), text(id), text(from.name())])];
    for Letter { id, subject, body } in letters {
        let statement = "insert into outbox (id, subject, body, at_ms) values ($1, $2, $3, $4)";
        steps.push(step(statement, vec![text(id), text(subject), text(body), int(now_ms)?]));
    }
    match database::transaction(&steps, None) {
        Ok(_) | Err(Error::Unexpected(_)) => Ok(()),
        Err(error) => Err(fault(error)),
    }
}

/// The oldest of what is to be sent, at most so many.
pub(crate) fn letters(count: u64) -> Result<Vec<Letter>, Fault> {
    let statement = "select id, subject, body from outbox order by at_ms, id limit $1";
    let letter = |row: &Vec<Value>| match row.as_slice() {
        [Value::Text(id), Value::Text(subject), Value::Text(body)] => {
            Ok(Letter { id: id.clone(), subject: subject.clone(), body: body.clone() })
        }
        other => Err(unexpected(other)),
    };
    database::query(statement, &[int(count)?]).map_err(fault)?.rows.iter().map(letter).collect()
}

/// Takes what was sent out of the outbox.
pub(crate) fn remove(letters: &[Letter]) -> Result<(), Fault> {
    let mut steps: Vec<_> =
        letters.iter().map(|letter| step("delete from outbox where id = $1", vec![text(&letter.id)])).collect();
    // Somebody else may have sent the same.
    steps.iter_mut().for_each(|step| step.expect = None);
    database::transaction(&steps, None).map(|_| ()).map_err(fault)
}
