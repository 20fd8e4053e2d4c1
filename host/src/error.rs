//! The error of this crate.

use trellis_lattice::error::Failure;

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

/// An error of this crate.
pub type Error = Failure<ErrorKind>;

/// The result of most functions here.
pub type Result<T, E = Error> = std::result::Result<T, E>;
