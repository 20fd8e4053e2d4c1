//! Whether a payment looks right: limits on what a payer moves at once, and on how much and how often within a window of
//! time. Counters are in a key-value store and are added to atomically, so that any number of instances share them.
//!
//! What was said of a payment is kept under its id. One that is asked about again, after a crash, gets the same answer
//! and is not counted again. Should two ask at the same moment, or a host be lost in between, it may count twice: the
//! limit errs on the side of the bank.

mod limits;
mod sweep;

use std::time::{SystemTime, UNIX_EPOCH};

use demo::bank::types::Fault;
use exports::demo::bank::fraud::{Attempt, Guest, Verdict};
use exports::trellis::timer::handler::{self, Tick};
use limits::Limits;
use wasi::keyvalue::atomics::increment;
use wasi::keyvalue::store::{self, Bucket};

wit_bindgen::generate!({
    world: "demo:bank-fraud/fraud",
    path: [
        "../../wit/wasi-0.2",
        "../../../interfaces/wit/config-0.2.0-draft",
        "../../../interfaces/wit/timer",
        "../wit",
        "wit",
    ],
    generate_all,
});

struct Fraud;

impl Guest for Fraud {
    fn judge(attempt: Attempt) -> Result<Verdict, Fault> {
        let limits = Limits::read()?;
        judge(&attempt, &limits, limits.window(now_seconds())).map_err(away)
    }
}

impl handler::Guest for Fraud {
    fn fire(_: Tick) -> Result<(), String> {
        let limits = Limits::read().map_err(|fault| format!("{fault:?}"))?;
        sweep::before(limits.window(now_seconds())).map_err(|error| error.to_string())
    }
}

fn judge(attempt: &Attempt, limits: &Limits, window: u64) -> Result<Verdict, store::Error> {
    let bucket = store::open("default")?;
    let key = format!("verdict/{window}/{}", attempt.payment);
    // One that was asked about in the window before may be asked about again in this one.
    let earlier = format!("verdict/{}/{}", window.saturating_sub(1), attempt.payment);
    for key in [&key, &earlier] {
        if let Some(verdict) = bucket.get(key)?.and_then(|bytes| verdict(&bytes)) {
            return Ok(verdict);
        }
    }
    let verdict = count(attempt, limits, window, &bucket)?;
    bucket.set(&key, text(verdict).as_bytes())?;
    Ok(verdict)
}

fn count(attempt: &Attempt, limits: &Limits, window: u64, bucket: &Bucket) -> Result<Verdict, store::Error> {
    if attempt.amount > limits.single {
        return Ok(Verdict::LimitExceeded);
    }
    let payer = &attempt.payer;
    if increment(bucket, &format!("count/{window}/{payer}"), 1)? > limits.payments {
        return Ok(Verdict::TooMany);
    }
    if increment(bucket, &format!("sum/{window}/{payer}"), attempt.amount)? > limits.sum {
        return Ok(Verdict::LimitExceeded);
    }
    Ok(Verdict::Fine)
}

const TEXTS: [(Verdict, &str); 3] =
    [(Verdict::Fine, "fine"), (Verdict::LimitExceeded, "limit-exceeded"), (Verdict::TooMany, "too-many")];

fn text(verdict: Verdict) -> &'static str {
    TEXTS.iter().find(|(known, _)| *known == verdict).map(|(_, text)| *text).expect("each verdict has a text")
}

fn verdict(bytes: &[u8]) -> Option<Verdict> {
    TEXTS.iter().find(|(_, text)| text.as_bytes() == bytes).map(|(verdict, _)| *verdict)
}

fn away(error: store::Error) -> Fault {
    Fault::Unavailable(format!("the counters: {error}"))
}

fn now_seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

export!(Fraud);
