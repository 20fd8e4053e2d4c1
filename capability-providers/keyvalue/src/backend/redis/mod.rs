//! The store on a Redis server: each key is a string there, under a name that begins with prefix and bucket.

use std::sync::Arc;
use std::time::Duration;

use ::redis::{Cmd, Pipeline};
use async_trait::async_trait;
use bytes::Bytes;
use trellis_interfaces::keyvalue::{KeyResponse, Snapshot, Swapped, Value};
use trellis_provider_sdk::LinkError;

mod connection;
mod fault;
mod name;
mod script;
mod watch;

pub(super) use connection::Connection;

use super::{Backend, Delta, Failure, number};
use crate::scope::{self, Bucket, PAGE_BYTES, PAGE_KEYS};
use crate::watcher::Watcher;
use connection::Effect;

/// How many slots of the server's table one step of a scan looks at, and the most steps of a page: a server that has
/// much else must not make a page endless.
const SCAN_COUNT: usize = 100;
const SCAN_STEPS: usize = 100;

/// The store as one link has it.
pub(super) struct Redis {
    connection: Arc<Connection>,
    ttl: Option<Duration>,
}

impl Redis {
    /// What is written over it is gone after `ttl`.
    pub(super) fn new(connection: Arc<Connection>, ttl: Option<Duration>) -> Self {
        Self { connection, ttl }
    }

    /// For scripts, which have no way to leave an argument out: 0 is for ever.
    fn ttl_ms(&self) -> u64 {
        self.ttl.map_or(0, |ttl| u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX))
    }

    fn set(&self, pipeline: &mut Pipeline, name: &str, value: &[u8]) {
        let command = pipeline.cmd("SET").arg(name).arg(value);
        match self.ttl_ms() {
            0 => {}
            ttl => drop(command.arg("PX").arg(ttl)),
        }
        command.ignore();
    }
}

#[async_trait]
impl Backend for Redis {
    async fn get(&self, bucket: &Bucket, key: &str) -> Result<Option<Value>, Failure> {
        let value: Option<Bytes> = self.connection.read(&command("GET", &name::of_key(bucket, key))).await?;
        scope::check_values(value.iter().map(Bytes::len))?;
        Ok(value)
    }

    async fn exists(&self, bucket: &Bucket, key: &str) -> Result<bool, Failure> {
        self.connection.read(&command("EXISTS", &name::of_key(bucket, key))).await
    }

    async fn list(&self, bucket: &Bucket, cursor: Option<u64>) -> Result<KeyResponse, Failure> {
        let start = name::of_bucket(bucket);
        let (mut page, mut bytes) = (KeyResponse { keys: Vec::new(), cursor: None }, 0);
        let mut cursor = cursor.unwrap_or(0);
        for _ in 0..SCAN_STEPS {
            let mut scan = Cmd::new();
            scan.arg("SCAN").arg(cursor).arg("MATCH").arg(name::pattern(&start)).arg("COUNT").arg(SCAN_COUNT);
            let (next, names): (u64, Vec<Vec<u8>>) = self.connection.read(&scan).await?;
            // Whatever else is there, and is no text, was not written by us.
            let keys = names.iter().filter_map(|name| std::str::from_utf8(name).ok()?.strip_prefix(start.as_str()));
            page.keys.extend(keys.inspect(|key| bytes += key.len()).map(str::to_owned));
            cursor = next;
            if cursor == 0 || page.keys.len() + SCAN_COUNT > PAGE_KEYS || bytes > PAGE_BYTES / 2 {
                break;
            }
        }
        page.cursor = (cursor != 0).then_some(cursor);
        Ok(page)
    }

    async fn get_many(&self, bucket: &Bucket, keys: &[String]) -> Result<Vec<Option<Value>>, Failure> {
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        let names: Vec<String> = keys.iter().map(|key| name::of_key(bucket, key)).collect();
        // Asked first, so that the answer has a bound.
        let mut lengths = Pipeline::new();
        for name in &names {
            lengths.cmd("STRLEN").arg(name);
        }
        let lengths: Vec<usize> = self.connection.read_all(&lengths).await?;
        scope::check_values(lengths.into_iter())?;
        self.connection.read(Cmd::new().arg("MGET").arg(names)).await
    }

    async fn set_many(&self, bucket: &Bucket, items: Vec<(String, Value)>) -> Result<(), Failure> {
        if items.is_empty() {
            return Ok(());
        }
        let mut pipeline = Pipeline::new();
        if items.len() > 1 {
            pipeline.atomic();
        }
        items.iter().for_each(|(key, value)| self.set(&mut pipeline, &name::of_key(bucket, key), value));
        self.connection.write(&pipeline).await
    }

    async fn delete_many(&self, bucket: &Bucket, keys: Vec<String>) -> Result<(), Failure> {
        if keys.is_empty() {
            return Ok(());
        }
        let names: Vec<String> = keys.iter().map(|key| name::of_key(bucket, key)).collect();
        let mut pipeline = Pipeline::new();
        pipeline.cmd("DEL").arg(names).ignore();
        self.connection.write(&pipeline).await
    }

    async fn increment(&self, bucket: &Bucket, key: &str, delta: Delta) -> Result<i128, Failure> {
        let (delta, sign) = match delta {
            Delta::Unsigned(delta) => (i64::try_from(delta).map_err(|_| number::no_room(key))?, "unsigned"),
            Delta::Signed(delta) => (delta, "signed"),
        };
        let mut invocation = script::INCREMENT.key(name::of_key(bucket, key));
        invocation.arg(delta).arg(sign).arg(self.ttl_ms());
        let sum: String = self.connection.run(&invocation, Effect::Write, Some(key)).await?;
        Ok(sum.parse().map_err(|_| number::no_number(key))?)
    }

    async fn snapshot(&self, bucket: &Bucket, key: &str) -> Result<Option<Snapshot>, Failure> {
        let invocation = script::SNAPSHOT.key(name::of_key(bucket, key));
        let found: Option<(Bytes, Bytes)> = self.connection.run(&invocation, Effect::Read, None).await?;
        scope::check_values(found.iter().map(|(_, value)| value.len()))?;
        Ok(found.map(|(version, value)| Snapshot { version, value }))
    }

    async fn swap(&self, bucket: &Bucket, key: &str, version: Option<Bytes>, value: Value) -> Result<Swapped, Failure> {
        let mut invocation = script::SWAP.key(name::of_key(bucket, key));
        invocation.arg(version.as_deref().unwrap_or_default()).arg(&value[..]).arg(self.ttl_ms());
        match self.connection.run::<bool>(&invocation, Effect::Write, None).await? {
            true => Ok(Swapped::Done),
            false => Ok(Swapped::Stale(self.snapshot(bucket, key).await?)),
        }
    }

    async fn check_watch(&self) -> Result<(), LinkError> {
        watch::check(&self.connection).await
    }

    async fn watch(&self, bucket: Bucket, watcher: Watcher) {
        watch::run(self, &bucket, &watcher).await;
    }
}

fn command(command: &str, name: &str) -> Cmd {
    let mut cmd = Cmd::new();
    cmd.arg(command).arg(name);
    cmd
}
