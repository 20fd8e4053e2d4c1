//! What the instances of a provider share, wherever in the lattice they run: a few small records.

use async_trait::async_trait;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// Why a record was not read or written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum RecordError {
    /// Another instance was first: read it again.
    #[error("another instance has written the record")]
    Conflict,
    /// The lattice's store does not answer. A write may have happened.
    #[error("records of the lattice are unavailable: {0}")]
    Unavailable(String),
}

/// A record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// What was written.
    pub value: Bytes,
    /// Another one after each write, never 0.
    pub revision: u64,
}

/// Records that all instances of one provider see and no other provider. They are in the lattice's store, which is
/// meant for decisions and not for data: write seldom, some kilobytes at most. Every call ends within seconds.
#[async_trait]
pub trait Records: Send + Sync + 'static {
    /// The record at `key`, which is any text.
    ///
    /// # Errors
    /// `Unavailable`.
    async fn read(&self, key: &str) -> Result<Option<Record>, RecordError>;

    /// Writes if the revision there is `expected` (none: if there is no record), and gives the new one. Of several
    /// instances that expect the same, one succeeds.
    ///
    /// # Errors
    /// `Conflict` when it is not; `Unavailable`.
    async fn write(&self, key: &str, value: Bytes, expected: Option<u64>) -> Result<u64, RecordError>;
}
