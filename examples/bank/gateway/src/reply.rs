//! What a request is answered with, and what services' answers become.

use serde_json::{Value, json};

use crate::demo::bank::payments::{self, Outcome, Payment, Refusal};
use crate::demo::bank::types::Fault;
use crate::wasi::logging::logging::{Level, log};

/// An answer.
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) content_type: &'static str,
    pub(crate) body: String,
}

impl Reply {
    pub(crate) fn json(status: u16, value: &Value) -> Self {
        Self { status, content_type: "application/json", body: format!("{value}\n") }
    }

    pub(crate) fn text(text: String) -> Self {
        Self { status: 200, content_type: "text/plain; charset=utf-8", body: text }
    }

    pub(crate) fn page(html: &str) -> Self {
        Self { status: 200, content_type: "text/html; charset=utf-8", body: html.to_owned() }
    }

    /// A refusal: `error` is for programs, `reason` for people.
    pub(crate) fn refused(status: u16, error: &str, reason: &str) -> Self {
        Self::json(status, &json!({ "error": error, "reason": reason }))
    }

    pub(crate) fn unknown_account() -> Self {
        Self::refused(404, "unknown-account", "there is no such account")
    }

    pub(crate) fn forbidden() -> Self {
        Self::refused(403, "forbidden", "this is not for you")
    }

    /// What came of a payment. A refusal is as final as success: the same key is answered with the same.
    pub(crate) fn payment(paid: Result<Payment, payments::Error>) -> Self {
        match paid {
            Ok(Payment { id, outcome: Outcome::Posted }) => Self::json(201, &json!({ "id": id, "state": "posted" })),
            Ok(Payment { id, outcome: Outcome::Refused(refusal) }) => {
                let (status, error) = refused_payment(refusal);
                Self::json(status, &json!({ "id": id, "state": "refused", "error": error }))
            }
            Err(payments::Error::KeyReused) => {
                Self::refused(409, "key-reused", "the key was used for a payment that says something else")
            }
            Err(payments::Error::Fault(fault)) => fault.into(),
        }
    }
}

fn refused_payment(refusal: Refusal) -> (u16, &'static str) {
    match refusal {
        Refusal::InsufficientFunds => (422, "insufficient-funds"),
        Refusal::UnknownAccount => (422, "unknown-account"),
        Refusal::NotYours => (403, "not-yours"),
        Refusal::LimitExceeded => (422, "limit-exceeded"),
        Refusal::TooMany => (422, "too-many"),
    }
}

impl From<Fault> for Reply {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Invalid(reason) => Self::refused(400, "invalid", &reason),
            Fault::Unavailable(reason) => {
                // The reason names what is inside; who calls is told to come again.
                log(Level::Warn, "gateway", &format!("a service is away: {reason}"));
                Self::refused(503, "unavailable", "something is away; the same request may be sent again")
            }
        }
    }
}
