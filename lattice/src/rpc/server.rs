//! The calls that arrive at the inbox of this peer: checked, served on a task each, answered.

use std::collections::{HashMap, hash_map};
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt as _;
use futures::future::{BoxFuture, Either};
use tokio::task::AbortHandle;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use super::Serve;
use super::core::{Core, Lane, Letter, Place, Refusal};
use super::member::{Learned, Members, Remote};
use super::presence::Voice;
use super::stream::{Arrival, Credit, Departure, Feed, Outgoing, pump};
use crate::deadline;
use crate::error::CallError;
use crate::id::EntityId;
use crate::message::invocation::{Answer, Head, Invocation, MAX_DEPTH};
use crate::message::presence::State;
use crate::seal::Session;
use crate::subject::{self, Subject};
use crate::transport::Message;
use crate::wire::bundle::{decode_bundle, is_bundle};
use crate::wire::flow::{decode_bare, decode_credit};
use crate::wire::reply::{decode_error, encode_error};
use crate::wire::{CallFrame, Chunk, End, Kind, Malformed, PREFIX_BYTES, Prefix, ReplyFrame, Tag};

/// The most calls that are served at a time.
const MAX_SERVED: usize = 8192;

/// The serving half of a peer.
pub(super) struct Server {
    core: Arc<Core>,
    members: Arc<Members>,
    voice: Arc<Voice>,
    serve: Option<Arc<dyn Serve>>,
    tasks: TaskTracker,
    /// A lock, because the inbox task enters calls and each call's own task takes itself out; held for a few
    /// instructions.
    served: Mutex<HashMap<Key, Entry>>,
}

type Key = (Tag, Uuid);

/// Where a frame wants its answer: a slot of the peer that it came from, and the number of the slot that it means.
type Reply<'a> = (&'a Subject, u32);

struct Entry {
    session: Arc<Session>,
    task: AbortHandle,
    feed: Option<Feed>,
    download: Option<Arc<Credit>>,
}

/// A call that was checked, and its answer in the making.
struct Job {
    lane: Lane,
    entered: Entered,
    target: EntityId,
    deadline: Instant,
    answer: BoxFuture<'static, Result<Answer<Bytes>, CallError>>,
}

impl Server {
    /// Serves with `serve`, or refuses all calls.
    pub(super) fn new(
        core: Arc<Core>,
        members: Arc<Members>,
        voice: Arc<Voice>,
        serve: Option<Arc<dyn Serve>>,
    ) -> Arc<Self> {
        Arc::new(Self { core, members, voice, serve, tasks: TaskTracker::new(), served: Mutex::default() })
    }

    /// Handles what arrived at the inbox; gives a run of a peer that is over with it.
    pub(super) fn receive(self: &Arc<Self>, message: &Message) -> Option<Arc<Remote>> {
        if is_bundle(&message.payload) {
            self.receive_bundle(message);
            return None;
        }
        let slot = message.reply.as_ref().and_then(subject::slot_of);
        match self.receive_frame(&message.payload, message.reply.as_ref().zip(slot)) {
            Ok(ended) => ended,
            Err(refusal) => {
                self.core.refused.count(refusal);
                None
            }
        }
    }

    /// How many calls are served now.
    pub(super) fn in_service(&self) -> usize {
        self.tasks.len()
    }

    /// Waits until no call is served any more.
    pub(super) async fn idle(&self) {
        self.tasks.close();
        self.tasks.wait().await;
    }

    /// Ends the calls that the other end of `session` made, or all.
    pub(super) fn abort(&self, session: Option<&Arc<Session>>) {
        let is_meant = |entry: &&Entry| session.is_none_or(|session| Arc::ptr_eq(session, &entry.session));
        let tasks: Vec<_> = self.lock().values().filter(is_meant).map(|entry| entry.task.clone()).collect();
        tasks.iter().for_each(AbortHandle::abort);
    }

    /// Each frame as if it had come alone, with its own slot in the place of the bundle's.
    fn receive_bundle(self: &Arc<Self>, message: &Message) {
        let Ok(frames) = decode_bundle(&message.payload) else {
            return self.core.refused.count(Refusal::Malformed);
        };
        for (slot, frame) in frames {
            let reply = message.reply.as_ref().map(|reply| (reply, slot.into()));
            let refusal = match Prefix::read(&frame) {
                Ok((prefix, _)) if prefix.kind != Kind::Presence => self.receive_frame(&frame, reply).err(),
                _ => Some(Refusal::Malformed),
            };
            refusal.into_iter().for_each(|refusal| self.core.refused.count(refusal));
        }
    }

    fn receive_frame(
        self: &Arc<Self>,
        payload: &Bytes,
        reply: Option<Reply<'_>>,
    ) -> Result<Option<Arc<Remote>>, Refusal> {
        let (prefix, _) = Prefix::read(payload).map_err(malformed)?;
        if prefix.kind == Kind::Presence {
            let learned = self.members.learn(payload)?;
            return Ok(if let Learned::News { ended, .. } = learned { ended } else { None });
        }
        let remote = self.members.view().by_tag.get(&prefix.tag).cloned();
        let Some(remote) = remote else {
            self.refuse_stranger(prefix, reply);
            return Err(Refusal::Strange);
        };
        let body = remote.session.open(payload).ok_or(Refusal::Unsealed)?;
        let bytes = &body[PREFIX_BYTES..];
        match prefix.kind {
            Kind::Call => self.receive_call(remote, prefix.id, (payload, bytes), reply)?,
            _ => self.receive_flow((prefix.tag, prefix.id), prefix.kind, bytes, payload).map_err(malformed)?,
        }
        Ok(None)
    }

    fn refuse_stranger(&self, prefix: Prefix, reply: Option<Reply<'_>>) {
        let reply = reply.filter(|(slot, _)| subject::is_reply_slot(&self.core.lattice, slot));
        if let Some((slot, number)) = reply.filter(|_| prefix.kind == Kind::Call && self.members.may_check()) {
            self.voice.refuse_stranger(prefix, subject::other_slot(slot, number));
        }
    }

    fn receive_call(
        self: &Arc<Self>,
        remote: Arc<Remote>,
        id: Uuid,
        (payload, bytes): (&Bytes, &[u8]),
        reply: Option<Reply<'_>>,
    ) -> Result<(), Refusal> {
        let now = Instant::now();
        let mut frame = CallFrame::decode(id, bytes, now, &mut remote.names()).map_err(malformed)?;
        if !remote.session.is_first(frame.stamp.sequence) {
            return Err(Refusal::Replayed);
        }
        // Nobody may make this peer publish but to the slots of the caller.
        let own = reply.filter(|(slot, _)| subject::is_slot_in(&remote.slots, slot));
        let (_, number) = own.ok_or(Refusal::Malformed)?;
        let to = Place::Slot { of: remote.slots.clone(), number };
        let lane = Lane { session: Arc::clone(&remote.session), id, to };
        let checked = match remote.time_left(frame.stamp)? {
            Ok(left) => self.check(&frame).map(|()| left),
            Err(error) => Err(error),
        };
        match checked {
            Ok(left) => {
                frame.head.context.deadline = now + left;
                self.start(&remote, lane, frame, payload)
            }
            Err(error) => {
                self.refuse(&lane, &error);
                Ok(())
            }
        }
    }

    fn check(&self, frame: &CallFrame<'_>) -> Result<(), CallError> {
        let head = &frame.head;
        if head.context.depth > MAX_DEPTH {
            return Err(CallError::denied(format!(
                "calls are nested deeper than {MAX_DEPTH}, down to {}",
                head.target
            )));
        }
        if self.serve.is_none() || self.voice.state() != State::Ready {
            let message = format!("{} takes no calls for {}", self.core.identity.peer(), head.target);
            return Err(CallError::no_target(message));
        }
        if self.in_service() >= MAX_SERVED {
            let message = format!("{} serves {MAX_SERVED} calls already", self.core.identity.peer());
            return Err(CallError::overloaded(message, Duration::from_millis(100)));
        }
        Ok(())
    }

    fn start(
        self: &Arc<Self>,
        remote: &Remote,
        lane: Lane,
        frame: CallFrame<'_>,
        payload: &Bytes,
    ) -> Result<(), Refusal> {
        let CallFrame { head, args, body, .. } = frame;
        let (feed, arrival) = Arrival::new(&self.core, &lane, (args, body), payload);
        let key = (remote.session.incoming_tag(), lane.id);
        let session = Arc::clone(&remote.session);
        let (target, deadline) = (head.target.clone(), head.context.deadline);
        let answer = self.answer(remote, head, arrival);
        // Entered and taken out under one lock: the task cannot end before it is entered.
        let mut served = self.lock();
        let hash_map::Entry::Vacant(place) = served.entry(key) else { return Err(Refusal::Replayed) };
        let entered = Entered { server: Arc::clone(self), key };
        let job = Job { lane, entered, target, deadline, answer };
        let task = self.tasks.spawn(run(job)).abort_handle();
        place.insert(Entry { session, task, feed, download: None });
        Ok(())
    }

    /// The answer to a call, in the making once this is awaited.
    fn answer(
        &self,
        remote: &Remote,
        head: Head,
        arrival: Arrival,
    ) -> BoxFuture<'static, Result<Answer<Bytes>, CallError>> {
        let serve = Arc::clone(self.serve.as_ref().expect("calls are refused where nobody serves"));
        let claims = remote.claims.load_full();
        match arrival.whole() {
            Ok((args, body)) => serve.serve(claims, Invocation { head, args, body }),
            Err(arrival) => Box::pin(async move {
                let (args, body) = arrival.read().await?;
                serve.serve(claims, Invocation { head, args, body }).await
            }),
        }
    }

    fn refuse(&self, lane: &Lane, error: &CallError) {
        self.core.outbox.post(lane.letter(encode_error(lane.prefix(Kind::Error), error)));
    }

    /// Sends what is all of an answer: at once, or with others where there are others.
    fn reply(&self, letter: Letter) -> impl Future<Output = ()> + Send {
        if self.in_service() > 1 || !self.core.outbox.is_empty() {
            return Either::Left(self.core.outbox.send_soon(letter));
        }
        let sending = self.core.publish(letter);
        // Boxed, because every call carries the room for this and few take it.
        Either::Right(Box::pin(async move {
            if let Err(error) = sending.await {
                tracing::debug!(error = %error, "answer could not be sent");
            }
        }))
    }

    fn receive_flow(&self, key: Key, kind: Kind, bytes: &[u8], payload: &Bytes) -> Result<(), Malformed> {
        match kind {
            Kind::Chunk => {
                let chunk = Chunk::decode(bytes)?;
                let data = payload.slice_ref(chunk.data);
                self.with_feed(key, |feed| feed.chunk(chunk.sequence, data));
            }
            Kind::End => {
                let end = End::decode(bytes)?;
                self.with_feed(key, |feed| feed.end(&end));
            }
            Kind::Abort => {
                let error = decode_error(bytes)?;
                self.with_feed(key, |feed| feed.fail(error));
            }
            Kind::Credit => {
                let total_bytes = decode_credit(bytes)?;
                self.with_download(key, |credit| credit.grant(total_bytes));
            }
            Kind::Stop => {
                decode_bare(bytes)?;
                self.with_download(key, Credit::stop);
            }
            Kind::Cancel => {
                decode_bare(bytes)?;
                let task = self.lock().get(&key).map(|entry| entry.task.clone());
                task.iter().for_each(AbortHandle::abort);
            }
            Kind::Call | Kind::Reply | Kind::Error | Kind::Presence | Kind::Stranger => {
                return Err(Malformed("is of a kind that does not belong into an inbox"));
            }
        }
        Ok(())
    }

    fn with_feed(&self, key: Key, apply: impl FnOnce(&mut Feed)) {
        if let Some(feed) = self.lock().get_mut(&key).and_then(|entry| entry.feed.as_mut()) {
            apply(feed);
        }
    }

    fn with_download(&self, key: Key, apply: impl FnOnce(&Credit)) {
        if let Some(credit) = self.lock().get(&key).and_then(|entry| entry.download.as_ref()) {
            apply(credit);
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Entry>> {
        self.served.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Takes its call out when it is dropped: the call is over, however it ended.
struct Entered {
    server: Arc<Server>,
    key: Key,
}

impl Drop for Entered {
    fn drop(&mut self) {
        let entry = self.server.lock().remove(&self.key);
        drop(entry);
    }
}

/// Serves one call and sends its answer, body and all.
fn run(job: Job) -> impl Future<Output = ()> + Send {
    let Job { lane, entered, target, deadline, answer } = job;
    async move {
        let outcome = match deadline::by(deadline, pin!(AssertUnwindSafe(answer).catch_unwind())).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(_)) => Err(CallError::trap(format!("{target} panicked"))),
            Err(_) => Err(CallError::deadline(format!("{target} had no answer when the time was over"))),
        };
        let server = &*entered.server;
        let Answer { value, body } = match outcome {
            Ok(answer) => answer,
            Err(error) => return server.reply(lane.letter(encode_error(lane.prefix(Kind::Error), &error))).await,
        };
        let departure = Departure::new(value, body, server.core.frame_limit_bytes());
        let (value, body) = departure.parts();
        let frame = ReplyFrame { value, body }.encode(lane.session.outgoing_tag(), lane.id);
        match departure.rest() {
            None => server.reply(lane.letter(frame)).await,
            // Boxed, because every call carries the room for this and few take it.
            Some(rest) => Box::pin(send_all(&entered, lane, frame, rest)).await,
        }
    }
}

/// Sends the frame of an answer and what follows it.
async fn send_all(entered: &Entered, lane: Lane, frame: Vec<u8>, rest: Outgoing) {
    let server = &entered.server;
    let credit = Arc::new(Credit::default());
    if let Some(entry) = server.lock().get_mut(&entered.key) {
        entry.download = Some(Arc::clone(&credit));
    }
    // At once, because the rest must not overtake it.
    match server.core.publish(lane.letter(frame)).await {
        Ok(()) => pump(Arc::clone(&server.core), lane, credit, rest).await,
        Err(error) => tracing::debug!(error = %error, "answer could not be sent"),
    }
}

fn malformed(_: Malformed) -> Refusal {
    Refusal::Malformed
}
