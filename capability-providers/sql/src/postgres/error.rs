//! Errors of PostgreSQL in the terms of the contract.

use std::error::Error as _;

use tokio_postgres::error::DbError;
use trellis_interfaces::sql::{ConstraintKind, Error, Fault, Violation};

use super::run::Phase;
use crate::deadline::over;

/// The code of a statement that was prepared before its tables changed.
pub(super) const STALE_STATEMENT: &str = "0A000";

/// The error that an actor sees.
pub(super) fn of(error: &tokio_postgres::Error, phase: Phase) -> Error {
    match error.as_db_error() {
        Some(error) => told(error, phase),
        None if error.is_closed() => lost("the connection was lost", phase),
        None => match error.source() {
            Some(source) => {
                let text = format!("{error}: {source}");
                if source.downcast_ref::<std::io::Error>().is_some() { lost(&text, phase) } else { other(text) }
            }
            None => other(error.to_string()),
        },
    }
}

/// `error` of the only statement, which is no step of anything.
pub(super) fn of_no_step(mut error: Error) -> Error {
    match &mut error {
        Error::Invalid(fault) | Error::Conflict(fault) | Error::Other(fault) => fault.step = None,
        Error::Constraint(violation) => violation.fault.step = None,
        _ => {}
    }
    error
}

fn lost(text: &str, phase: Phase) -> Error {
    match phase {
        Phase::Harmless => Error::Unavailable(text.to_owned()),
        Phase::Change => Error::UnknownOutcome(text.to_owned()),
    }
}

fn other(message: String) -> Error {
    Error::Other(Fault { message, code: None, step: None })
}

fn told(error: &DbError, phase: Phase) -> Error {
    let code = error.code().code();
    let message = error.message().to_owned();
    let fault = || Fault { message: message.clone(), code: Some(code.to_owned()), step: None };
    match code {
        "57014" => over("the statement ran"),
        "25P03" => Error::NoTransaction,
        "42501" | "25006" | "28000" | "28P01" => Error::Denied(message),
        STALE_STATEMENT if message.contains("cached plan") => Error::Conflict(fault()),
        "40001" | "40P01" | "55P03" => Error::Conflict(fault()),
        // It ended while it worked for us.
        "57P01" | "57P02" => lost(&message, phase),
        "57P03" | "53300" => Error::Unavailable(message),
        "54000" | "54001" | "54011" | "54023" => Error::Limit(message),
        _ => match code.get(..2) {
            Some("23") => Error::Constraint(Violation { kind: kind(code), name: name(error), fault: fault() }),
            Some("08") => lost(&message, phase),
            Some("42" | "22" | "0A" | "21" | "3D" | "3F") => Error::Invalid(fault()),
            _ => Error::Other(fault()),
        },
    }
}

fn kind(code: &str) -> ConstraintKind {
    match code {
        "23505" => ConstraintKind::Unique,
        "23503" => ConstraintKind::ForeignKey,
        "23502" => ConstraintKind::NotNull,
        "23514" => ConstraintKind::Check,
        "23P01" => ConstraintKind::Exclusion,
        _ => ConstraintKind::Other,
    }
}

fn name(error: &DbError) -> Option<String> {
    error.constraint().or(error.column()).map(str::to_owned)
}
