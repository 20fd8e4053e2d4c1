//! Calls that this end makes: one entry each until the answer and its body were read, or the caller left.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::oneshot;
use tokio_util::task::AbortOnDropHandle;
use trellis_lattice::wire::flow::encode_bare;
use trellis_lattice::wire::{CallFrame, HEADER_BYTES, Kind, MAX_FRAME_BYTES, Part, ReplyFrame, Stamp, Tag, Value};
use uuid::Uuid;

use super::body::{Credit, Feed, Reader, open, pump};
use super::channel::Shared;
use super::outbox::Lane;
use crate::{Body, CallError, Head};

/// Calls in one direction that may be under way; more are `overloaded`.
pub const MAX_CALLS: usize = 1_024;
/// What of a value and a body goes into the frame.
const INLINE_BYTES: usize = MAX_FRAME_BYTES - HEADER_BYTES;

/// A call that this end made.
pub(super) struct Made {
    pub(super) answer: Option<oneshot::Sender<Result<Arrival, CallError>>>,
    pub(super) feed: Option<Feed>,
    pub(super) credit: Arc<Credit>,
}

/// A value and a body, not all of which need be there yet.
pub(super) struct Arrival {
    value: Result<Bytes, u64>,
    body: Result<Body, Option<Reader>>,
}

impl Arrival {
    /// What a frame with these parts, which are slices of `message`, brings, and what its chunks are fed into.
    pub(super) fn new(lane: Lane, (value, body): (Value<'_>, Part<'_>), message: &Bytes) -> (Self, Option<Feed>) {
        let value = match value {
            Value::Inline(bytes) => Ok(message.slice_ref(bytes)),
            Value::Streamed(len) => Err(len),
        };
        let body = match body {
            Part::Inline(bytes) => Ok(message.slice_ref(bytes).into()),
            Part::Empty if value.is_ok() => Ok(Body::Empty),
            Part::Empty | Part::Streamed(_) => Err(()),
        };
        let (feed, reader) = match body {
            Ok(body) => return (Self { value, body: Ok(body) }, None),
            Err(()) => open(lane),
        };
        (Self { value, body: Err(Some(reader)) }, Some(feed))
    }

    /// Reads the value to its end; the body may still be under way. `held` is kept until all is here.
    pub(super) async fn read(self, held: Option<Held>) -> Result<(Bytes, Body), CallError> {
        let mut reader = match self.body {
            Ok(body) => {
                held.into_iter().for_each(Held::finish);
                return Ok((self.value.unwrap_or_default(), body));
            }
            Err(reader) => reader.expect("a body that is not here has a reader"),
        };
        if let Some(held) = held {
            reader = reader.holding(held);
        }
        let value = match self.value {
            Ok(value) => value,
            Err(len) => reader.take(len).await?,
        };
        Ok((value, Body::stream(reader)))
    }
}

/// A value and a body with what goes into the frame decided; the rest follows in chunks.
pub(super) struct Departure {
    value: Bytes,
    body: Body,
    follows: Follows,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Follows {
    Nothing,
    Body,
    All,
}

impl Departure {
    pub(super) fn new(value: Bytes, body: Body) -> Self {
        let follows = match &body {
            _ if value.len() > INLINE_BYTES => Follows::All,
            Body::Empty => Follows::Nothing,
            Body::Bytes(bytes) if value.len() + bytes.len() <= INLINE_BYTES => Follows::Nothing,
            Body::Bytes(_) | Body::Stream(_) => Follows::Body,
        };
        Self { value, body, follows }
    }

    /// What stands in the frame.
    pub(super) fn parts(&self) -> (Value<'_>, Part<'_>) {
        let value = match self.follows {
            Follows::All => Value::Streamed(self.value.len() as u64),
            Follows::Nothing | Follows::Body => Value::Inline(&self.value),
        };
        let body = match (&self.body, self.follows) {
            (Body::Empty, _) => Part::Empty,
            (Body::Bytes(bytes), Follows::Nothing) => Part::Inline(bytes),
            _ => Part::Streamed(None),
        };
        (value, body)
    }

    /// Sends what follows the frame, if something does.
    pub(super) fn rest(self, lane: &Lane, credit: &Arc<Credit>) -> Option<impl Future<Output = ()> + Send + use<>> {
        let value = match self.follows {
            Follows::Nothing => return None,
            Follows::Body => Bytes::new(),
            Follows::All => self.value,
        };
        Some(pump(lane.clone(), Arc::clone(credit), value, self.body))
    }
}

/// The entry of a call that this end made. Dropped before all was read, it tells the other end that the caller left.
pub(super) struct Held {
    shared: Arc<Shared>,
    id: Uuid,
    is_finished: bool,
    /// Sends the body of the call.
    sending: Option<AbortOnDropHandle<()>>,
}

impl Held {
    /// All that was to come has come.
    pub(super) fn finish(mut self) {
        self.is_finished = true;
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.sending = None;
        self.shared.tables().made.remove(&self.id);
        if !self.is_finished {
            let lane = self.shared.outbox.lane(self.id);
            lane.outbox.post(encode_bare(lane.prefix(Kind::Cancel)));
        }
    }
}

/// Sends a call and awaits its answer. Dropping the future, or the answer's body, cancels the call.
pub(super) async fn call(
    shared: &Arc<Shared>,
    head: &Head,
    args: Bytes,
    body: Body,
) -> Result<(Bytes, Body), CallError> {
    let departure = Departure::new(args, body);
    let budget = u32::try_from(head.context.remaining().as_millis()).unwrap_or(u32::MAX);
    // One clock and no replays between the two ends of a socket.
    let stamp = Stamp { sequence: 0, issued_at_ms: 0, budget_ms: budget.into() };
    let frame = CallFrame::encode(Tag::default(), stamp, head, departure.parts())
        .map_err(|error| CallError::too_large(error.to_string()))?;
    let credit = Credit::new();
    let (answer, answered) = oneshot::channel();
    let mut held = enter(shared, head.id, Made { answer: Some(answer), feed: None, credit: Arc::clone(&credit) })?;
    shared.outbox.send(frame).await?;
    let lane = shared.outbox.lane(head.id);
    held.sending = departure.rest(&lane, &credit).map(|rest| AbortOnDropHandle::new(tokio::spawn(rest)));
    match answered.await {
        Ok(Ok(arrival)) => arrival.read(Some(held)).await,
        Ok(Err(error)) => {
            held.finish();
            Err(error)
        }
        Err(_) => Err(shared.lost()),
    }
}

fn enter(shared: &Arc<Shared>, id: Uuid, made: Made) -> Result<Held, CallError> {
    let mut tables = shared.tables();
    if let Some(reason) = &tables.closed {
        return Err(CallError::no_target(reason.clone()));
    }
    if tables.made.len() >= MAX_CALLS {
        return Err(CallError::overloaded(
            format!("{MAX_CALLS} calls between host and provider are under way"),
            std::time::Duration::from_millis(100),
        ));
    }
    tables.made.insert(id, made);
    Ok(Held { shared: Arc::clone(shared), id, is_finished: false, sending: None })
}

impl Shared {
    /// A frame about a call that this end made; one about a call that is over means nothing.
    pub(super) fn answered(self: &Arc<Self>, id: Uuid, message: &Bytes, reply: &ReplyFrame<'_>) {
        let (arrival, feed) = Arrival::new(self.outbox.lane(id), (reply.value, reply.body), message);
        let mut tables = self.tables();
        if let Some(made) = tables.made.get_mut(&id)
            && let Some(answer) = made.answer.take()
        {
            made.feed = feed;
            // An error means that the caller left; what it held tells the other end.
            let unread = answer.send(Ok(arrival));
            drop(tables);
            drop(unread);
        }
    }

    /// A call that this end made failed.
    pub(super) fn failed(&self, id: Uuid, error: CallError) {
        let answer = self.tables().made.get_mut(&id).and_then(|made| made.answer.take());
        if let Some(answer) = answer {
            // An error means that the caller left.
            let _ = answer.send(Err(error));
        }
    }
}
