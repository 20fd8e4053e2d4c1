//! An actor that calls over its link.

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::time::Instant;
use trellis_interfaces::keyvalue::{
    ATOMICS, ATOMICS_2, BATCH, CasNew, Delete, DeleteMany, Error, Exists, Get, GetMany, Increment, IncrementBy,
    KeyResponse, ListKeys, Open, STORE, Set, SetMany, Snapshot, Swap, Swapped, Value,
};
use trellis_provider_sdk::testing::{as_target, invocation, link, value};
use trellis_provider_sdk::{ActiveLink, CallError, Context, Link, LinkError, Provider};

const CONTRACTS: [&str; 3] = ["wasi:keyvalue/store", "wasi:keyvalue/atomics", "wasi:keyvalue/batch"];

/// An actor that calls over its link.
#[derive(Clone)]
pub(crate) struct Actor {
    pub(crate) provider: Arc<dyn Provider>,
    pub(crate) link: Link,
    pub(crate) bucket: String,
}

impl Actor {
    pub(crate) fn link_of(actor: &str) -> Link {
        link(actor, "keyvalue", &CONTRACTS)
    }

    pub(crate) fn active(actor: &str, pairs: &[(&str, &str)]) -> ActiveLink {
        as_target(Self::link_of(actor), pairs)
    }

    pub(crate) async fn linked(
        provider: &Arc<dyn Provider>,
        actor: &str,
        pairs: &[(&str, &str)],
    ) -> Result<Self, LinkError> {
        provider.link_up(&Self::active(actor, pairs)).await?;
        Ok(Self { provider: provider.clone(), link: Self::link_of(actor), bucket: "b".to_owned() })
    }

    /// The same actor with another bucket open.
    pub(crate) fn with_bucket(&self, bucket: &str) -> Self {
        Self { bucket: bucket.to_owned(), ..self.clone() }
    }

    /// What the host would be told.
    pub(crate) async fn try_call<T: DeserializeOwned>(
        &self,
        to: (&str, &str),
        args: &impl Serialize,
        budget: Duration,
    ) -> Result<Result<T, Error>, CallError> {
        let mut invocation = invocation(&self.link, to.0, to.1, args);
        invocation.head.context = Context::root(budget);
        let answer = self.provider.call(invocation).await?;
        value(&answer)
    }

    pub(crate) async fn call<T: DeserializeOwned>(&self, to: (&str, &str), args: &impl Serialize) -> Result<T, Error> {
        let result = self.try_call(to, args, Duration::from_secs(30)).await;
        result.unwrap_or_else(|error| panic!("{}: {:?}: {error}", to.1, error.kind))
    }

    pub(crate) async fn open(&self) -> Result<(), Error> {
        self.call((STORE, "open"), &Open { bucket: self.bucket.clone() }).await
    }

    pub(crate) async fn get(&self, key: &str) -> Result<Option<Value>, Error> {
        self.call((STORE, "get"), &Get { bucket: &self.bucket, key }).await
    }

    pub(crate) async fn set(&self, key: &str, value: &[u8]) -> Result<(), Error> {
        let value = Value::copy_from_slice(value);
        self.call((STORE, "set"), &Set { bucket: self.bucket.clone(), key: key.into(), value }).await
    }

    pub(crate) async fn exists(&self, key: &str) -> Result<bool, Error> {
        self.call((STORE, "exists"), &Exists { bucket: self.bucket.clone(), key: key.into() }).await
    }

    pub(crate) async fn delete(&self, key: &str) -> Result<(), Error> {
        self.call((STORE, "delete"), &Delete { bucket: self.bucket.clone(), key: key.into() }).await
    }

    pub(crate) async fn increment(&self, key: &str, delta: u64) -> Result<u64, Error> {
        self.call((ATOMICS, "increment"), &Increment { bucket: self.bucket.clone(), key: key.into(), delta }).await
    }

    pub(crate) async fn increment_by(&self, key: &str, delta: i64) -> Result<i64, Error> {
        self.call((ATOMICS_2, "increment"), &IncrementBy { bucket: self.bucket.clone(), key: key.into(), delta }).await
    }

    pub(crate) async fn snapshot(&self, key: &str) -> Result<Option<Snapshot>, Error> {
        self.call((ATOMICS_2, "cas.new"), &CasNew { bucket: self.bucket.clone(), key: key.into() }).await
    }

    pub(crate) async fn swap(&self, key: &str, seen: Option<&Snapshot>, value: &[u8]) -> Result<Swapped, Error> {
        let (value, version) = (Value::copy_from_slice(value), seen.map(|seen| seen.version.clone()));
        self.call((ATOMICS_2, "swap"), &Swap { bucket: self.bucket.clone(), key: key.into(), version, value }).await
    }

    pub(crate) async fn list(&self, cursor: Option<u64>) -> KeyResponse {
        self.call((STORE, "list-keys"), &ListKeys { bucket: self.bucket.clone(), cursor }).await.unwrap()
    }

    /// All keys, by their pages.
    pub(crate) async fn list_all(&self) -> Vec<String> {
        let (mut keys, mut cursor) = (Vec::new(), None);
        loop {
            let page = self.list(cursor).await;
            keys.extend(page.keys);
            cursor = page.cursor;
            if cursor.is_none() {
                return keys;
            }
        }
    }

    pub(crate) async fn get_many(&self, keys: &[&str]) -> Result<Vec<Option<(String, Value)>>, Error> {
        let keys = keys.iter().map(|&key| key.to_owned()).collect();
        self.call((BATCH, "get-many"), &GetMany { bucket: self.bucket.clone(), keys }).await
    }

    pub(crate) async fn set_many(&self, key_values: Vec<(String, Value)>) -> Result<(), Error> {
        self.call((BATCH, "set-many"), &SetMany { bucket: self.bucket.clone(), key_values }).await
    }

    pub(crate) async fn delete_many(&self, keys: Vec<String>) -> Result<(), Error> {
        self.call((BATCH, "delete-many"), &DeleteMany { bucket: self.bucket.clone(), keys }).await
    }
}

pub(crate) fn bytes(text: &str) -> Option<Value> {
    Some(Value::copy_from_slice(text.as_bytes()))
}

/// Waits until `condition` holds, and shows what it said last if it never does.
pub(crate) async fn eventually<T: std::fmt::Debug>(mut condition: impl AsyncFnMut() -> Result<(), T>) {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        match condition().await {
            Ok(()) => return,
            Err(last) => assert!(Instant::now() < deadline, "never, at last: {last:?}"),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
