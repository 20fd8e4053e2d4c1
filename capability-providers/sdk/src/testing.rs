//! To drive a provider in a test, without a host: links as a host would put them, calls as actors would make them,
//! and actors that are closures. [`Proxy`] and [`SmallDisk`] are for the
//! faults of what it goes to.

mod disk;
mod proxy;

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::future::BoxFuture;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::{
    ActiveLink, Answer, Args, Body, Call, CallError, Caller, Context, Encoding, EntityId, Environment, Head, Interface,
    Invocation, Link, LinkName, Record, RecordError, Records, Role, SecretMap, SecretValue, StringMap, wire,
};

pub use self::disk::SmallDisk;
pub use self::proxy::{Mode, NOISE, Proxy};

/// Whether a host would let a call through is not asked here: this is the time that calls have.
const BUDGET: Duration = Duration::from_secs(10);

/// An id, or a panic: tests write them as literals.
///
/// # Panics
/// When it is not valid.
pub fn id(text: &str) -> EntityId {
    EntityId::parse(text).expect("ids in tests are valid")
}

/// A config from pairs.
pub fn config(pairs: &[(&str, &str)]) -> StringMap {
    pairs.iter().map(|&(key, value)| (key.to_owned(), value.to_owned())).collect()
}

/// The keys that a provider's README has: what is in backticks in the first column of tables whose first column is `key`.
/// A key with a part to be replaced, as `migration.<name>`, is cut before that part.
pub fn documented_keys(readme: &str) -> BTreeSet<String> {
    let mut keys = BTreeSet::new();
    let mut is_of_keys = false;
    for line in readme.lines() {
        match line.strip_prefix('|') {
            None => is_of_keys = false,
            Some(row) if row.starts_with(" key |") => is_of_keys = true,
            Some(row) if is_of_keys => {
                let first = row.split('|').next().unwrap_or_default();
                let quoted = first.split('`').skip(1).step_by(2);
                keys.extend(quoted.filter_map(|key| key.split('<').next()).map(str::to_owned));
            }
            Some(_) => {}
        }
    }
    keys
}

/// The link named `default` of `source` to `target` for `interfaces` of one package, e.g. `wasi:keyvalue/store`.
///
/// # Panics
/// When an interface is not valid, or there is none.
pub fn link(source: &str, target: &str, interfaces: &[&str]) -> Link {
    let interfaces: Vec<Interface> =
        interfaces.iter().map(|name| Interface::parse(name).expect("interfaces in tests are valid")).collect();
    Link {
        source_id: id(source),
        target: id(target),
        name: LinkName::default(),
        wit_namespace: interfaces[0].namespace().to_owned(),
        wit_package: interfaces[0].package().to_owned(),
        interfaces: interfaces.iter().map(|interface| interface.name().to_owned()).collect(),
        source_config: Vec::new(),
        target_config: Vec::new(),
    }
}

/// A link as the provider at its source sees it.
pub fn as_source(link: Link, pairs: &[(&str, &str)]) -> ActiveLink {
    ActiveLink { link, role: Role::Source, config: config(pairs), secrets: SecretMap::new() }
}

/// A link as the provider at its target sees it.
pub fn as_target(link: Link, pairs: &[(&str, &str)]) -> ActiveLink {
    ActiveLink { link, role: Role::Target, config: config(pairs), secrets: SecretMap::new() }
}

/// The same link with these secrets.
pub fn with_secrets(mut link: ActiveLink, pairs: &[(&str, &str)]) -> ActiveLink {
    link.secrets = pairs.iter().map(|&(name, value)| (name.to_owned(), SecretValue::text(value))).collect();
    link
}

/// What a provider is started with.
pub fn environment(id: &str, data_dir: &std::path::Path, caller: Arc<dyn Caller>) -> Environment {
    Environment {
        id: self::id(id),
        config: StringMap::new(),
        secrets: SecretMap::new(),
        data_dir: data_dir.to_owned(),
        caller,
        records: records(),
    }
}

/// Records in memory. Environments that are given clones of one share them, as instances on several hosts do.
pub fn records() -> Arc<dyn Records> {
    Arc::new(MemoryRecords::default())
}

#[derive(Default)]
struct MemoryRecords(Mutex<HashMap<String, Record>>);

#[async_trait]
impl Records for MemoryRecords {
    async fn read(&self, key: &str) -> Result<Option<Record>, RecordError> {
        Ok(self.0.lock().unwrap_or_else(PoisonError::into_inner).get(key).cloned())
    }

    async fn write(&self, key: &str, value: Bytes, expected: Option<u64>) -> Result<u64, RecordError> {
        let mut records = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let present = records.get(key).map(|record| record.revision);
        if present != expected {
            return Err(RecordError::Conflict);
        }
        let revision = present.unwrap_or_default() + 1;
        records.insert(key.to_owned(), Record { value, revision });
        Ok(revision)
    }
}

/// An invocation as it arrives over `link`, with `args` encoded.
///
/// # Panics
/// When the interface is not valid or `args` has no wire form.
pub fn invocation(link: &Link, interface: &str, function: &str, args: &impl Serialize) -> Invocation<Args> {
    Invocation {
        head: Head {
            id: uuid::Uuid::now_v7(),
            source: link.source_id.clone(),
            target: link.target.clone(),
            link: link.name.clone(),
            interface: Interface::parse(interface).expect("interfaces in tests are valid"),
            function: function.into(),
            signature: None,
            encoding: Encoding::Pack,
            attempt: 1,
            grant_epoch: 1,
            context: Context::root(BUDGET),
        },
        args: wire::encode(args).expect("arguments in tests have a wire form"),
        body: Body::Empty,
    }
}

/// Decodes what came back.
///
/// # Errors
/// `Contract` when it is of another shape.
pub fn value<T: DeserializeOwned>(answer: &Answer<Args>) -> Result<T, CallError> {
    wire::decode(&answer.value)
}

struct FakeCaller<F>(F);

#[async_trait]
impl<F> Caller for FakeCaller<F>
where
    F: Fn(Call<Args>) -> BoxFuture<'static, Result<Answer<Args>, CallError>> + Send + Sync + 'static,
{
    async fn call(&self, call: Call<Args>) -> Result<Answer<Args>, CallError> {
        (self.0)(call).await
    }
}

/// What a provider calls actors with: all its links lead to one closure.
pub fn caller<F>(actor: F) -> Arc<dyn Caller>
where
    F: Fn(Call<Args>) -> BoxFuture<'static, Result<Answer<Args>, CallError>> + Send + Sync + 'static,
{
    Arc::new(FakeCaller(actor))
}

struct Running<F>(Arc<dyn Caller>, F);

#[async_trait]
impl<F> Caller for Running<F>
where
    F: Fn(&LinkName) -> bool + Send + Sync + 'static,
{
    async fn call(&self, call: Call<Args>) -> Result<Answer<Args>, CallError> {
        self.0.call(call).await
    }

    async fn is_running(&self, link: &LinkName, _: &Interface) -> bool {
        (self.1)(link)
    }
}

/// Calls as `caller`, and says of the target of a link that it runs if `is_running` does.
pub fn caller_where<F>(caller: Arc<dyn Caller>, is_running: F) -> Arc<dyn Caller>
where
    F: Fn(&LinkName) -> bool + Send + Sync + 'static,
{
    Arc::new(Running(caller, is_running))
}

/// What a provider calls actors with when nothing is linked.
pub fn nobody() -> Arc<dyn Caller> {
    caller(|_| Box::pin(async { Err(CallError::no_target("nothing is linked")) }))
}
