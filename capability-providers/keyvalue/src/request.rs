//! Calls as they travel, to what a backend does: reads the parameters, and holds them against the limits.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde::Serialize;
use tokio::time::{Instant, timeout_at};
use trellis_interfaces::keyvalue::{
    CasNew, DRAFT_2, Delete, DeleteMany, Error, Exists, Get, GetMany, Increment, IncrementBy, ListKeys, Open, Set,
    SetMany, Swap, Swapped, Value, function,
};
use trellis_provider_sdk::wire::{decode, encode};
use trellis_provider_sdk::{Args, CallError, CallErrorKind, Head};

use crate::backend::{Backend, Delta, Failure};
use crate::scope::{self, Bucket, Scope};

/// The store as a link has it that is up.
pub(crate) struct Access {
    /// What the link sees of it.
    pub(crate) scope: Scope,
    /// The store.
    pub(crate) backend: Arc<dyn Backend>,
    /// How long a server may take; none for a store that is no server.
    pub(crate) timeout: Option<Duration>,
}

impl Access {
    /// Answers a call.
    ///
    /// # Errors
    /// `Contract` for a function that is none, or parameters of another shape; `Deadline`; what the backend is at
    /// fault for.
    pub(crate) async fn call(&self, head: &Head, args: &Args) -> Result<Args, CallError> {
        let Some(timeout) = self.timeout else { return self.dispatch(head, args).await };
        let limit = head.context.deadline.min(Instant::now() + timeout);
        let answer = timeout_at(limit, self.dispatch(head, args)).await;
        answer.unwrap_or_else(|_elapsed| Err(self.late(head, limit)))
    }

    /// A write may still take effect.
    fn late(&self, head: &Head, limit: Instant) -> CallError {
        let message = format!("the key-value server did not answer `{}` in time", head.function);
        match limit == head.context.deadline {
            true => CallError::deadline(message),
            false if is_read(&head.function) => CallError::provider(message),
            false => CallError::new(CallErrorKind::UnknownOutcome, message),
        }
    }

    async fn dispatch(&self, head: &Head, args: &Args) -> Result<Args, CallError> {
        match head.interface.name() {
            "store" => self.store(&head.function, args).await,
            "atomics" if head.interface.version() == Some(DRAFT_2) => self.atomics_2(&head.function, args).await,
            "atomics" => self.atomics(&head.function, args).await,
            "batch" => self.batch(&head.function, args).await,
            _ => Err(unknown(&head.interface, "an interface")),
        }
    }

    async fn store(&self, function: &str, args: &Args) -> Result<Args, CallError> {
        match function {
            function::OPEN => {
                let Open { bucket } = decode(args)?;
                answer(self.bucket(&bucket).map(drop))
            }
            function::GET => {
                let Get { bucket, key } = decode(args)?;
                answer(self.get(bucket, key).await)
            }
            function::EXISTS => {
                let Exists { bucket, key } = decode(args)?;
                answer(self.exists(&bucket, &key).await)
            }
            function::LIST_KEYS => {
                let ListKeys { bucket, cursor } = decode(args)?;
                let list = async { self.backend.list(&self.bucket(&bucket)?, cursor).await };
                answer(list.await)
            }
            function::SET => {
                let Set { bucket, key, value } = decode(args)?;
                answer(self.set(&bucket, vec![(key, value)]).await)
            }
            function::DELETE => {
                let Delete { bucket, key } = decode(args)?;
                answer(self.delete(&bucket, vec![key]).await)
            }
            _ => Err(unknown(function, "a function of `store`")),
        }
    }

    async fn atomics(&self, function: &str, args: &Args) -> Result<Args, CallError> {
        if function != function::INCREMENT {
            return Err(unknown(function, "a function of `atomics`"));
        }
        let Increment { bucket, key, delta } = decode(args)?;
        let sum = self.increment(&bucket, &key, Delta::Unsigned(delta)).await;
        answer(sum.map(|sum| u64::try_from(sum).unwrap_or(u64::MAX)))
    }

    async fn atomics_2(&self, function: &str, args: &Args) -> Result<Args, CallError> {
        match function {
            function::INCREMENT => {
                let IncrementBy { bucket, key, delta } = decode(args)?;
                let sum = self.increment(&bucket, &key, Delta::Signed(delta)).await;
                answer(sum.map(|sum| i64::try_from(sum).unwrap_or(i64::MAX)))
            }
            function::CAS_NEW => {
                let CasNew { bucket, key } = decode(args)?;
                let snapshot = async { self.backend.snapshot(&self.bucket_of(&bucket, &key)?, &key).await };
                answer(snapshot.await)
            }
            function::SWAP => {
                let swap = decode(args)?;
                answer(self.swap(swap).await)
            }
            _ => Err(unknown(function, "a function of `atomics`")),
        }
    }

    async fn batch(&self, function: &str, args: &Args) -> Result<Args, CallError> {
        match function {
            function::GET_MANY => {
                let GetMany { bucket, keys } = decode(args)?;
                answer(self.get_many(&bucket, keys).await)
            }
            function::SET_MANY => {
                let SetMany { bucket, key_values } = decode(args)?;
                answer(self.set(&bucket, key_values).await)
            }
            function::DELETE_MANY => {
                let DeleteMany { bucket, keys } = decode(args)?;
                answer(self.delete(&bucket, keys).await)
            }
            _ => Err(unknown(function, "a function of `batch`")),
        }
    }

    fn bucket(&self, identifier: &str) -> Result<Bucket, Failure> {
        Ok(self.scope.bucket(identifier)?)
    }

    /// The bucket, for one key in it.
    fn bucket_of(&self, identifier: &str, key: &str) -> Result<Bucket, Failure> {
        scope::check_keys([key].into_iter())?;
        self.bucket(identifier)
    }

    async fn get(&self, bucket: &str, key: &str) -> Result<Option<Value>, Failure> {
        self.backend.get(&self.bucket_of(bucket, key)?, key).await
    }

    async fn exists(&self, bucket: &str, key: &str) -> Result<bool, Failure> {
        self.backend.exists(&self.bucket_of(bucket, key)?, key).await
    }

    async fn increment(&self, bucket: &str, key: &str, delta: Delta) -> Result<i128, Failure> {
        self.backend.increment(&self.bucket_of(bucket, key)?, key, delta).await
    }

    async fn swap(&self, swap: Swap) -> Result<Swapped, Failure> {
        let Swap { bucket, key, version, value } = swap;
        scope::check_values(std::iter::once(value.len()))?;
        self.backend.swap(&self.bucket_of(&bucket, &key)?, &key, version, value).await
    }

    async fn get_many(&self, bucket: &str, keys: Vec<String>) -> Result<Vec<Option<(String, Value)>>, Failure> {
        scope::check_keys(keys.iter().map(String::as_str))?;
        let values = self.backend.get_many(&self.bucket(bucket)?, &keys).await?;
        scope::check_values(values.iter().flatten().map(Bytes::len))?;
        Ok(keys.into_iter().zip(values).map(|(key, value)| Some((key, value?))).collect())
    }

    async fn set(&self, bucket: &str, items: Vec<(String, Value)>) -> Result<(), Failure> {
        scope::check_keys(items.iter().map(|(key, _)| key.as_str()))?;
        scope::check_values(items.iter().map(|(_, value)| Bytes::len(value)))?;
        self.backend.set_many(&self.bucket(bucket)?, items).await
    }

    async fn delete(&self, bucket: &str, keys: Vec<String>) -> Result<(), Failure> {
        scope::check_keys(keys.iter().map(String::as_str))?;
        self.backend.delete_many(&self.bucket(bucket)?, keys).await
    }
}

fn is_read(function: &str) -> bool {
    [function::GET, function::EXISTS, function::LIST_KEYS, function::GET_MANY, function::OPEN, function::CAS_NEW]
        .contains(&function)
}

fn unknown(name: impl std::fmt::Display, what: &str) -> CallError {
    CallError::contract(format!("{name} is not {what} of wasi:keyvalue 0.2.0-draft or 0.2.0-draft2"))
}

fn answer<T: Serialize>(result: Result<T, Failure>) -> Result<Args, CallError> {
    match result {
        Ok(value) => encode(&Ok::<T, Error>(value)),
        Err(Failure::Refused(error)) => encode(&Err::<T, Error>(error)),
        Err(Failure::Call(error)) => Err(error),
    }
}
