//! Keys by pages: in the order in which they were last written, from a place in the stream on. Who writes keys while
//! going through the pages sees them again, and misses none.

use std::time::Duration;

use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy, pull};
use futures::StreamExt as _;
use trellis_interfaces::keyvalue::KeyResponse;
use trellis_provider_sdk::CallError;

use super::connection::Effect;
use super::name;
use super::records::{Records, is_deletion};
use crate::backend::Failure;
use crate::scope::{Bucket, PAGE_BYTES, PAGE_KEYS};

/// When the server forgets a reader that we could not tell it to.
const FORGET_AFTER: Duration = Duration::from_secs(10);

/// Headers that are asked for at once.
const CHUNK: usize = 500;

/// The keys after `cursor`, which is a place in the stream.
pub(super) async fn page(records: &Records, bucket: &Bucket, cursor: u64) -> Result<KeyResponse, Failure> {
    records.connection().on_line(Effect::Read, read(records, bucket, cursor)).await?
}

async fn read(records: &Records, bucket: &Bucket, cursor: u64) -> Result<KeyResponse, Failure> {
    let start = records.start_of(bucket);
    let mut page = KeyResponse { keys: Vec::new(), cursor: None };
    let Some(start_sequence) = cursor.checked_add(1) else { return Ok(page) };
    let config = pull::Config {
        filter_subject: format!("{start}>"),
        deliver_policy: DeliverPolicy::ByStartSequence { start_sequence },
        ack_policy: AckPolicy::None,
        headers_only: true,
        memory_storage: true,
        num_replicas: 1,
        inactive_threshold: FORGET_AFTER,
        ..pull::Config::default()
    };
    let failed = |error: &dyn std::fmt::Display| CallError::provider(format!("{}: {error}", records.shown()));
    let consumer = records.handle().create_consumer(config).await.map_err(|error| failed(&error))?;
    let (mut pending, mut bytes) = (consumer.cached_info().num_pending, 0);
    while pending > 0 {
        let fetch = consumer.fetch().max_messages(CHUNK).messages().await;
        let mut messages = fetch.map_err(|error| failed(&error))?;
        let before = page.cursor;
        while let Some(message) = messages.next().await {
            let message = message.map_err(|error| failed(&error))?;
            let info = message.info().map_err(|error| failed(&error))?;
            (pending, page.cursor) = (info.pending, Some(info.stream_sequence));
            let is_deletion = message.headers.as_ref().is_some_and(is_deletion);
            let key = message.subject.strip_prefix(start.as_str()).and_then(name::key);
            if let Some(key) = key.filter(|_| !is_deletion) {
                bytes += key.len();
                page.keys.push(key);
            }
        }
        // Nothing came although something was to: it was written anew, and is further on.
        if page.keys.len() + CHUNK > PAGE_KEYS || bytes > PAGE_BYTES || page.cursor == before {
            break;
        }
    }
    if pending == 0 {
        page.cursor = None;
    }
    let _ = records.handle().delete_consumer(&consumer.cached_info().name).await;
    Ok(page)
}
