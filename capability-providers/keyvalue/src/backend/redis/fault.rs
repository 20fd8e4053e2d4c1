//! What went wrong on a server, in words for who has to do something about it.

use ::redis::{ErrorKind, RedisError};
use trellis_provider_sdk::{CallError, CallErrorKind};

use super::connection::Effect;
use crate::backend::{Failure, number};

/// What a server does that does not know us.
const REFUSED: &str = "refuses the user name or password of the link";

/// What a server said of the command that failed, or of the first one of several: the code, and more.
pub(super) fn said(error: &RedisError) -> Option<(String, String)> {
    let errors = error.clone().into_server_errors()?;
    let (_, first) = errors.first()?;
    Some((first.code().to_owned(), first.details().unwrap_or_default().to_owned()))
}

/// Whether a server said that it does not know us.
pub(super) fn is_refused(error: &RedisError) -> bool {
    error.kind() == ErrorKind::AuthenticationFailed
        || said(error).is_some_and(|(code, _)| matches!(code.as_str(), "NOAUTH" | "WRONGPASS"))
}

/// Sorts an error of `server`; `key` is the one that was to be incremented.
pub(super) fn failure(server: &str, error: &RedisError, effect: Effect, key: Option<&str>) -> Failure {
    let (code, detail) = said(error).unwrap_or_default();
    if let Some(key) = key.filter(|_| code == "ERR") {
        if detail.contains("not an integer") {
            return number::no_number(key).into();
        }
        if detail.contains("overflow") {
            return number::no_room(key).into();
        }
    }
    match code.as_str() {
        "OOM" => return Failure::refused(format!("redis at {server} is full: it reached its `maxmemory`")),
        "WRONGTYPE" => return Failure::refused(format!("that key on redis at {server} is no string")),
        "MISCONF" => return Failure::refused(format!("redis at {server} cannot write to its disk")),
        "READONLY" => return Failure::refused(format!("redis at {server} is a replica and takes no writes")),
        "NOAUTH" | "NOPERM" | "WRONGPASS" => {
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
        _ if is_refused(error) => REFUSED.to_owned(),
        ErrorKind::Parse | ErrorKind::UnexpectedReturnType => "answers what is not the protocol of Redis".to_owned(),
        ErrorKind::Io if error.is_connection_refusal() => "cannot be reached: connection refused".to_owned(),
        ErrorKind::Io if error.is_timeout() => "cannot be reached in time".to_owned(),
        ErrorKind::Io => format!("cannot be reached, or closed the connection: {error}"),
        _ => match said(error) {
            Some((code, detail)) => format!("refuses: {code} {detail}"),
            None => format!("failed: {}", error.category()),
        },
    }
}
