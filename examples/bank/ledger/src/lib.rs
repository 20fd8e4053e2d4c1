//! The ledger: double entry in an SQL database. A transfer is two postings that cancel out and two balances that change,
//! in one transaction; its id is unique, so that it happens once.
//!
//! What is decided about a transfer stands beside it, refusals too: whoever asks again gets the same answer, even if there
//! is money by now. That no account but the bank's own goes below 0 is a constraint of the table, which the migration in
//! the manifest makes; no look before the change could promise that.

mod books;
mod journal;
#[path = "../../sql.rs"]
mod sql;

use demo::bank::types::Fault;
use exports::demo::bank::books::{Entry, Mark, Report, Span};
use exports::demo::bank::journal::{Transfer, Verdict};

wit_bindgen::generate!({
    world: "demo:bank-ledger/ledger",
    path: ["../../../interfaces/wit/sql", "../wit", "wit"],
    generate_all,
});

struct Ledger;

impl exports::demo::bank::chart::Guest for Ledger {
    fn open(account: String) -> Result<(), Fault> {
        journal::open(account)
    }
}

impl exports::demo::bank::journal::Guest for Ledger {
    fn post(transfer: Transfer) -> Result<Verdict, Fault> {
        journal::post(&transfer)
    }
}

impl exports::demo::bank::books::Guest for Ledger {
    fn balance(account: String) -> Result<Option<i64>, Fault> {
        books::balance(account)
    }

    fn entries(account: String, span: Span, after: Option<Mark>) -> Result<Vec<Entry>, Fault> {
        books::entries(account, span, after)
    }

    fn check() -> Result<Report, Fault> {
        books::check()
    }
}

export!(Ledger);
