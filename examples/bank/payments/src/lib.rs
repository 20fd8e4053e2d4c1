//! Payments: each is a row that goes from state to state, and whoever asks again with the same key goes on where it was.
//!
//! Nothing is kept here between calls. What was begun and not finished, because a host or the database was lost in
//! between, is finished or refused by the payer's next try or by the timer `recover`, whichever comes first. What is to be
//! said about a payment is written with its last state, in one transaction, and sent by the timer `outbox`.

mod flow;
mod outbox;
mod payment;
mod rows;
#[path = "../../sql.rs"]
mod sql;

use std::time::{SystemTime, UNIX_EPOCH};

use demo::bank::types::Fault;
use exports::demo::bank::payments::{self, Order, Payment};
use exports::trellis::timer::handler::{self, Tick};

wit_bindgen::generate!({
    world: "demo:bank-payments/payments",
    path: [
        "../../../interfaces/wit/sql",
        "../../../interfaces/wit/messaging",
        "../../../interfaces/wit/timer",
        "../wit",
        "wit",
    ],
    generate_all,
});

struct Payments;

impl payments::Guest for Payments {
    fn pay(order: Order) -> Result<Payment, payments::Error> {
        flow::pay(&order)
    }
}

impl handler::Guest for Payments {
    fn fire(event: Tick) -> Result<(), String> {
        match event.name.as_str() {
            "outbox" => outbox::drain(),
            "recover" => flow::recover(now_ms()),
            other => Err(Fault::Invalid(format!("there is no timer {other}"))),
        }
        .map_err(|fault| format!("{fault:?}"))
    }
}

/// Milliseconds since 1970.
fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

export!(Payments);
