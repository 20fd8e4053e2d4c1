//! Where the lattice keeps links, configs and claims: the [`Store`] trait, on JetStream ([`jetstream`]), in a file
//! ([`embedded`]) or in memory ([`memory`]). One key per record, written by compare-and-swap.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use async_trait::async_trait;
use bytes::Bytes;
use futures::Stream;

use crate::error::{Error, ErrorKind, Result};

pub mod embedded;
mod feed;
pub mod file;
pub mod jetstream;
pub mod late;
pub mod memory;

/// A key: 1 to 255 characters of `[A-Za-z0-9_=/.-]`, no leading, trailing or double dot.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key(Arc<str>);

impl Key {
    /// Parses `text`.
    pub fn parse(text: &str) -> Result<Self> {
        let is_valid = (1..=255).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"_=/.-".contains(&b))
            && !text.starts_with('.')
            && !text.ends_with('.')
            && !text.contains("..");
        if !is_valid {
            let shown: String = text.chars().take(64).collect();
            return Err(Error::new(ErrorKind::Malformed, format!("store key {shown:?} is not valid")));
        }
        Ok(Self(text.into()))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The revision of a record: grows with every write, never 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Revision(pub u64);

/// What a write expects to find.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expect {
    /// Whatever is there is replaced.
    Any,
    /// Nothing is there.
    Absent,
    /// This revision is there.
    At(Revision),
}

/// A record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Its key.
    pub key: Key,
    /// Its value.
    pub value: Bytes,
    /// Its revision.
    pub revision: Revision,
}

/// What a watch sees.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// A record was written, or was there when the watch began.
    Put(Record),
    /// A record was deleted.
    Delete(Key),
    /// All that was there when the watch began has been told; what follows is news.
    Ready,
    /// The watch was interrupted: what follows is everything again, then `Ready`. What is not among it is gone.
    Restart,
}

/// The largest value, in bytes.
pub const MAX_VALUE_BYTES: usize = 512 * 1024;

fn check_value(key: &Key, value: &Bytes) -> Result<()> {
    if value.len() > MAX_VALUE_BYTES {
        let text = format!("{} bytes for store key {} are over {MAX_VALUE_BYTES}", value.len(), key.as_str());
        return Err(Error::new(ErrorKind::TooLarge, text));
    }
    Ok(())
}

fn check_expected(key: &Key, expect: Expect, present: Option<Revision>) -> Result<()> {
    let is_as_expected = match expect {
        Expect::Any => true,
        Expect::Absent => present.is_none(),
        Expect::At(revision) => present == Some(revision),
    };
    if is_as_expected {
        return Ok(());
    }
    let found = present.map_or("is not there".to_owned(), |Revision(number)| format!("is at revision {number}"));
    let text = format!("store key {} {found}, which is not what this write expects", key.as_str());
    Err(Error::new(ErrorKind::Conflict, text))
}

/// Keeps records by key. Values are at most [`MAX_VALUE_BYTES`].
#[async_trait]
pub trait Store: Send + Sync + std::fmt::Debug + 'static {
    /// The record at `key`.
    async fn get(&self, key: &Key) -> Result<Option<Record>>;

    /// Writes if what is there is as expected; when this returns, the record is as durable as the store can make it.
    ///
    /// # Errors
    /// `Conflict` when it is not as expected.
    async fn put(&self, key: &Key, value: Bytes, expect: Expect) -> Result<Revision>;

    /// Deletes if what is there is as expected. With [`Expect::Any`], deleting what is not there is a success.
    ///
    /// # Errors
    /// `Conflict` when it is not as expected.
    async fn delete(&self, key: &Key, expect: Expect) -> Result<()>;

    /// All records whose key starts with `prefix`, sorted by key.
    async fn list(&self, prefix: &str) -> Result<Vec<Record>>;

    /// Follows the keys that start with `prefix`: first what is there, then [`Change::Ready`], then news. A slow
    /// reader may miss intermediate values of a key, never its last one.
    async fn watch(&self, prefix: &str) -> Result<Watch>;
}

/// A shared store.
pub type SharedStore = Arc<dyn Store>;

/// The changes of one watch. Dropping it ends it.
pub struct Watch(Pin<Box<dyn Stream<Item = Change> + Send>>);

impl Watch {
    /// Wraps what a store has.
    pub fn new(changes: impl Stream<Item = Change> + Send + 'static) -> Self {
        Self(Box::pin(changes))
    }
}

impl Stream for Watch {
    type Item = Change;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Change>> {
        self.0.as_mut().poll_next(cx)
    }
}

impl std::fmt::Debug for Watch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Watch")
    }
}
