//! What is said about payments, and sending it. A message is sent at least once: it stands in the outbox until the broker
//! has it, and if a host is lost in between it is sent again.

use serde_json::json;

use crate::demo::bank::types::Fault;
use crate::exports::demo::bank::payments::Outcome;
use crate::payment::{Row, State};
use crate::rows::{self, Letter};
use crate::wasmcloud::messaging::consumer;
use crate::wasmcloud::messaging::types::BrokerMessage;

/// How many messages are taken out of the outbox together.
const BATCH: u64 = 50;

/// How many batches one firing sends; the next one is a second away.
const BATCHES: usize = 20;

/// What a payment that came to this end is to be followed by.
pub(crate) fn letters(row: &Row, outcome: Outcome, payee: &str) -> Vec<Letter> {
    let Row { debit, credit, amount, reference, .. } = row;
    let to_payer = match outcome {
        Outcome::Posted => format!("{amount} went from {debit} to {credit}: {reference}"),
        Outcome::Refused(_) => {
            format!("{amount} did not go from {debit} to {credit}: {}", State::Final(outcome).name())
        }
    };
    let mut letters = vec![letter(row, "payer", &row.payer, &to_payer)];
    if matches!(outcome, Outcome::Posted) {
        let to_payee = format!("{amount} came from {debit} to {credit}: {reference}");
        letters.push(letter(row, "payee", payee, &to_payee));
    }
    letters
}

fn letter(row: &Row, side: &str, user: &str, text: &str) -> Letter {
    let id = format!("{}-{side}", row.id);
    let body = json!({ "id": id, "user": user, "text": text }).to_string();
    Letter { id, subject: format!("bank.notices.{user}"), body }
}

/// Sends what is in the outbox, oldest first, until it is empty or the time of one firing is used up.
///
/// # Errors
/// If the broker does not take a message; those before it are sent and taken out.
pub(crate) fn drain() -> Result<(), Fault> {
    for _ in 0..BATCHES {
        let mut batch = rows::letters(BATCH)?;
        if batch.is_empty() {
            break;
        }
        let failed = batch.iter().enumerate().find_map(|(at, letter)| Some((at, send(letter).err()?)));
        batch.truncate(failed.as_ref().map_or(batch.len(), |(at, _)| *at));
        if !batch.is_empty() {
            rows::remove(&batch)?;
        }
        if let Some((_, fault)) = failed {
            return Err(fault);
        }
    }
    Ok(())
}

fn send(letter: &Letter) -> Result<(), Fault> {
    let Letter { subject, body, .. } = letter;
    let message = BrokerMessage { subject: subject.clone(), body: body.clone().into_bytes(), reply_to: None };
    consumer::publish(&message).map_err(|reason| Fault::Unavailable(format!("the broker: {reason}")))
}
