//! Why the catalog refuses.

use trellis_lattice::error::Error;

/// What kind of refusal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RefusalKind {
    /// There is no such application or version.
    NotFound,
    /// It makes no sense as things are.
    Conflict,
    /// Something else was deployed meanwhile.
    Overtaken,
    /// The disk failed.
    Store,
}

/// A refusal: names the thing and the way out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Refusal {
    kind: RefusalKind,
    message: String,
}

impl Refusal {
    /// To match on.
    pub fn kind(&self) -> RefusalKind {
        self.kind
    }

    pub(super) fn not_found(message: impl Into<String>) -> Self {
        Self { kind: RefusalKind::NotFound, message: message.into() }
    }

    pub(super) fn conflict(message: impl Into<String>) -> Self {
        Self { kind: RefusalKind::Conflict, message: message.into() }
    }

    pub(super) fn overtaken(message: impl Into<String>) -> Self {
        Self { kind: RefusalKind::Overtaken, message: message.into() }
    }

    pub(super) fn store(error: Error) -> Self {
        Self { kind: RefusalKind::Store, message: error.to_string() }
    }
}
