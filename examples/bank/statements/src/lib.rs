//! Statements of accounts: text, made from the ledger, kept in a blob store. Those of months that are over are written by a
//! timer on the first of the next, and stay as they are; others are written anew each time they are read.

mod archive;
mod month;
mod text;

use std::time::{SystemTime, UNIX_EPOCH};

use demo::bank::accounts;
use demo::bank::types::Fault;
use exports::demo::bank::statements::Guest;
use exports::trellis::timer::handler::{self, Tick};
use month::Month;

wit_bindgen::generate!({
    world: "demo:bank-statements/statements",
    path: ["../../wit/wasi-0.2", "../../../interfaces/wit/timer", "../wit", "wit"],
    generate_all,
});

struct Statements;

impl Guest for Statements {
    fn statement(account: String, month: Option<String>) -> Result<String, Fault> {
        let month = match month {
            Some(text) => text.parse().map_err(Fault::Invalid)?,
            None => Month::of(now_ms()),
        };
        if accounts::find(&account)?.is_none() {
            return Err(Fault::Invalid(format!("there is no account {account}")));
        }
        statement(&account, month)
    }
}

impl handler::Guest for Statements {
    fn fire(event: Tick) -> Result<(), String> {
        let before = Month::of(event.scheduled_ms).before();
        let write = || accounts::owned(None)?.iter().try_for_each(|account| statement(&account.id, before).map(drop));
        write().map_err(|fault: Fault| format!("{fault:?}"))
    }
}

/// How long after its end a month is closed, in milliseconds: a transfer of its last moment may be written later than that, by a
/// host whose clock is behind. The timer waits for five minutes.
const CLOSED_AFTER_MS: u64 = 4 * 60 * 1_000;

/// The statement that is kept if its month is closed, else a new one.
fn statement(account: &str, month: Month) -> Result<String, Fault> {
    let name = format!("{account}/{month}.txt");
    let is_closed = month.span().to_ms + CLOSED_AFTER_MS <= now_ms();
    if is_closed && let Some(kept) = archive::read(&name)? {
        return Ok(kept);
    }
    let text = text::write(account, month)?;
    archive::write(&name, &text)?;
    Ok(text)
}

fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

export!(Statements);
