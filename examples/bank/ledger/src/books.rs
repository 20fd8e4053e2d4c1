//! What stands in the ledger.

use crate::demo::bank::types::Fault;
use crate::exports::demo::bank::books::{Entry, Mark, Report, Span};
use crate::sql::{fault, int, text, unexpected};
use crate::trellis::sql::database::{self, Value};

const ENTRIES: &str = "select p.transfer, case when t.debit = p.account then t.credit else t.debit end, p.amount, \
    t.reference, p.at_ms from posting p join transfer t on t.id = p.transfer \
    where p.account = $1 and p.at_ms >= $2 and p.at_ms < $3 and (p.at_ms > $4 or (p.at_ms = $4 and p.transfer > $5)) \
    order by p.at_ms, p.transfer limit 500";

/// One statement, so that all of it is seen at one moment.
const CHECK: &str = "select \
    (select count(*) from balance), \
    (select count(*) from transfer where outcome = 'posted'), \
    (select count(*) from posting), \
    (select cast(coalesce(sum(amount), 0) as bigint) from posting), \
    (select cast(coalesce(sum(amount), 0) as bigint) from balance), \
    (select cast(coalesce(sum(amount), 0) as bigint) from balance where account <> 'bank'), \
    (select count(*) from balance b where b.amount <> \
        (select cast(coalesce(sum(p.amount), 0) as bigint) from posting p where p.account = b.account)), \
    (select count(*) from transfer t where t.outcome = 'posted' and 2 <> \
        (select count(*) from posting p where p.transfer = t.id and \
            ((p.account = t.debit and p.amount = -t.amount) or (p.account = t.credit and p.amount = t.amount)))), \
    (select count(*) from balance where amount < 0 and account <> 'bank')";

pub(crate) fn balance(account: String) -> Result<Option<i64>, Fault> {
    let rows =
        database::query("select amount from balance where account = $1", &[Value::Text(account)]).map_err(fault)?;
    match rows.rows.first().map(Vec::as_slice) {
        None => Ok(None),
        Some([Value::Int64(balance)]) => Ok(Some(*balance)),
        Some(other) => Err(unexpected(other)),
    }
}

pub(crate) fn entries(account: String, span: Span, after: Option<Mark>) -> Result<Vec<Entry>, Fault> {
    let (after_ms, after_transfer) = match &after {
        Some(mark) => (int(mark.at_ms)?, text(&mark.transfer)),
        None => (Value::Int64(-1), text("")),
    };
    let params = [Value::Text(account), int(span.from_ms)?, int(span.to_ms)?, after_ms, after_transfer];
    database::query(ENTRIES, &params).map_err(fault)?.rows.iter().map(|row| entry(row)).collect()
}

fn entry(row: &[Value]) -> Result<Entry, Fault> {
    match row {
        [
            Value::Text(transfer),
            Value::Text(counterpart),
            Value::Int64(amount),
            Value::Text(reference),
            Value::Int64(at),
        ] => Ok(Entry {
            transfer: transfer.clone(),
            counterpart: counterpart.clone(),
            amount: *amount,
            reference: reference.clone(),
            at_ms: u64::try_from(*at).map_err(|_| unexpected(row))?,
        }),
        other => Err(unexpected(other)),
    }
}

pub(crate) fn check() -> Result<Report, Fault> {
    let rows = database::query(CHECK, &[]).map_err(fault)?.rows;
    let row = rows.first().map(Vec::as_slice).unwrap_or_default();
    let numbers: Option<Vec<i64>> = row
        .iter()
        .map(|value| match value {
            Value::Int64(number) => Some(*number),
            _ => None,
        })
        .collect();
    let counted = |number: i64| u64::try_from(number).map_err(|_| unexpected(row));
    match numbers.as_deref() {
        Some(
            &[accounts, transfers, postings, sum_of_postings, sum_of_balances, deposits, balances, halves, overdrawn],
        ) => Ok(Report {
            accounts: counted(accounts)?,
            transfers: counted(transfers)?,
            postings: counted(postings)?,
            sum_of_postings,
            sum_of_balances,
            deposits,
            wrong_balances: counted(balances)?,
            wrong_transfers: counted(halves)?,
            overdrawn: counted(overdrawn)?,
        }),
        _ => Err(unexpected(row)),
    }
}
