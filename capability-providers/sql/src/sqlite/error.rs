//! Errors of SQLite in the terms of the contract, with the SQLSTATE that is nearest.

use rusqlite::ErrorCode;
use rusqlite::ffi;
use trellis_interfaces::sql::{ConstraintKind, Error, Fault, Violation};

use crate::deadline::over;

/// The error that an actor sees.
pub(super) fn of(error: rusqlite::Error) -> Error {
    match error {
        rusqlite::Error::SqliteFailure(failure, message) => {
            let message = message.unwrap_or_else(|| failure.to_string());
            failed(failure, message)
        }
        rusqlite::Error::SqlInputError { error, msg, .. } => failed(error, msg),
        rusqlite::Error::MultipleStatement => invalid("it is more than one statement".to_owned(), "42601"),
        other => invalid(other.to_string(), "42601"),
    }
}

fn failed(failure: ffi::Error, message: String) -> Error {
    match failure.code {
        ErrorCode::ConstraintViolation => constraint(failure.extended_code, message),
        ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked | ErrorCode::SchemaChanged => {
            Error::Conflict(fault(message, "40001"))
        }
        ErrorCode::OperationInterrupted => over("the statement ran"),
        ErrorCode::ReadOnly | ErrorCode::AuthorizationForStatementDenied => Error::Denied(message),
        ErrorCode::TooBig => Error::Limit(message),
        ErrorCode::DiskFull => Error::Other(fault(message, "53100")),
        ErrorCode::CannotOpen
        | ErrorCode::DatabaseCorrupt
        | ErrorCode::NotADatabase
        | ErrorCode::SystemIoFailure
        | ErrorCode::PermissionDenied => Error::Unavailable(message),
        ErrorCode::TypeMismatch | ErrorCode::ParameterOutOfRange => invalid(message, "22P02"),
        _ if failure.extended_code & 0xff == ffi::SQLITE_ERROR => invalid(message, "42601"),
        _ => Error::Other(fault(message, "XX000")),
    }
}

fn constraint(extended_code: std::ffi::c_int, message: String) -> Error {
    let (kind, code) = match extended_code {
        ffi::SQLITE_CONSTRAINT_UNIQUE | ffi::SQLITE_CONSTRAINT_PRIMARYKEY | ffi::SQLITE_CONSTRAINT_ROWID => {
            (ConstraintKind::Unique, "23505")
        }
        ffi::SQLITE_CONSTRAINT_FOREIGNKEY => (ConstraintKind::ForeignKey, "23503"),
        ffi::SQLITE_CONSTRAINT_NOTNULL => (ConstraintKind::NotNull, "23502"),
        ffi::SQLITE_CONSTRAINT_CHECK => (ConstraintKind::Check, "23514"),
        _ => (ConstraintKind::Other, "23000"),
    };
    let name = message.split_once("constraint failed: ").map(|(_, name)| name.to_owned());
    Error::Constraint(Violation { kind, name, fault: fault(message, code) })
}

fn invalid(message: String, code: &str) -> Error {
    Error::Invalid(fault(message, code))
}

fn fault(message: String, code: &str) -> Fault {
    Fault { message, code: Some(code.to_owned()), step: None }
}
