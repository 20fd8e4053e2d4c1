//! wasi:keyvalue 0.2.0-draft and 0.2.0-draft2 as they travel. A store resource is the name of its bucket; which data that names is
//! decided by the provider, from the link.
//!
//! The parameters of a function are the fields of the type with its name, in order; its result is
//! [`Result<T, Error>`](Error) with the `T` that is said there. Both versions travel alike, but for what
//! [`IncrementBy`], [`CasNew`] and [`Swap`] say.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// `store`, with its version.
pub const STORE: &str = "wasi:keyvalue/store@0.2.0-draft";

/// `atomics`, with its version.
pub const ATOMICS: &str = "wasi:keyvalue/atomics@0.2.0-draft";

/// `batch`, with its version.
pub const BATCH: &str = "wasi:keyvalue/batch@0.2.0-draft";

/// `store` of the second draft.
pub const STORE_2: &str = "wasi:keyvalue/store@0.2.0-draft2";

/// `atomics` of the second draft.
pub const ATOMICS_2: &str = "wasi:keyvalue/atomics@0.2.0-draft2";

/// `batch` of the second draft.
pub const BATCH_2: &str = "wasi:keyvalue/batch@0.2.0-draft2";

/// `watcher`, which actors export. Who calls it does not know against which version an actor was built.
pub const WATCHER: &str = "wasi:keyvalue/watcher";

/// The version whose numbers have a sign and which has compare-and-swap.
pub const DRAFT_2: &str = "0.2.0-draft2";

/// Names of functions.
pub mod function {
    /// [`super::Open`].
    pub const OPEN: &str = "open";
    /// [`super::Get`].
    pub const GET: &str = "get";
    /// [`super::Set`].
    pub const SET: &str = "set";
    /// [`super::Delete`].
    pub const DELETE: &str = "delete";
    /// [`super::Exists`].
    pub const EXISTS: &str = "exists";
    /// [`super::ListKeys`].
    pub const LIST_KEYS: &str = "list-keys";
    /// [`super::Increment`].
    pub const INCREMENT: &str = "increment";
    /// [`super::CasNew`].
    pub const CAS_NEW: &str = "cas.new";
    /// [`super::Swap`].
    pub const SWAP: &str = "swap";
    /// [`super::GetMany`].
    pub const GET_MANY: &str = "get-many";
    /// [`super::SetMany`].
    pub const SET_MANY: &str = "set-many";
    /// [`super::DeleteMany`].
    pub const DELETE_MANY: &str = "delete-many";
    /// [`super::OnSet`].
    pub const ON_SET: &str = "on-set";
    /// [`super::OnDelete`].
    pub const ON_DELETE: &str = "on-delete";
}

/// The error of all functions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "kebab-case")]
pub enum Error {
    /// The link gives no bucket of that name.
    #[error("no such store")]
    NoSuchStore,
    /// The link does not allow it.
    #[error("access denied")]
    AccessDenied,
    /// Anything else, in words.
    #[error("{0}")]
    Other(String),
}

/// `store.open`; nothing comes back. A caller may leave it out: the other functions name the bucket again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Open {
    /// The identifier that the actor opens.
    pub bucket: String,
}

/// `store.bucket.get`; an [`Option<Value>`](Value) comes back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Get<'a> {
    /// The identifier that the actor opened.
    pub bucket: &'a str,
    /// The key.
    pub key: &'a str,
}

/// `store.bucket.set`; nothing comes back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Set {
    /// The identifier that the actor opened.
    pub bucket: String,
    /// The key.
    pub key: String,
    /// The value.
    pub value: Value,
}

/// `store.bucket.delete`; nothing comes back, whether or not the key was there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delete {
    /// The identifier that the actor opened.
    pub bucket: String,
    /// The key.
    pub key: String,
}

/// `store.bucket.exists`; a `bool` comes back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exists {
    /// The identifier that the actor opened.
    pub bucket: String,
    /// The key.
    pub key: String,
}

/// `store.bucket.list-keys`; a [`KeyResponse`] comes back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListKeys {
    /// The identifier that the actor opened.
    pub bucket: String,
    /// The cursor of the response before, none at first.
    pub cursor: Option<u64>,
}

/// `atomics.increment`; the value after it, a `u64`, comes back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Increment {
    /// The identifier that the actor opened.
    pub bucket: String,
    /// The key.
    pub key: String,
    /// What is added.
    pub delta: u64,
}

/// `atomics.increment` of the second draft; the value after it, an `i64`, comes back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IncrementBy {
    /// The identifier that the actor opened.
    pub bucket: String,
    /// The key.
    pub key: String,
    /// What is added.
    pub delta: i64,
}

/// `atomics.cas.new` of the second draft; an [`Option<Snapshot>`](Snapshot) comes back: none without such a key. What
/// `cas.current` says is in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CasNew {
    /// The identifier that the actor opened.
    pub bucket: String,
    /// The key.
    pub key: String,
}

/// A value, and what tells whether it is still there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    /// Opaque; who made it can compare it with what is there.
    pub version: Bytes,
    /// The value.
    pub value: Value,
}

/// `atomics.swap` of the second draft; a [`Swapped`] comes back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Swap {
    /// The identifier that the actor opened.
    pub bucket: String,
    /// The key.
    pub key: String,
    /// [`Snapshot::version`] of what has to be there still; none when the key may not be there.
    pub version: Option<Bytes>,
    /// The value that is to be there.
    pub value: Value,
}

/// What came of a swap.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Swapped {
    /// The value is there.
    Done,
    /// Something else was there, and is: none without such a key.
    Stale(Option<Snapshot>),
}

/// `batch.get-many`; a `Vec<Option<(String, Value)>>` comes back, in the order of `keys`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GetMany {
    /// The identifier that the actor opened.
    pub bucket: String,
    /// The keys.
    pub keys: Vec<String>,
}

/// `batch.set-many`; nothing comes back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SetMany {
    /// The identifier that the actor opened.
    pub bucket: String,
    /// Keys and values; a later one wins over an earlier one with the same key.
    pub key_values: Vec<(String, Value)>,
}

/// `batch.delete-many`; nothing comes back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeleteMany {
    /// The identifier that the actor opened.
    pub bucket: String,
    /// The keys.
    pub keys: Vec<String>,
}

/// `watcher.on-set`; nothing comes back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OnSet {
    /// The identifier to open the bucket by.
    pub bucket: String,
    /// The key.
    pub key: String,
    /// Its value.
    pub value: Value,
}

/// `watcher.on-delete`; nothing comes back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OnDelete {
    /// The identifier to open the bucket by.
    pub bucket: String,
    /// The key.
    pub key: String,
}

/// A page of keys.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyResponse {
    /// The keys.
    pub keys: Vec<String>,
    /// For the next page; none when this was the last one.
    pub cursor: Option<u64>,
}

/// A value, `list<u8>`.
pub type Value = Bytes;

#[cfg(test)]
mod tests {
    use super::{Error, Get, Set, Value};

    #[test]
    fn parameters_are_arrays_and_bytes_are_binary() {
        let set = Set { bucket: "b".into(), key: "k".into(), value: Value::from_static(&[0, 255]) };
        let bytes = rmp_serde::to_vec(&set).expect("encodes");
        assert_eq!(bytes, [0x93, 0xa1, b'b', 0xa1, b'k', 0xc4, 2, 0, 255]);
        let get: Get<'_> = rmp_serde::from_slice(&[0x92, 0xa1, b'b', 0xa1, b'k']).expect("decodes");
        assert_eq!(get, Get { bucket: "b", key: "k" });
    }

    #[test]
    fn errors_go_by_their_wit_names() {
        let bytes = rmp_serde::to_vec(&Err::<(), _>(Error::NoSuchStore)).expect("encodes");
        assert_eq!(bytes, [b"\x81\xa3Err\xad".as_slice(), b"no-such-store"].concat());
        let result: Result<Option<Value>, Error> =
            rmp_serde::from_slice(b"\x81\xa3Err\x81\xa5other\xa4full").expect("decodes");
        assert_eq!(result, Err(Error::Other("full".into())));
    }
}
