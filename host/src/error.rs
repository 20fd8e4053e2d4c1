//! The error of this crate.

/// What failed, for those who act on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// Bytes that are no component, or one that is over a limit or uses what is not supported.
    Component,
    /// An import is not granted, not linked, or of a kind that cannot be provided; an issuer is not trusted.
    Refused,
    /// The thing named is not there.
    NotFound,
    /// Something outside failed: the disk, the broker, a registry.
    Unavailable,
    /// A setting is wrong.
    Config,
}

/// An error: a kind to match on, a message that names the thing and the way out, and where it came from.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    kind: ErrorKind,
    message: String,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl Error {
    /// An error of `kind`.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), source: None }
    }

    /// The same with its cause.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// To match on.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }
}

/// The result of most functions here.
pub type Result<T, E = Error> = std::result::Result<T, E>;
