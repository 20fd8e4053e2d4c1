//! Where keys and values are: what every backend can do, and which one a link has.

use async_trait::async_trait;
use bytes::Bytes;
use trellis_interfaces::keyvalue::{Error, KeyResponse, Snapshot, Swapped, Value};
use trellis_provider_sdk::{CallError, LinkError};

use crate::scope::Bucket;
use crate::watcher::Watcher;

mod number;

mod embedded;
mod nats;
mod redis;

mod backends;

pub(crate) use backends::Backends;
pub(crate) use number::Delta;

/// A store as one link has it. Keys and values are within the limits of `scope` when they come here; how long a call
/// may take is up to the caller, who drops the future then.
#[async_trait]
pub(crate) trait Backend: Send + Sync + 'static {
    /// The value of a key.
    async fn get(&self, bucket: &Bucket, key: &str) -> Result<Option<Value>, Failure>;

    /// Whether a key is there.
    async fn exists(&self, bucket: &Bucket, key: &str) -> Result<bool, Failure>;

    /// A page of keys, after `cursor`. A key that is there all the time is on one of the pages.
    async fn list(&self, bucket: &Bucket, cursor: Option<u64>) -> Result<KeyResponse, Failure>;

    /// The values of keys, in their order.
    async fn get_many(&self, bucket: &Bucket, keys: &[String]) -> Result<Vec<Option<Value>>, Failure>;

    /// Writes values; a later one wins over an earlier one with the same key.
    async fn set_many(&self, bucket: &Bucket, items: Vec<(String, Value)>) -> Result<(), Failure>;

    /// Removes keys, whether or not they are there.
    async fn delete_many(&self, bucket: &Bucket, keys: Vec<String>) -> Result<(), Failure>;

    /// Adds to a number, which is decimal text; says what is there then.
    async fn increment(&self, bucket: &Bucket, key: &str, delta: Delta) -> Result<i128, Failure>;

    /// The value of a key, with a version to swap it by.
    async fn snapshot(&self, bucket: &Bucket, key: &str) -> Result<Option<Snapshot>, Failure>;

    /// Writes a value if what is there has that version; without a version, if nothing is there.
    async fn swap(&self, bucket: &Bucket, key: &str, version: Option<Bytes>, value: Value) -> Result<Swapped, Failure>;

    /// Whether [`Backend::watch`] can work.
    async fn check_watch(&self) -> Result<(), LinkError>;

    /// Tells `watcher` what changes in `bucket`, until the future is dropped. Takes up again by itself.
    async fn watch(&self, bucket: Bucket, watcher: Watcher);
}

/// Why a call came to nothing.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The actor is told, in the contract's own terms.
    Refused(Error),
    /// The backend is at fault: the call fails.
    Call(CallError),
}

impl Failure {
    /// What a caller asked for cannot be; says why.
    pub(crate) fn refused(message: impl Into<String>) -> Self {
        Self::Refused(Error::Other(message.into()))
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Refused(error)
    }
}

impl From<CallError> for Failure {
    fn from(error: CallError) -> Self {
        Self::Call(error)
    }
}
