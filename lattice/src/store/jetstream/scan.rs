//! Reading a bucket: what is there, and what becomes of it.

use std::collections::HashSet;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::Duration;

use async_nats::jetstream;
use async_nats::jetstream::consumer::{DeliverPolicy, push};
use futures::{Stream, StreamExt};
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};
use tokio_util::task::AbortOnDropHandle;
use tracing::{debug, warn};

use super::{Inner, LOOK_EVERY, PATIENCE, STALLED, open_bucket, within};
use crate::error::Result;
use crate::store::{Change, Key, Record, Revision};
use crate::transport::nats::NatsTransport;

/// One reading of the bucket: what is there, `Ready`, then news, until it is interrupted.
pub(super) struct Scan {
    messages: push::Ordered,
    connects: u64,
    inner: Arc<Inner>,
    prefix: String,
    /// How long the next of what is there may take.
    patience: Duration,
    is_ready: bool,
    is_drained: bool,
    // Before `Ready`, deletions are of interest only for what was told before.
    told: HashSet<Key>,
}

impl Scan {
    /// Begins with what is under `prefix` now, each of which comes within `patience`.
    pub(super) async fn begin(inner: &Arc<Inner>, prefix: &str, patience: Duration) -> Result<Self> {
        let connects = connects(&inner.transport);
        let config = push::OrderedConfig {
            deliver_subject: inner.transport.client().new_inbox(),
            filter_subject: format!("{}{}", inner.records.prefix, narrowest(prefix)),
            deliver_policy: DeliverPolicy::LastPerSubject,
            ..push::OrderedConfig::default()
        };
        let (messages, pending) = within(&inner.transport, async {
            let consumer = inner.records.stream.create_consumer(config).await.map_err(|error| inner.failed(error))?;
            let pending = consumer.cached_info().num_pending;
            let messages = consumer.messages().await.map_err(|error| inner.failed(error))?;
            Ok((messages, pending))
        })
        .await?;
        let (inner, prefix) = (inner.clone(), prefix.to_owned());
        let is_drained = pending == 0;
        Ok(Self { messages, connects, inner, prefix, patience, is_ready: false, is_drained, told: HashSet::new() })
    }

    /// How long the next of what is there may take.
    pub(super) fn patience(&self) -> Duration {
        self.patience
    }

    /// How long it may take when it is read again: lines may be slow.
    pub(super) fn longer(&self) -> Duration {
        if self.is_ready { STALLED } else { (self.patience * 2).min(PATIENCE) }
    }

    /// The next change; `None` when interrupted, or when what was announced does not come. Loses nothing when dropped.
    pub(super) async fn next(&mut self) -> Result<Option<Change>> {
        loop {
            if self.is_drained && !self.is_ready {
                self.is_ready = true;
                self.told = HashSet::new();
                return Ok(Some(Change::Ready));
            }
            let patience = if self.is_ready { LOOK_EVERY } else { self.patience };
            let message = match timeout(patience, self.messages.next()).await {
                Ok(Some(Ok(message))) => message,
                Ok(Some(Err(error))) => return Err(self.inner.failed(error)),
                Ok(None) => return Ok(None),
                Err(_elapsed) if !self.is_ready => {
                    debug!(prefix = self.prefix, ?patience, "what is in a bucket does not come");
                    return Ok(None);
                }
                // After a reconnect the server may be another one, or have lost its disk.
                Err(_elapsed) if self.connects != connects(&self.inner.transport) => return Ok(None),
                Err(_elapsed) => continue,
            };
            let Ok(info) = message.info() else { continue };
            self.is_drained = self.is_drained || info.pending == 0;
            let revision = Revision(info.stream_sequence);
            if let Some(change) = self.change(&message, revision) {
                return Ok(Some(change));
            }
        }
    }

    fn change(&mut self, message: &jetstream::Message, revision: Revision) -> Option<Change> {
        let name = message.subject.strip_prefix(&self.inner.records.prefix)?;
        if !name.starts_with(&self.prefix) {
            return None;
        }
        let key = Key::parse(name).ok()?;
        let is_deletion = message.headers.as_ref().is_some_and(|headers| headers.get("KV-Operation").is_some());
        if is_deletion {
            return (self.is_ready || self.told.remove(&key)).then_some(Change::Delete(key));
        }
        if !self.is_ready {
            self.told.insert(key.clone());
        }
        Some(Change::Put(Record { key, value: message.payload.clone(), revision }))
    }
}

/// The narrowest filter that a server has for `prefix`: it knows whole tokens only.
fn narrowest(prefix: &str) -> String {
    prefix.rsplit_once('.').map_or(">".to_owned(), |(tokens, _)| format!("{tokens}.>"))
}

fn connects(transport: &NatsTransport) -> u64 {
    transport.client().statistics().connects.load(Ordering::Relaxed)
}

/// Tells `tx` what `scan` sees, and everything again from a new one whenever it is interrupted.
pub(super) async fn follow(inner: Arc<Inner>, prefix: String, mut scan: Scan, tx: mpsc::Sender<Change>) {
    loop {
        match scan.next().await {
            Ok(Some(change)) => {
                if tx.send(change).await.is_err() {
                    return;
                }
                continue;
            }
            Ok(None) => {}
            Err(error) => warn!(%error, "watch of a bucket was interrupted"),
        }
        scan = begin_again(&inner, &prefix, scan.longer()).await;
        if tx.send(Change::Restart).await.is_err() {
            return;
        }
    }
}

async fn begin_again(inner: &Arc<Inner>, prefix: &str, patience: Duration) -> Scan {
    loop {
        // The bucket is made again if the server has lost it.
        let opened = within(&inner.transport, open_bucket(&inner.transport, &inner.bucket)).await;
        if opened.is_ok()
            && let Ok(scan) = Scan::begin(inner, prefix, patience).await
        {
            return scan;
        }
        sleep(LOOK_EVERY).await;
    }
}

/// What a watch is told.
pub(super) struct Changes {
    pub(super) changes: mpsc::Receiver<Change>,
    pub(super) _task: AbortOnDropHandle<()>,
}

impl Stream for Changes {
    type Item = Change;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Change>> {
        self.changes.poll_recv(cx)
    }
}
