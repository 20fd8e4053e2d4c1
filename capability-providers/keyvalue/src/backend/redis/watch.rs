//! Changes of keys, as the server announces them: to those who listen at that moment, without the value.

use std::time::Duration;

use ::redis::{Cmd, RedisError};
use futures::StreamExt as _;
use tokio::time::sleep;
use tracing::{info, warn};
use trellis_provider_sdk::LinkError;

use super::connection::Connection;
use super::{Redis, name};
use crate::backend::{Backend as _, Failure};
use crate::scope::Bucket;
use crate::watcher::Watcher;

/// What has to be in the server's setting: keyspace events, of strings, of any type, of expired and evicted keys.
const NEEDED: &str = "K$gxe";

/// The pauses before it listens again.
const MIN_PAUSE: Duration = Duration::from_millis(100);
const MAX_PAUSE: Duration = Duration::from_secs(5);

/// Whether the server announces changes. We do not change its settings: they are for all who use it.
pub(super) async fn check(connection: &Connection) -> Result<(), LinkError> {
    let query = Cmd::new().arg("CONFIG").arg("GET").arg("notify-keyspace-events").clone();
    let server = connection.server();
    let set: Vec<String> = match connection.read(&query).await {
        Ok(set) => set,
        Err(Failure::Refused(error)) => return Err(LinkError::Unavailable(error.to_string())),
        // Who may not ask is told nothing, and may still listen.
        Err(Failure::Call(error)) if error.kind == trellis_provider_sdk::CallErrorKind::Denied => return Ok(()),
        Err(Failure::Call(error)) => return Err(LinkError::Unavailable(error.message)),
    };
    let flags = set.get(1).map_or("", String::as_str);
    // `A` is all of them but `K` and `E`.
    let has = |flag: char| flags.contains(flag) || (flag != 'K' && flags.contains('A'));
    match NEEDED.chars().all(has) {
        true => Ok(()),
        false => Err(LinkError::Unavailable(format!(
            "redis at {server} announces no changes of keys: set `notify-keyspace-events {NEEDED}` in its configuration"
        ))),
    }
}

/// Tells what changes, until dropped.
pub(super) async fn run(redis: &Redis, bucket: &Bucket, watcher: &Watcher) {
    let mut pause = MIN_PAUSE;
    loop {
        match listen(redis, bucket, watcher).await {
            Ok(()) => {
                info!(server = redis.connection.server(), "watch of redis was interrupted");
                pause = MIN_PAUSE;
            }
            Err(error) => {
                let reason = super::fault::reason(&error);
                warn!(server = redis.connection.server(), error = reason, "watch of redis is not possible now");
            }
        }
        sleep(pause).await;
        pause = (pause * 2).min(MAX_PAUSE);
    }
}

/// Returns when the connection ends.
async fn listen(redis: &Redis, bucket: &Bucket, watcher: &Watcher) -> Result<(), RedisError> {
    let client = redis.connection.client();
    let channel = format!("__keyspace@{}__:", client.get_connection_info().redis_settings().db());
    let start = format!("{channel}{}", name::of_bucket(bucket));
    let (mut sink, mut messages) = client.get_async_pubsub().await?.split();
    sink.psubscribe(name::pattern(&start)).await?;
    while let Some(message) = messages.next().await {
        let (Some(key), Ok(event)) =
            (message.get_channel_name().strip_prefix(start.as_str()), message.get_payload::<String>())
        else {
            continue;
        };
        tell(redis, bucket, watcher, key, &event).await;
    }
    Ok(())
}

/// A key that was written may be gone again: then its removal is another event.
async fn tell(redis: &Redis, bucket: &Bucket, watcher: &Watcher, key: &str, event: &str) {
    match event {
        "set" | "incrby" | "incr" | "decrby" | "decr" | "append" | "setrange" | "rename_to" | "restore" => {
            match redis.get(bucket, key).await {
                // An error is the watcher's own affair, which it has logged.
                Ok(Some(value)) => drop(watcher.set(key, value).await),
                Ok(None) => {}
                Err(_) => warn!(server = redis.connection.server(), "change of a key was not told: it cannot be read"),
            }
        }
        "del" | "expired" | "evicted" | "rename_from" => drop(watcher.deleted(key).await),
        _ => {}
    }
}
