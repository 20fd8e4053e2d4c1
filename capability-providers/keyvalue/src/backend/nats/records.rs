//! The records of a key-value bucket: one stream, whose last message on a subject is the record of a key.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_nats::HeaderMap;
use async_nats::jetstream::context::PublishErrorKind;
use async_nats::jetstream::message::StreamMessage;
use async_nats::jetstream::stream::{
    Config, DirectGetErrorKind, DiscardPolicy, LastRawMessageErrorKind, StorageType, Stream as Handle,
};
use bytes::Bytes;
use tokio::sync::Mutex;
use tokio::time::timeout;
use trellis_interfaces::keyvalue::Error;
use trellis_provider_sdk::{CallError, LinkError};

use super::connection::{Connection, Effect};
use super::{fault, name};
use crate::backend::Failure;
use crate::config::Stream;
use crate::scope::Bucket;

/// What the headers of a record are called.
const OPERATION: &str = "KV-Operation";
const MARKER: &str = "Nats-Marker-Reason";
const EXPECTED: &str = "Nats-Expected-Last-Subject-Sequence";
const TTL: &str = "Nats-TTL";

/// How long the trace of a removed key is kept, where the server can tell.
const TRACE_TTL: Duration = Duration::from_hours(1);

/// Room in a message for the headers.
const HEADER_BYTES: usize = 256;

/// How long opening may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// Keys share these by their hashes.
const LANES: usize = 64;

/// An open bucket.
pub(super) struct Records {
    connection: Arc<Connection>,
    config: Stream,
    handle: Handle<()>,
    /// Any copy answers; where there are several, it may be one that has not heard of the last write yet.
    is_direct: AtomicBool,
    has_ttl: AtomicBool,
    /// Locked over awaits on purpose: it makes calls wait for each other.
    lanes: [Mutex<()>; LANES],
}

/// What there is of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Entry {
    /// Nothing at all.
    Nothing,
    /// The trace of its removal.
    Deleted { revision: u64 },
    /// A value.
    Put { revision: u64, value: Bytes },
}

impl Entry {
    /// What a write after it expects.
    pub(super) fn revision(&self) -> u64 {
        match self {
            Self::Nothing => 0,
            Self::Deleted { revision } | Self::Put { revision, .. } => *revision,
        }
    }

    pub(super) fn value(&self) -> Option<&Bytes> {
        match self {
            Self::Put { value, .. } => Some(value),
            Self::Nothing | Self::Deleted { .. } => None,
        }
    }

    pub(super) fn into_value(self) -> Option<Bytes> {
        match self {
            Self::Put { value, .. } => Some(value),
            Self::Nothing | Self::Deleted { .. } => None,
        }
    }
}

/// What has to be there for a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Expect {
    /// Whatever is.
    Anything,
    /// That revision; 0 is nothing at all.
    Revision(u64),
}

/// What came of a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Put {
    /// It is there.
    Done,
    /// Something else was there.
    Stale,
}

impl Records {
    /// Opens the bucket, or makes it: on file storage, one value a key.
    ///
    /// # Errors
    /// When it cannot be, or is one that we cannot use; says why.
    pub(super) async fn open(connection: Arc<Connection>, config: &Stream) -> Result<Self, LinkError> {
        let unavailable = |message: String| LinkError::Unavailable(message);
        let stream = connection.context().get_stream_no_info(stream_name(&config.name)).await;
        let handle = stream.map_err(|error| unavailable(error.to_string()))?;
        let records = Self {
            connection,
            config: config.clone(),
            handle,
            is_direct: AtomicBool::new(false),
            has_ttl: AtomicBool::new(false),
            lanes: [const { Mutex::const_new(()) }; LANES],
        };
        match timeout(PATIENCE, records.make()).await {
            Ok(result) => result.map_err(unavailable)?,
            Err(_elapsed) => return Err(unavailable(format!("{} does not answer", records.shown()))),
        }
        Ok(records)
    }

    async fn make(&self) -> Result<(), String> {
        let context = self.connection.context();
        let wanted = Config {
            name: stream_name(&self.config.name),
            description: Some("keys and values of actors".to_owned()),
            subjects: vec![format!("{}>", self.start())],
            storage: StorageType::File,
            discard: DiscardPolicy::New,
            max_messages_per_subject: 1,
            num_replicas: self.config.replicas,
            max_bytes: self.config.max_bytes.map_or(-1, |bytes| i64::try_from(bytes).unwrap_or(i64::MAX)),
            allow_rollup: true,
            allow_direct: true,
            deny_delete: true,
            allow_message_ttl: true,
            ..Config::default()
        };
        let made = match context.get_stream(&wanted.name).await {
            Ok(stream) => stream.cached_info().config.clone(),
            Err(_) => match context.create_stream(wanted.clone()).await {
                Ok(made) => made.cached_info().config.clone(),
                // Another host may have been first, which servers tell in more than one way.
                Err(error) => {
                    let there = context.get_stream(&wanted.name).await;
                    let there = there.map_err(|_absent| format!("{} cannot be made: {error}", self.shown()))?;
                    there.cached_info().config.clone()
                }
            },
        };
        if made.max_messages_per_subject != 1 {
            let history = made.max_messages_per_subject;
            return Err(format!("{} keeps {history} values a key: name one in `stream` that keeps 1", self.shown()));
        }
        self.is_direct.store(made.allow_direct && made.num_replicas <= 1, Ordering::Relaxed);
        self.has_ttl.store(made.allow_message_ttl, Ordering::Relaxed);
        Ok(())
    }

    /// Whether a record can have a time to live.
    pub(super) fn has_ttl(&self) -> bool {
        self.has_ttl.load(Ordering::Relaxed)
    }

    pub(super) fn connection(&self) -> &Arc<Connection> {
        &self.connection
    }

    pub(super) fn handle(&self) -> &Handle<()> {
        &self.handle
    }

    /// For messages.
    pub(super) fn shown(&self) -> String {
        format!("bucket {} of nats-server at {}", self.config.name, self.connection.servers())
    }

    /// What all subjects begin with.
    fn start(&self) -> String {
        format!("$KV.{}.", self.config.name)
    }

    /// What the subjects of a bucket's keys begin with.
    pub(super) fn start_of(&self, bucket: &Bucket) -> String {
        format!("{}{}", self.start(), name::of_bucket(bucket))
    }

    /// The subject of a key.
    pub(super) fn subject(&self, bucket: &Bucket, key: &str) -> Result<String, Error> {
        Ok(format!("{}{}", self.start(), name::of_key(bucket, key)?))
    }

    /// What calls for one key in this process wait for each other with.
    pub(super) fn lane(&self, subject: &str) -> &Mutex<()> {
        let mut hasher = DefaultHasher::new();
        subject.hash(&mut hasher);
        let lane = usize::try_from(hasher.finish() % LANES as u64).unwrap_or(0);
        &self.lanes[lane]
    }

    /// Refuses a value that no message has room for.
    pub(super) fn check_size(&self, subject: &str, value: &Bytes) -> Result<(), Error> {
        let limit = self.connection.client().max_payload().saturating_sub(HEADER_BYTES + subject.len());
        if value.len() <= limit {
            return Ok(());
        }
        let (length, shown) = (value.len(), self.shown());
        Err(Error::Other(format!("a value of {length} bytes is over the limit of {limit} of {shown} (`max_payload`)")))
    }

    /// What there is on a subject.
    pub(super) async fn last(&self, subject: &str) -> Result<Entry, Failure> {
        let message = self.connection.on_line(Effect::Read, self.last_message(subject)).await??;
        Ok(message.map_or(Entry::Nothing, entry))
    }

    async fn last_message(&self, subject: &str) -> Result<Option<StreamMessage>, Failure> {
        if !self.is_direct.load(Ordering::Relaxed) {
            return match self.handle.get_last_raw_message_by_subject(subject).await {
                Ok(message) => Ok(Some(message)),
                Err(error) if error.kind() == LastRawMessageErrorKind::NoMessageFound => Ok(None),
                Err(error) => Err(CallError::provider(format!("{} cannot be read: {error}", self.shown())).into()),
            };
        }
        match self.handle.direct_get_last_for_subject(subject).await {
            Ok(message) => Ok(Some(message)),
            Err(error) if error.kind() == DirectGetErrorKind::NotFound => Ok(None),
            Err(error) => Err(fault::of_get(&self.shown(), &error)),
        }
    }

    /// Writes a value, which is gone after `ttl`.
    pub(super) async fn put(
        &self,
        subject: &str,
        value: Bytes,
        expect: Expect,
        ttl: Option<Duration>,
    ) -> Result<Put, Failure> {
        self.check_size(subject, &value)?;
        let mut headers = HeaderMap::new();
        if let Some(ttl) = ttl {
            headers.insert(TTL, seconds(ttl));
        }
        self.publish(subject, value, headers, expect).await
    }

    /// Removes what is on a subject, if anything is.
    pub(super) async fn delete(&self, subject: &str) -> Result<(), Failure> {
        if self.last(subject).await?.value().is_none() {
            return Ok(());
        }
        let mut headers = HeaderMap::new();
        headers.insert(OPERATION, "DEL");
        if self.has_ttl() {
            headers.insert(TTL, seconds(TRACE_TTL));
        }
        match self.publish(subject, Bytes::new(), headers, Expect::Anything).await {
            // There is no room for the trace, which is what was to be made.
            Err(Failure::Refused(_)) => self.purge(subject).await,
            result => result.map(drop),
        }
    }

    /// Removes what is on a subject without a trace, so that watchers are not told.
    async fn purge(&self, subject: &str) -> Result<(), Failure> {
        let purged = self.connection.on_line(Effect::Write, self.handle.purge().filter(subject).into_future()).await?;
        purged.map(drop).map_err(|error| CallError::provider(format!("{}: {error}", self.shown())).into())
    }

    async fn publish(&self, subject: &str, value: Bytes, headers: HeaderMap, expect: Expect) -> Result<Put, Failure> {
        let mut headers = headers;
        if let Expect::Revision(revision) = expect {
            headers.insert(EXPECTED, revision.to_string());
        }
        let publish = async {
            let sent = self.connection.context().publish_with_headers(subject.to_owned(), headers, value);
            sent.await?.await
        };
        match self.connection.on_line(Effect::Write, publish).await? {
            Ok(_) => Ok(Put::Done),
            Err(error) if error.kind() == PublishErrorKind::WrongLastSequence => Ok(Put::Stale),
            Err(error) => {
                // A server that lost its disk has no bucket: the next call finds one.
                if error.kind() == PublishErrorKind::StreamNotFound {
                    let _ = self.connection.on_line(Effect::Read, self.make()).await?;
                }
                Err(fault::of_publish(&self.shown(), &error))
            }
        }
    }
}

fn stream_name(bucket: &str) -> String {
    format!("KV_{bucket}")
}

fn entry(message: StreamMessage) -> Entry {
    let revision = message.sequence;
    match is_deletion(&message.headers) {
        true => Entry::Deleted { revision },
        false => Entry::Put { revision, value: message.payload },
    }
}

/// Whether a record says that its key is gone.
pub(super) fn is_deletion(headers: &HeaderMap) -> bool {
    headers.get(OPERATION).is_some() || headers.get(MARKER).is_some()
}

fn seconds(ttl: Duration) -> String {
    format!("{}s", ttl.as_millis().div_ceil(1_000))
}
