//! How a payment goes from one state to the next. Each step may be done twice: what it asks of others is idempotent, and
//! who is second to write a state down changes nothing.

use crate::demo::bank::accounts::{self, Account};
use crate::demo::bank::fraud::{self, Attempt};
use crate::demo::bank::journal::{self, Transfer};
use crate::demo::bank::types::Fault;
use crate::exports::demo::bank::payments::{Error, Order, Outcome, Payment, Refusal};
use crate::outbox;
use crate::payment::{Row, State};
use crate::{now_ms, rows};

/// How old a payment is before it counts as left behind.
const LEFT_BEHIND_MS: u64 = 5_000;

/// How many steps there are at most: three states, and as often somebody else was first.
const STEPS: usize = 8;

/// The bank's own account, from which tellers pay in.
const BANK: &str = "bank";

/// Carries an order out, or goes on with it, to its end.
pub(crate) fn pay(order: &Order) -> Result<Payment, Error> {
    let wanted = Row::of(order).map_err(Error::Fault)?;
    let (row, state) = rows::begin(&wanted, now_ms()).map_err(Error::Fault)?;
    if row != wanted {
        return Err(Error::KeyReused);
    }
    let outcome = finish(&row, state).map_err(Error::Fault)?;
    Ok(Payment { id: row.id, outcome })
}

/// Finishes what was left behind. One that cannot be finished now is not in the way of the others.
pub(crate) fn recover(now_ms: u64) -> Result<(), Fault> {
    let mut outcome = Ok(());
    for (row, state) in rows::unfinished(now_ms.saturating_sub(LEFT_BEHIND_MS))? {
        if let Err(fault) = finish(&row, state) {
            outcome = Err(fault);
        }
    }
    outcome
}

fn finish(row: &Row, mut state: State) -> Result<Outcome, Fault> {
    for _ in 0..STEPS {
        let next = match state {
            State::Pending => clear(row)?,
            State::Cleared => State::Final(post(row)?),
            State::Final(outcome) => return Ok(outcome),
        };
        let letters = match next {
            State::Final(outcome) => outbox::letters(row, outcome, &payee(row)?),
            _ => Vec::new(),
        };
        rows::advance(&row.id, state, next, &letters, now_ms())?;
        // Not `next`: it may have been somebody else who wrote, and what is written counts.
        state = rows::find(&row.id)?.1;
    }
    Err(Fault::Unavailable(format!("payment {} does not come to an end", row.id)))
}

/// Whether the payer may do this.
fn clear(row: &Row) -> Result<State, Fault> {
    let refused = |refusal| Ok(State::Final(Outcome::Refused(refusal)));
    let Some(debit) = accounts::find(&row.debit)? else { return refused(Refusal::UnknownAccount) };
    if accounts::find(&row.credit)?.is_none() {
        return refused(Refusal::UnknownAccount);
    }
    if !may_debit(row, &debit) {
        return refused(Refusal::NotYours);
    }
    // What tellers pay in has been counted by hand.
    if row.role == "teller" {
        return Ok(State::Cleared);
    }
    let attempt = Attempt { payment: row.id.clone(), payer: row.payer.clone(), amount: row.amount };
    match fraud::judge(&attempt)? {
        fraud::Verdict::Fine => Ok(State::Cleared),
        fraud::Verdict::LimitExceeded => refused(Refusal::LimitExceeded),
        fraud::Verdict::TooMany => refused(Refusal::TooMany),
    }
}

/// Customers pay from what is theirs, tellers from what is the bank's, nobody else pays.
fn may_debit(row: &Row, debit: &Account) -> bool {
    match row.role {
        "customer" => debit.owner == row.payer,
        "teller" => debit.id == BANK,
        _ => false,
    }
}

fn post(row: &Row) -> Result<Outcome, Fault> {
    let transfer = Transfer {
        id: row.id.clone(),
        debit: row.debit.clone(),
        credit: row.credit.clone(),
        amount: row.amount,
        reference: row.reference.clone(),
    };
    Ok(match journal::post(&transfer)? {
        journal::Verdict::Posted => Outcome::Posted,
        journal::Verdict::InsufficientFunds => Outcome::Refused(Refusal::InsufficientFunds),
        journal::Verdict::UnknownAccount => Outcome::Refused(Refusal::UnknownAccount),
    })
}

/// Who has the account that is paid to; nobody if there is none.
fn payee(row: &Row) -> Result<String, Fault> {
    Ok(accounts::find(&row.credit)?.map(|account| account.owner).unwrap_or_default())
}
