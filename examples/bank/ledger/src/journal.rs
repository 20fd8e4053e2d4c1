//! Changes of the ledger.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::demo::bank::types::Fault;
use crate::exports::demo::bank::journal::{Transfer, Verdict};
use crate::sql::{fault, int, step, text, unexpected};
use crate::trellis::sql::database::{self, ConstraintKind, Error, Step, Value};

/// How often a transfer is done again because another one was in the way. The provider has tried it several times
/// before it says so.
const TRIES: usize = 5;

/// The most that one transfer moves, so that no sum comes near 64 bits.
const MAX_AMOUNT: u64 = 1_000_000_000_000;

const RECORD: &str = "insert into transfer (id, debit, credit, amount, reference, outcome, at_ms) \
    values ($1, $2, $3, $4, $5, $6, $7)";
const CHANGE: &str = "update balance set amount = amount + $1 where account = $2";
const POSTING: &str = "insert into posting (transfer, account, amount, at_ms) values ($1, $2, $3, $4)";

/// Makes an account, if it is not there.
pub(crate) fn open(account: String) -> Result<(), Fault> {
    let statement = "insert into balance (account, amount) values ($1, 0) on conflict (account) do nothing";
    database::execute(statement, &[Value::Text(account)]).map(|_| ()).map_err(fault)
}

/// Moves money once, or says why not, for good.
pub(crate) fn post(transfer: &Transfer) -> Result<Verdict, Fault> {
    if transfer.amount == 0 || transfer.amount > MAX_AMOUNT || transfer.debit == transfer.credit {
        return Err(Fault::Invalid("a transfer moves 1 to 10^12 from one account to another".to_owned()));
    }
    let steps = steps(transfer, now_ms())?;
    for _ in 0..TRIES {
        return match database::transaction(&steps, None) {
            Ok(_) => Ok(Verdict::Posted),
            Err(Error::Conflict(_)) => continue,
            Err(Error::Constraint(violation)) if violation.kind == ConstraintKind::Unique => decided(transfer),
            Err(Error::Constraint(violation)) if violation.kind == ConstraintKind::Check => {
                refuse(transfer, Verdict::InsufficientFunds)
            }
            // The balance that was to change is not there.
            Err(Error::Unexpected(_)) => refuse(transfer, Verdict::UnknownAccount),
            Err(error) => Err(fault(error)),
        };
    }
    Err(Fault::Unavailable("other transfers were in the way".to_owned()))
}

fn steps(transfer: &Transfer, at_ms: u64) -> Result<Vec<Step>, Fault> {
    let amount = i64::try_from(transfer.amount).expect("it is below the most");
    let mut sides = [(&transfer.debit, -amount), (&transfer.credit, amount)];
    // All transfers take locks of rows in one order, so that no two wait for each other.
    sides.sort();
    let change = |(account, amount): (&String, i64)| step(CHANGE, vec![Value::Int64(amount), text(account)]);
    let at = int(at_ms)?;
    let posting = |(account, amount): (&String, i64)| {
        let params = vec![text(&transfer.id), text(account), Value::Int64(amount), at.clone()];
        step(POSTING, params)
    };
    let record = step(RECORD, row(transfer, Verdict::Posted, at.clone())?);
    Ok([record].into_iter().chain(sides.map(change)).chain(sides.map(posting)).collect())
}

/// Writes down that a transfer does not happen, unless something is written already.
fn refuse(transfer: &Transfer, verdict: Verdict) -> Result<Verdict, Fault> {
    let statement = format!("{RECORD} on conflict (id) do nothing");
    database::execute(&statement, &row(transfer, verdict, int(now_ms())?)?).map_err(fault)?;
    decided(transfer)
}

/// What stands about the transfer.
fn decided(transfer: &Transfer) -> Result<Verdict, Fault> {
    let statement = "select debit, credit, amount, outcome from transfer where id = $1";
    let rows = database::query(statement, &[text(&transfer.id)]).map_err(fault)?.rows;
    match rows.first().map(Vec::as_slice) {
        Some([Value::Text(debit), Value::Text(credit), Value::Int64(amount), Value::Text(outcome)]) => {
            let is_same =
                (debit, credit) == (&transfer.debit, &transfer.credit) && u64::try_from(*amount) == Ok(transfer.amount);
            let verdict = verdict(outcome).ok_or_else(|| unexpected(&rows[0]))?;
            if is_same { Ok(verdict) } else { Err(Fault::Invalid(format!("{} is another transfer", transfer.id))) }
        }
        Some(other) => Err(unexpected(other)),
        None => Err(Fault::Unavailable(format!("nothing stands about {} yet", transfer.id))),
    }
}

fn row(transfer: &Transfer, verdict: Verdict, at: Value) -> Result<Vec<Value>, Fault> {
    let Transfer { id, debit, credit, amount, reference } = transfer;
    Ok(vec![text(id), text(debit), text(credit), int(*amount)?, text(reference), text(outcome(verdict)), at])
}

const OUTCOMES: [(Verdict, &str); 3] = [
    (Verdict::Posted, "posted"),
    (Verdict::InsufficientFunds, "insufficient-funds"),
    (Verdict::UnknownAccount, "unknown-account"),
];

fn outcome(verdict: Verdict) -> &'static str {
    OUTCOMES.iter().find(|(known, _)| *known == verdict).map(|(_, text)| *text).expect("each verdict has a text")
}

fn verdict(outcome: &str) -> Option<Verdict> {
    OUTCOMES.iter().find(|(_, text)| *text == outcome).map(|(verdict, _)| *verdict)
}

fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
