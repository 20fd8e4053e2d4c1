//! How a request fails: what the actor is told as the contract has it, and what the call fails with.

use trellis_provider_sdk::CallError;

/// Why there is no result.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The request cannot be done: the actor is told why. The backend is well.
    Refused(String),
    /// The backend, or the body of the call, failed.
    Call(CallError),
}

impl Failure {
    /// There is no such container.
    pub(crate) fn no_container(name: &str) -> Self {
        Self::Refused(format!("there is no container {name:?}"))
    }

    /// There is no such object.
    pub(crate) fn no_object(name: &str) -> Self {
        Self::Refused(format!("there is no object {name:?}"))
    }
}

impl From<CallError> for Failure {
    fn from(error: CallError) -> Self {
        Self::Call(error)
    }
}

/// The result of what a backend does.
pub(crate) type Result<T> = std::result::Result<T, Failure>;
