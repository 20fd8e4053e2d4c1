//! What a wadm under test sees of the store and of the bus: with faults, and up to the effect at which it is killed.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt as _;
use futures::stream;
use tokio::sync::{Notify, watch};
use trellis_lattice::error::{Error, ErrorKind, Result};
use trellis_lattice::store::{Change, Expect, Key, Record, Revision, SharedStore, Store, Watch};
use trellis_lattice::subject::{QueueGroup, Subject};
use trellis_lattice::transport::{Message, SharedTransport, Subscription, Transport};

use crate::ground::Ground;
use crate::mutation::Mutation;

/// No wadm needs so many effects for what happens here.
const MOST_EFFECTS: u64 = 3_000;

/// How the store answers one wadm.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Mood {
    Sound,
    /// Nothing is answered.
    Down,
    /// Reads are answered from these records. Writes are checked against what is.
    Past(Arc<Vec<Record>>),
}

/// Whether the last effect happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Last {
    Happens,
    DoesNot,
}

/// Ends a wadm at one of its effects.
#[derive(Debug)]
pub(crate) struct Fuse {
    left: AtomicU64,
    last: Last,
    blown: Notify,
    burnt: AtomicU64,
}

impl Fuse {
    /// Lets `effects` happen; the next one is the last, and happens or not.
    pub(crate) fn new(effects: u64, last: Last) -> Arc<Self> {
        Arc::new(Self { left: AtomicU64::new(effects), last, blown: Notify::new(), burnt: AtomicU64::new(0) })
    }

    /// Never blows.
    pub(crate) fn none() -> Arc<Self> {
        Self::new(u64::MAX, Last::DoesNot)
    }

    /// Lets it blow after at most so many more effects.
    pub(crate) fn shorten(&self, effects: u64) {
        self.left.fetch_min(effects, Ordering::Relaxed);
    }

    /// How many effects there were.
    pub(crate) fn burnt(&self) -> u64 {
        self.burnt.load(Ordering::Relaxed)
    }

    /// Waits until it blows.
    pub(crate) async fn blown(&self) {
        self.blown.notified().await;
    }

    /// Does `effect`, unless this is the end.
    async fn burn<T>(&self, effect: impl Future<Output = T>) -> T {
        self.burnt.fetch_add(1, Ordering::Relaxed);
        let left = self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
        if left.is_ok() {
            return effect.await;
        }
        if self.last == Last::Happens {
            effect.await;
        }
        self.blown.notify_one();
        std::future::pending().await
    }
}

/// The store as one wadm sees it.
pub(crate) struct MoodyStore {
    pub(crate) inner: SharedStore,
    pub(crate) mood: watch::Receiver<Mood>,
    pub(crate) fuse: Arc<Fuse>,
    pub(crate) mutation: Option<Mutation>,
}

impl fmt::Debug for MoodyStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MoodyStore")
    }
}

impl MoodyStore {
    fn check(&self) -> Result<()> {
        match *self.mood.borrow() {
            Mood::Down => Err(Error::new(ErrorKind::Disconnected, "the store is down")),
            Mood::Sound | Mood::Past(_) => Ok(()),
        }
    }

    fn past(&self) -> Option<Arc<Vec<Record>>> {
        match &*self.mood.borrow() {
            Mood::Past(records) => Some(Arc::clone(records)),
            Mood::Sound | Mood::Down => None,
        }
    }
}

#[async_trait]
impl Store for MoodyStore {
    async fn get(&self, key: &Key) -> Result<Option<Record>> {
        self.check()?;
        match self.past() {
            Some(past) => Ok(past.iter().find(|record| record.key == *key).cloned()),
            None => self.inner.get(key).await,
        }
    }

    async fn put(&self, key: &Key, value: Bytes, expect: Expect) -> Result<Revision> {
        self.check()?;
        let expect = if self.mutation == Some(Mutation::WriteBlindly) { Expect::Any } else { expect };
        let value = self.mutation.map_or(value.clone(), |mutation| mutation.record(key, value));
        self.fuse.burn(self.inner.put(key, value, expect)).await
    }

    async fn delete(&self, key: &Key, expect: Expect) -> Result<()> {
        self.check()?;
        self.fuse.burn(self.inner.delete(key, expect)).await
    }

    async fn list(&self, prefix: &str) -> Result<Vec<Record>> {
        self.check()?;
        match self.past() {
            Some(past) => Ok(under(&past, prefix)),
            None => self.inner.list(prefix).await,
        }
    }

    async fn watch(&self, prefix: &str) -> Result<Watch> {
        self.check()?;
        let follower = Follower {
            inner: Arc::clone(&self.inner),
            mood: self.mood.clone(),
            prefix: prefix.to_owned(),
            told: Vec::new(),
            watch: None,
            has_begun: false,
        };
        Ok(Watch::new(stream::unfold(follower, Follower::next)))
    }
}

fn under(records: &[Record], prefix: &str) -> Vec<Record> {
    records.iter().filter(|record| record.key.as_str().starts_with(prefix)).cloned().collect()
}

/// A watch that begins again whenever the mood changes.
struct Follower {
    inner: SharedStore,
    mood: watch::Receiver<Mood>,
    prefix: String,
    /// To be told, last first.
    told: Vec<Change>,
    watch: Option<Watch>,
    has_begun: bool,
}

impl Follower {
    async fn next(mut self) -> Option<(Change, Self)> {
        if !std::mem::replace(&mut self.has_begun, true) {
            self.begin().await;
        }
        loop {
            if let Some(change) = self.told.pop() {
                return Some((change, self));
            }
            let news = async {
                match &mut self.watch {
                    Some(watch) => watch.next().await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                changed = self.mood.changed() => {
                    changed.ok()?;
                    self.begin().await;
                    self.told.push(Change::Restart);
                }
                change = news => return Some((change?, self)),
            }
        }
    }

    async fn begin(&mut self) {
        let mood = self.mood.borrow_and_update().clone();
        self.watch = None;
        match mood {
            Mood::Sound => self.watch = Some(self.inner.watch(&self.prefix).await.expect("in memory")),
            Mood::Down => {}
            Mood::Past(past) => {
                self.told.push(Change::Ready);
                self.told.extend(under(&past, &self.prefix).into_iter().rev().map(Change::Put));
            }
        }
    }
}

/// The bus as one wadm has it.
pub(crate) struct Wire {
    pub(crate) inner: SharedTransport,
    pub(crate) ground: Ground,
    pub(crate) name: String,
    pub(crate) fuse: Arc<Fuse>,
    pub(crate) mutation: Option<Mutation>,
}

impl fmt::Debug for Wire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Wire({})", self.name)
    }
}

#[async_trait]
impl Transport for Wire {
    async fn publish(&self, message: Message) -> Result<()> {
        self.fuse.burn(self.inner.publish(message)).await
    }

    async fn subscribe(&self, subject: Subject, group: Option<QueueGroup>) -> Result<Subscription> {
        self.inner.subscribe(subject, group).await
    }

    async fn request(&self, subject: Subject, payload: Bytes, timeout: Duration) -> Result<Message> {
        if subject.as_str().contains(".host.get.") {
            return self.inner.request(subject, payload, timeout).await;
        }
        let payload = match self.mutation {
            Some(mutation) => mutation.command(payload),
            None => payload,
        };
        if self.fuse.burnt() > MOST_EFFECTS {
            self.ground.truth().violation(format!("{} never rests", self.name));
            return std::future::pending().await;
        }
        let line = format!("{} sends {} {}", self.name, short(&subject), gist(&payload));
        self.ground.truth().sends(&line, payload.clone());
        self.fuse.burn(self.inner.request(subject, payload, timeout)).await
    }

    async fn flush(&self) -> Result<()> {
        self.inner.flush().await
    }

    fn max_payload_bytes(&self) -> usize {
        self.inner.max_payload_bytes()
    }

    fn is_connected(&self) -> bool {
        self.inner.is_connected()
    }
}

/// A subject without what is the same in all.
fn short(subject: &Subject) -> String {
    subject.tokens().skip(4).map(|token| token.chars().take(12).collect::<String>()).collect::<Vec<_>>().join(".")
}

/// A command in a few words.
fn gist(payload: &[u8]) -> String {
    let value: serde_json::Value = serde_json::from_slice(payload).unwrap_or_default();
    let member = |name: &str| value.get(name).map(|value| format!(" {name}={value}")).unwrap_or_default();
    ["component_id", "provider_id", "count", "source_id", "target", "fence"].map(member).concat()
}
