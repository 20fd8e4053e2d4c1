//! What went wrong on a server, in words for who has to do something about it.

use ::redis::{ErrorKind, RedisError};
use trellis_provider_sdk::{CallError, CallErrorKind};

use super::connection::Effect;
use crate::backend::{Failure, number};

/// What a server does that does not know us.
const REFUSED: &str = "refuses the user name or password of the link";

/// Sorts an error of `server`; `key` is the one that was to be incremented.
pub(super) fn failure(server: &str, error: &RedisError, effect: Effect, key: Option<&str>) -> Failure {
    let detail = error.detail().unwrap_or_default();
    if let Some(key) = key.filter(|_| error.code() == Some("ERR")) {
        if detail.contains("not an integer") {
            return number::no_number(key).into();
        }
        if detail.contains("overflow") {
            return number::no_room(key).into();
        }
    }
    match error.code() {
        Some("OOM") => return Failure::refused(format!("redis at {server} is full: it reached its `maxmemory`")),
        Some("WRONGTYPE") => return Failure::refused(format!("that key on redis at {server} is no string")),
        Some("MISCONF") => return Failure::refused(format!("redis at {server} cannot write to its disk")),
        Some("READONLY") => return Failure::refused(format!("redis at {server} is a replica and takes no writes")),
        Some("NOAUTH" | "NOPERM" | "WRONGPASS") => {
            return CallError::denied(format!("redis at {server} {}", reason(error))).into();
        }
        _ => {}
    }
    let message = format!("redis at {server} {}", reason(error));
    Failure::Call(match effect {
        // Nothing was sent.
        _ if error.is_connection_refusal() => CallError::no_target(message),
        Effect::Write if error.is_connection_dropped() || error.kind() == ErrorKind::Parse => {
            CallError::new(CallErrorKind::UnknownOutcome, message)
        }
        Effect::Read | Effect::Write => CallError::provider(message),
    })
}

/// What an error says, without what may be data.
pub(super) fn reason(error: &RedisError) -> String {
    match error.kind() {
        ErrorKind::AuthenticationFailed => REFUSED.to_owned(),
        _ if matches!(error.code(), Some("NOAUTH" | "WRONGPASS")) => REFUSED.to_owned(),
        ErrorKind::Parse | ErrorKind::UnexpectedReturnType => "answers what is not the protocol of Redis".to_owned(),
        ErrorKind::Io if error.is_connection_refusal() => "cannot be reached: connection refused".to_owned(),
        ErrorKind::Io if error.is_timeout() => "cannot be reached in time".to_owned(),
        ErrorKind::Io => format!("cannot be reached, or closed the connection: {error}"),
        _ => match (error.code(), error.detail()) {
            (Some(code), Some(detail)) => format!("refuses: {code} {detail}"),
            (Some(code), None) => format!("refuses: {code}"),
            _ => format!("failed: {}", error.category()),
        },
    }
}
