//! The channel between a host and a provider process, the same at both ends: either may call the other.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use serde::Serialize;
use tokio::net::UnixStream;
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;
use trellis_lattice::wire::flow::{decode_bare, decode_credit};
use trellis_lattice::wire::reply::decode_error;
use trellis_lattice::wire::{CallFrame, Chunk, End, Kind, MAX_FRAME_BYTES, Malformed, Names, Prefix, ReplyFrame};
use uuid::Uuid;

use super::body::{Credit, Feed};
use super::call::{Made, call};
use super::frame::Messages;
use super::outbox::{Outbox, Queue, outbox};
use super::serving::{Served, begin};
use crate::{Answer, Args, CallError, CallErrorKind, Invocation, heads};

/// Control messages that arrived and wait; more break the channel.
const CONTROLS: usize = 64;

/// Who answers the calls of the other end.
#[async_trait]
pub trait Serve: Send + Sync + 'static {
    /// Answers a call. The future is dropped when the caller leaves.
    async fn serve(&self, invocation: Invocation<Args>) -> Result<Answer<Args>, CallError>;
}

/// One end of a channel. When the last clone is dropped, it closes, and what is under way at either end fails.
#[derive(Clone)]
pub struct Channel {
    shared: Arc<Shared>,
    _tasks: Arc<[AbortOnDropHandle<()>; 2]>,
}

/// What the parts of one end share.
pub(super) struct Shared {
    pub(super) outbox: Outbox,
    pub(super) serve: Arc<dyn Serve>,
    /// A lock because callers enter and leave from any thread; held for the time of a lookup.
    tables: Mutex<Tables>,
    /// A call of the other end was served to its end.
    pub(super) served_one: Notify,
}

/// Calls under way.
#[derive(Default)]
pub(super) struct Tables {
    /// Why nothing goes any more.
    pub(super) closed: Option<String>,
    pub(super) made: HashMap<Uuid, Made>,
    pub(super) served: HashMap<Uuid, Served>,
}

impl Channel {
    /// Opens one end over `stream`. The JSON of control messages arrives at the receiver, which ends when the channel
    /// is closed from the other end.
    pub fn open(stream: UnixStream, serve: Arc<dyn Serve>) -> (Self, mpsc::Receiver<Bytes>) {
        let (reading, writing) = stream.into_split();
        let (outbox, queue) = outbox();
        let shared = Arc::new(Shared { outbox, serve, tables: Mutex::default(), served_one: Notify::new() });
        let (controls, arrived) = mpsc::channel(CONTROLS);
        let read = tokio::spawn(read(Arc::clone(&shared), Messages::new(reading), controls));
        let write = tokio::spawn(write(Arc::clone(&shared), queue, writing));
        let tasks = Arc::new([read, write].map(AbortOnDropHandle::new));
        (Self { shared, _tasks: tasks }, arrived)
    }

    /// Calls the other end. Dropping the future, or the answer's body, cancels the call.
    ///
    /// # Errors
    /// What the other end fails with; `NoTarget` when the channel is closed, `UnknownOutcome` when it closes before
    /// the answer is there, `Overloaded` when too many calls are under way.
    pub async fn call(&self, invocation: Invocation<Args>) -> Result<Answer<Args>, CallError> {
        let Invocation { head, args, body } = invocation;
        let (value, body) = call(&self.shared, &head, heads::to_bytes(args)?, body).await?;
        Ok(Answer { value: heads::value(&head.interface, value)?, body })
    }

    /// Sends a control message.
    ///
    /// # Errors
    /// `TooLarge` when it does not fit in a message; `NoTarget` when the channel is closed.
    pub async fn say(&self, message: &impl Serialize) -> Result<(), CallError> {
        let json = serde_json::to_vec(message)
            .map_err(|error| CallError::contract(format!("message has no JSON form: {error}")))?;
        if json.len() > MAX_FRAME_BYTES {
            return Err(CallError::too_large("config of provider or link is larger than 512 KiB"));
        }
        self.shared.outbox.send(json).await
    }

    /// Waits until no call of the other end is under way, bodies included.
    pub async fn idle(&self) {
        loop {
            let mut served_one = std::pin::pin!(self.shared.served_one.notified());
            served_one.as_mut().enable();
            if self.shared.tables().served.is_empty() {
                return;
            }
            served_one.await;
        }
    }

    /// Why it is closed, if it is.
    pub fn closed(&self) -> Option<String> {
        self.shared.tables().closed.clone()
    }
}

async fn write(shared: Arc<Shared>, queue: Queue, stream: tokio::net::unix::OwnedWriteHalf) {
    if let Err(error) = queue.write_to(stream).await {
        shared.close(&error.message);
    }
}

/// The tasks that serve calls, and what calls named.
type Serving<'a> = (&'a mut JoinSet<()>, &'a mut Names);

async fn read(
    shared: Arc<Shared>,
    mut messages: Messages<tokio::net::unix::OwnedReadHalf>,
    controls: mpsc::Sender<Bytes>,
) {
    let mut tasks = JoinSet::new();
    let mut names = Names::default();
    let reason = loop {
        let message = tokio::select! {
            message = messages.next() => message,
            Some(_) = tasks.join_next() => continue,
        };
        match message {
            Ok(Some(message)) => {
                if let Err(reason) = shared.take(message, &controls, (&mut tasks, &mut names)) {
                    break reason;
                }
            }
            Ok(None) => break "the other end closed it".to_owned(),
            Err(error) => break error.to_string(),
        }
    };
    shared.close(&reason);
}

impl Shared {
    pub(super) fn tables(&self) -> MutexGuard<'_, Tables> {
        self.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What a call ends with whose answer does not come any more.
    pub(super) fn lost(&self) -> CallError {
        let reason = self.tables().closed.clone().unwrap_or_else(|| "the channel closed".to_owned());
        CallError::new(CallErrorKind::UnknownOutcome, format!("the provider's process was lost: {reason}"))
    }

    fn close(&self, reason: &str) {
        self.outbox.close();
        let (made, served) = {
            let mut tables = self.tables();
            tables.closed.get_or_insert_with(|| reason.to_owned());
            (std::mem::take(&mut tables.made), std::mem::take(&mut tables.served))
        };
        served.into_values().filter_map(|served| served.abort).for_each(|abort| abort.abort());
        // Dropped outside of the lock: it wakes the callers, who look for the reason.
        drop(made);
    }

    /// Takes a message; an error is one that the protocol does not allow.
    fn take(
        self: &Arc<Self>,
        message: Bytes,
        controls: &mpsc::Sender<Bytes>,
        serving: Serving<'_>,
    ) -> Result<(), String> {
        if message.first() == Some(&b'{') {
            return controls.try_send(message).map_err(|_| "too many control messages came".to_owned());
        }
        self.frame(&message, serving).map_err(|error| error.to_string())
    }

    fn frame(self: &Arc<Self>, message: &Bytes, (tasks, names): Serving<'_>) -> Result<(), Malformed> {
        let (Prefix { kind, id, .. }, content) = Prefix::read(message)?;
        match kind {
            Kind::Call => begin(self, CallFrame::decode(id, content, Instant::now(), names)?, message, tasks),
            Kind::Reply => self.answered(id, message, &ReplyFrame::decode(content)?),
            Kind::Error => self.failed(id, decode_error(content)?),
            Kind::Chunk => {
                let chunk = Chunk::decode(content)?;
                self.feed(id, |feed| feed.chunk(&chunk, message.slice_ref(chunk.data)));
            }
            Kind::End => {
                let end = End::decode(content)?;
                self.feed(id, |feed| feed.end(&end));
            }
            Kind::Abort => {
                let error = decode_error(content)?;
                self.feed(id, |feed| feed.fail(error));
            }
            Kind::Credit => {
                let total = decode_credit(content)?;
                self.credit(id, |credit| credit.grant(total));
            }
            Kind::Stop => {
                decode_bare(content)?;
                self.credit(id, Credit::stop);
            }
            Kind::Cancel => {
                decode_bare(content)?;
                self.cancelled(id);
            }
            // They belong to peers of a lattice.
            Kind::Presence | Kind::Stranger => {}
        }
        Ok(())
    }

    /// Gives the body of a call what came; of one that is over, nothing is wanted.
    fn feed(&self, id: Uuid, give: impl FnOnce(&mut Feed)) {
        let mut tables = self.tables();
        let Tables { made, served, .. } = &mut *tables;
        let feed = match made.get_mut(&id) {
            Some(made) => made.feed.as_mut(),
            None => served.get_mut(&id).and_then(|served| served.feed.as_mut()),
        };
        if let Some(feed) = feed {
            give(feed);
        }
    }

    fn credit(&self, id: Uuid, give: impl FnOnce(&Credit)) {
        let tables = self.tables();
        let made = tables.made.get(&id).map(|made| &made.credit);
        if let Some(credit) = made.or_else(|| tables.served.get(&id).map(|served| &served.credit)) {
            give(credit);
        }
    }
}
