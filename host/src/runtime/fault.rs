//! How what ends a guest's execution becomes the error that its caller sees.

use trellis_lattice::error::{CallError, CallErrorKind};

use super::store::Guest;

/// The deadline passed while guest code ran.
#[derive(Debug, thiserror::Error)]
#[error("the deadline passed while guest code ran")]
pub(crate) struct OutOfTime;

/// What the caller of `guest` sees of `error`: the kind and, of a trap, its code. The rest goes to the log, but for what
/// comes so often that it would flood it.
///
/// A host function that fails a guest's call with a [`CallError`] ends the guest; its kind is what the caller gets,
/// unless that kind promises that nothing happened: the guest did run.
pub(crate) fn call_error(guest: &Guest, error: &wasmtime::Error) -> CallError {
    let actor = &guest.id;
    if let Some(inner) = error.downcast_ref::<CallError>() {
        let kind = match inner.kind {
            _ if inner.is_retryable() => CallErrorKind::Provider,
            kind => kind,
        };
        return CallError::new(kind, format!("a call of {actor} failed: {}", inner.message));
    }
    if error.is::<OutOfTime>() {
        return CallError::deadline(format!("{actor} did not answer in time"));
    }
    if error.is::<wasmtime::PoolConcurrencyLimitError>() {
        if let Some(left_out) = guest.faults.admit() {
            tracing::warn!(actor_id = %actor, error = %error, left_out, "pool of instances was full");
        }
        let retry_after = std::time::Duration::from_millis(100);
        return CallError::overloaded(format!("this host has no room for another instance of {actor}"), retry_after);
    }
    if let Some(left_out) = guest.faults.admit() {
        tracing::warn!(actor_id = %actor, error = ?error, left_out, "actor trapped");
    }
    match error.downcast_ref::<wasmtime::Trap>() {
        Some(trap) => CallError::trap(format!("{actor} trapped: {trap}")),
        None => CallError::trap(format!("{actor} trapped")),
    }
}
