//! The two errors of this crate: [`CallError`], which travels, and [`Error`], which does not.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// What kind of failure a call ended with. The kinds are on the wire (PROTOCOL.md): add, never reorder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CallErrorKind {
    /// Nobody runs the target, or nothing is linked.
    NoTarget,
    /// No link or grant allows this call, or its seal is wrong.
    Denied,
    /// Both ends name the interface, but its type differs.
    Contract,
    /// The time was over before a result was there.
    Deadline,
    /// The target has no room; try again after the given time.
    Overloaded,
    /// The guest trapped.
    Trap,
    /// A frame, body or value is over its limit.
    TooLarge,
    /// The caller left.
    Cancelled,
    /// The call was sent and its outcome was lost: it may or may not have taken effect.
    UnknownOutcome,
    /// The target ran and reports a failure of its own.
    Provider,
    /// The target was not called, because calls to it kept failing; try again after the given time.
    BreakerOpen,
}

/// How a call failed, as its caller sees it, wherever the target ran.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct CallError {
    /// To match on.
    pub kind: CallErrorKind,
    /// For people; names the thing. Carries no secret and no guest data.
    pub message: String,
    /// With `Overloaded` and `BreakerOpen`: when to try again.
    pub retry_after: Option<Duration>,
}

impl CallError {
    /// An error of `kind`.
    pub fn new(kind: CallErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), retry_after: None }
    }

    /// `NoTarget`.
    pub fn no_target(message: impl Into<String>) -> Self {
        Self::new(CallErrorKind::NoTarget, message)
    }

    /// `Denied`.
    pub fn denied(message: impl Into<String>) -> Self {
        Self::new(CallErrorKind::Denied, message)
    }

    /// `Deadline`.
    pub fn deadline(message: impl Into<String>) -> Self {
        Self::new(CallErrorKind::Deadline, message)
    }

    /// `Overloaded`, to be tried again after `retry_after`.
    pub fn overloaded(message: impl Into<String>, retry_after: Duration) -> Self {
        Self { kind: CallErrorKind::Overloaded, message: message.into(), retry_after: Some(retry_after) }
    }

    /// `BreakerOpen`, to be tried again after `retry_after`.
    pub fn breaker_open(message: impl Into<String>, retry_after: Duration) -> Self {
        Self { kind: CallErrorKind::BreakerOpen, message: message.into(), retry_after: Some(retry_after) }
    }

    /// `Trap`.
    pub fn trap(message: impl Into<String>) -> Self {
        Self::new(CallErrorKind::Trap, message)
    }

    /// `TooLarge`.
    pub fn too_large(message: impl Into<String>) -> Self {
        Self::new(CallErrorKind::TooLarge, message)
    }

    /// `Provider`.
    pub fn provider(message: impl Into<String>) -> Self {
        Self::new(CallErrorKind::Provider, message)
    }

    /// `Contract`.
    pub fn contract(message: impl Into<String>) -> Self {
        Self::new(CallErrorKind::Contract, message)
    }

    /// Whether the call had no effect, so that sending it again is safe even if it is not idempotent.
    pub fn is_retryable(&self) -> bool {
        matches!(self.kind, CallErrorKind::NoTarget | CallErrorKind::Overloaded | CallErrorKind::BreakerOpen)
    }
}

/// What failed in this crate, outside of calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// The broker cannot be reached, or the connection is lost.
    Disconnected,
    /// The broker refuses who we are.
    Unauthorized,
    /// Nobody listens on that subject.
    NoResponders,
    /// No answer in time.
    Timeout,
    /// The store holds another revision than the one expected.
    Conflict,
    /// The store's file is held by another process.
    Locked,
    /// Bytes or text that are not what they should be.
    Malformed,
    /// A key, token or claim that does not hold.
    Untrusted,
    /// A host refused a command, or it failed there.
    Refused,
    /// Over a limit.
    TooLarge,
    /// The operating system or a library failed.
    Io,
}

/// An error of this crate.
pub type Error = Failure<ErrorKind>;

/// An error: a kind to match on, a message that names the thing and the way out, and where it came from.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct Failure<K> {
    kind: K,
    message: String,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl<K: Copy> Failure<K> {
    /// An error of `kind`.
    pub fn new(kind: K, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), source: None }
    }

    /// The same with its cause.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// To match on.
    pub fn kind(&self) -> K {
        self.kind
    }
}

/// The result of most functions here.
pub type Result<T, E = Error> = std::result::Result<T, E>;
