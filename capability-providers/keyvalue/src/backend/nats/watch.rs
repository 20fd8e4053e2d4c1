//! Changes of keys, from a place in the stream that the server keeps: each is told to one of all hosts, and told again
//! until the actor takes it, or it failed too often.

use std::time::Duration;

use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy, PullConsumer, pull};
use async_nats::jetstream::{AckKind, Message};
use futures::StreamExt as _;
use tokio::time::sleep;
use tracing::warn;

use super::name;
use super::records::{Records, is_deletion};
use crate::scope::Bucket;
use crate::watcher::Watcher;

/// How long an actor has, with all calls that it makes, until another host may be told.
const ACK_WAIT: Duration = Duration::from_secs(15);

/// How often a change is told at most, and the pause before the next time.
const MAX_DELIVER: i64 = 5;
const PAUSE: Duration = Duration::from_secs(1);

/// How long the place in the stream is kept when no host watches.
const FORGET_AFTER: Duration = Duration::from_hours(1);

/// The pause before a watch that broke off begins again.
const RETRY: Duration = Duration::from_millis(500);

/// Tells what changes, until dropped.
pub(super) async fn run(records: &Records, bucket: &Bucket, watcher: &Watcher) {
    loop {
        match follow(records, bucket, watcher).await {
            Ok(()) => warn!(bucket = records.shown(), "watch was interrupted"),
            Err(error) => warn!(bucket = records.shown(), %error, "watch is not possible now"),
        }
        sleep(RETRY).await;
    }
}

/// Returns when the server has nothing more to say.
async fn follow(records: &Records, bucket: &Bucket, watcher: &Watcher) -> Result<(), async_nats::Error> {
    let start = records.start_of(bucket);
    let mut messages = consumer(records, &start, watcher).await?.messages().await?;
    while let Some(message) = messages.next().await {
        let message = message?;
        let told = match message.subject.strip_prefix(start.as_str()).and_then(name::key) {
            Some(key) => tell(watcher, &key, &message).await,
            None => Ok(()),
        };
        let ack = if told.is_ok() { AckKind::Ack } else { AckKind::Nak(Some(PAUSE)) };
        message.ack_with(ack).await?;
    }
    Ok(())
}

/// All hosts use one, by its name.
async fn consumer(records: &Records, start: &str, watcher: &Watcher) -> Result<PullConsumer, async_nats::Error> {
    let identity = blake3::hash(format!("{start} {}", watcher.identity()).as_bytes()).to_hex();
    let name = format!("watch-{}", &identity[..24]);
    let config = pull::Config {
        durable_name: Some(name.clone()),
        filter_subject: format!("{start}>"),
        deliver_policy: DeliverPolicy::New,
        ack_policy: AckPolicy::Explicit,
        ack_wait: ACK_WAIT,
        max_deliver: MAX_DELIVER,
        max_ack_pending: 1,
        inactive_threshold: FORGET_AFTER,
        ..pull::Config::default()
    };
    Ok(records.handle().get_or_create_consumer(&name, config).await?)
}

async fn tell(watcher: &Watcher, key: &str, message: &Message) -> Result<(), trellis_provider_sdk::CallError> {
    match message.headers.as_ref().is_some_and(is_deletion) {
        true => watcher.deleted(key).await,
        false => watcher.set(key, message.payload.clone()).await,
    }
}
