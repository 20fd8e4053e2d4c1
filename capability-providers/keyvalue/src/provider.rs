//! The provider: calls to reads and changes, within what their link sees.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::{ArcSwap, ArcSwapOption};
use async_trait::async_trait;
use bytes::Bytes;
use serde::Serialize;
use trellis_interfaces::keyvalue::{
    ATOMICS, BATCH, Delete, DeleteMany, Error, Exists, Get, GetMany, Increment, KeyResponse, ListKeys, Open, STORE,
    Set, SetMany, Value, function,
};
use trellis_provider_sdk::wire::{decode, encode};
use trellis_provider_sdk::{
    ActiveLink, Answer, Args, Body, CallError, Description, EntityId, Environment, Factory, Head, Interface,
    Invocation, LinkError, LinkName, Provider, Role,
};

use crate::change::Change;
use crate::config::LinkConfig;
use crate::scope::{self, Bucket};
use crate::store::Store;

/// The name after `builtin:`.
pub const NAME: &str = "keyvalue";

/// Makes key-value stores.
pub fn factory() -> Factory {
    Arc::new(|environment| Ok(Arc::new(KeyValue::start(environment))))
}

type Links = HashMap<(EntityId, LinkName), Arc<LinkConfig>>;

/// A key-value store in the data directory of the provider.
pub struct KeyValue {
    environment: Environment,
    store: ArcSwapOption<Store>,
    links: ArcSwap<Links>,
}

impl KeyValue {
    /// Opens nothing until the first link comes.
    pub fn start(environment: Environment) -> Self {
        Self { environment, store: ArcSwapOption::empty(), links: ArcSwap::default() }
    }

    async fn open(&self) -> Result<(), LinkError> {
        if self.store.load().is_some() {
            return Ok(());
        }
        let directory = self.environment.data_dir.clone();
        let opened = tokio::task::spawn_blocking(move || Store::open(&directory)).await;
        let store =
            opened.map_err(|error| LinkError::Unavailable(format!("opening the store broke off: {error}")))??;
        self.store.store(Some(Arc::new(store)));
        Ok(())
    }

    fn request(&self, head: &Head) -> Result<Request, CallError> {
        let key = (head.source.clone(), head.link.clone());
        let config = self.links.load().get(&key).cloned();
        let config = config.ok_or_else(|| {
            CallError::denied(format!("{} has no link {:?} to {}", head.source, head.link, self.environment.id))
        })?;
        let store = self.store.load_full();
        let store = store.ok_or_else(|| CallError::no_target(format!("{} is closed", self.environment.id)))?;
        Ok(Request { store, config })
    }
}

#[async_trait]
impl Provider for KeyValue {
    fn description(&self) -> Description {
        let serves = [STORE, ATOMICS, BATCH].map(|name| Interface::parse(name).expect("a constant of ours"));
        Description { name: "key-value store (embedded)".into(), serves: serves.into(), calls: Vec::new() }
    }

    async fn link_up(&self, link: &ActiveLink) -> Result<(), LinkError> {
        let key = (link.link.source_id.clone(), link.link.name.clone());
        let config = match LinkConfig::parse(&link.config) {
            Ok(config) if link.role == Role::Target => config,
            result => {
                self.link_down(link).await;
                let wrong_end = "a key-value store is the target of its links, not the source".to_owned();
                return Err(result.err().unwrap_or(LinkError::Unavailable(wrong_end)));
            }
        };
        self.open().await?;
        let config = Arc::new(config);
        self.links.rcu(|links| {
            let mut links = Links::clone(links);
            links.insert(key.clone(), config.clone());
            links
        });
        Ok(())
    }

    async fn link_down(&self, link: &ActiveLink) {
        let key = (link.link.source_id.clone(), link.link.name.clone());
        self.links.rcu(|links| {
            let mut links = Links::clone(links);
            links.remove(&key);
            links
        });
    }

    async fn call(&self, invocation: Invocation<Args>) -> Result<Answer<Args>, CallError> {
        let Invocation { head, args, .. } = invocation;
        let request = self.request(&head)?;
        let value = match head.interface.name() {
            "store" => request.store(&head.function, &args).await,
            "atomics" => request.atomics(&head.function, &args).await,
            "batch" => request.batch(&head.function, &args).await,
            _ => Err(unknown(&head.interface, "an interface")),
        }?;
        Ok(Answer { value, body: Body::Empty })
    }

    async fn drain(&self, limit: Duration) {
        let Some(store) = self.store.swap(None) else { return };
        let closed = async {
            // Calls in flight hold the store.
            while Arc::strong_count(&store) > 1 {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
            // Closing syncs, which blocks.
            let _ = tokio::task::spawn_blocking(move || drop(store)).await;
        };
        let _ = tokio::time::timeout(limit, closed).await;
    }
}

fn unknown(name: impl std::fmt::Display, what: &str) -> CallError {
    CallError::contract(format!("{name} is not {what} of wasi:keyvalue 0.2.0-draft"))
}

/// A call: the store, and what its link sees of it.
struct Request {
    store: Arc<Store>,
    config: Arc<LinkConfig>,
}

impl Request {
    async fn store(&self, function: &str, args: &Args) -> Result<Args, CallError> {
        match function {
            function::OPEN => {
                let Open { bucket } = decode(args)?;
                result(self.bucket(&bucket).map(|_| ()))
            }
            function::GET => {
                let Get { bucket, key } = decode(args)?;
                result(self.bucket(&bucket).and_then(|bucket| self.store.get(&bucket, &key)))
            }
            function::EXISTS => {
                let Exists { bucket, key } = decode(args)?;
                result(self.bucket(&bucket).and_then(|bucket| self.store.exists(&bucket, &key)))
            }
            function::LIST_KEYS => {
                let ListKeys { bucket, cursor } = decode(args)?;
                let list = |bucket: Bucket| -> Result<KeyResponse, Error> { self.store.list(&bucket, cursor) };
                result(self.bucket(&bucket).and_then(list))
            }
            function::SET => {
                let Set { bucket, key, value } = decode(args)?;
                result(self.set(&bucket, vec![(key, value)]).await)
            }
            function::DELETE => {
                let Delete { bucket, key } = decode(args)?;
                result(self.delete(&bucket, vec![key]).await)
            }
            _ => Err(unknown(function, "a function of `store`")),
        }
    }

    async fn atomics(&self, function: &str, args: &Args) -> Result<Args, CallError> {
        if function != function::INCREMENT {
            return Err(unknown(function, "a function of `atomics`"));
        }
        let Increment { bucket, key, delta } = decode(args)?;
        let increment = async {
            scope::check_keys([key.as_str()].into_iter())?;
            self.store.write(Change::Increment(self.bucket(&bucket)?, key, delta), self.config.fsync).await
        };
        result(increment.await)
    }

    async fn batch(&self, function: &str, args: &Args) -> Result<Args, CallError> {
        match function {
            function::GET_MANY => {
                let GetMany { bucket, keys } = decode(args)?;
                result(self.get_many(&bucket, keys))
            }
            function::SET_MANY => {
                let SetMany { bucket, key_values } = decode(args)?;
                result(self.set(&bucket, key_values).await)
            }
            function::DELETE_MANY => {
                let DeleteMany { bucket, keys } = decode(args)?;
                result(self.delete(&bucket, keys).await)
            }
            _ => Err(unknown(function, "a function of `batch`")),
        }
    }

    fn bucket(&self, identifier: &str) -> Result<Bucket, Error> {
        scope::bucket(&self.config, identifier)
    }

    fn get_many(&self, bucket: &str, keys: Vec<String>) -> Result<Vec<Option<(String, Value)>>, Error> {
        scope::check_keys(keys.iter().map(String::as_str))?;
        let names: Vec<&str> = keys.iter().map(String::as_str).collect();
        let values = self.store.get_many(&self.bucket(bucket)?, &names)?;
        Ok(keys.into_iter().zip(values).map(|(key, value)| Some((key, value?))).collect())
    }

    async fn set(&self, bucket: &str, items: Vec<(String, Value)>) -> Result<(), Error> {
        scope::check_keys(items.iter().map(|(key, _)| key.as_str()))?;
        scope::check_values(items.iter().map(|(_, value)| Bytes::len(value)))?;
        self.store.write(Change::Set(self.bucket(bucket)?, items), self.config.fsync).await.map(drop)
    }

    async fn delete(&self, bucket: &str, keys: Vec<String>) -> Result<(), Error> {
        scope::check_keys(keys.iter().map(String::as_str))?;
        self.store.write(Change::Delete(self.bucket(bucket)?, keys), self.config.fsync).await.map(drop)
    }
}

fn result<T: Serialize>(result: Result<T, Error>) -> Result<Args, CallError> {
    encode(&result)
}
