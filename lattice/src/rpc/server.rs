//! The calls that arrive at the inbox of this peer: checked, served on a task each, answered.

use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt as _;
use tokio::task::AbortHandle;
use tokio::time::{Instant, timeout_at};
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use super::Serve;
use super::core::{Core, Lane, Refusal, unix_ms};
use super::member::{Learned, Members, Remote};
use super::presence::Voice;
use super::stream::{Arrival, Credit, Departure, Feed, pump};
use crate::error::CallError;
use crate::message::invocation::{Answer, Head, Invocation, MAX_DEPTH};
use crate::message::presence::State;
use crate::seal::Session;
use crate::subject;
use crate::transport::Message;
use crate::wire::bundle::{decode_bundle, is_bundle};
use crate::wire::flow::{decode_bare, decode_credit};
use crate::wire::reply::{decode_error, encode_error};
use crate::wire::{CallFrame, Chunk, End, Kind, Malformed, PREFIX_BYTES, Prefix, ReplyFrame, Stamp, Tag};

/// The most calls that are served at a time.
const MAX_SERVED: usize = 8192;

/// How far two clocks may differ, in milliseconds.
const CLOCK_SLACK_MS: i64 = 60_000;

/// The longest time a call may have.
const LONGEST_BUDGET: Duration = Duration::from_secs(3600);

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

struct Entry {
    session: Arc<Session>,
    task: AbortHandle,
    feed: Option<Feed>,
    download: Option<Arc<Credit>>,
}

/// A call that was checked.
struct Job {
    remote: Arc<Remote>,
    lane: Lane,
    head: Head,
    arrival: Arrival,
    entered: Entered,
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
        match self.receive_frame(message) {
            Ok(ended) => ended,
            Err(refusal) => {
                self.core.refused.count(refusal);
                None
            }
        }
    }

    /// How many calls are served now.
    pub(super) fn in_service(&self) -> usize {
        self.lock().len()
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
            let reply = message.reply.as_ref().and_then(|reply| subject::other_slot(reply, slot));
            let message = Message { reply, ..Message::new(message.subject.clone(), frame) };
            let refusal = match Prefix::read(&message.payload) {
                Ok((prefix, _)) if prefix.kind != Kind::Presence => self.receive_frame(&message).err(),
                _ => Some(Refusal::Malformed),
            };
            refusal.into_iter().for_each(|refusal| self.core.refused.count(refusal));
        }
    }

    fn receive_frame(self: &Arc<Self>, message: &Message) -> Result<Option<Arc<Remote>>, Refusal> {
        let payload = &message.payload;
        let (prefix, _) = Prefix::read(payload).map_err(malformed)?;
        if prefix.kind == Kind::Presence {
            let learned = self.members.learn(payload)?;
            return Ok(if let Learned::News { ended, .. } = learned { ended } else { None });
        }
        let remote = self.members.view().by_tag.get(&prefix.tag).cloned();
        let Some(remote) = remote else {
            self.refuse_stranger(prefix, message);
            return Err(Refusal::Strange);
        };
        let body = remote.session.open(payload).ok_or(Refusal::Unsealed)?;
        let bytes = &body[PREFIX_BYTES..];
        match prefix.kind {
            Kind::Call => self.receive_call(remote, prefix.id, bytes, message)?,
            _ => self.receive_flow((prefix.tag, prefix.id), prefix.kind, bytes, payload).map_err(malformed)?,
        }
        Ok(None)
    }

    fn refuse_stranger(&self, prefix: Prefix, message: &Message) {
        let to = message.reply.as_ref().filter(|to| subject::is_reply_slot(&self.core.lattice, to));
        if let Some(to) = to.filter(|_| prefix.kind == Kind::Call && self.members.may_check()) {
            self.voice.refuse_stranger(prefix, to.clone());
        }
    }

    fn receive_call(
        self: &Arc<Self>,
        remote: Arc<Remote>,
        id: Uuid,
        bytes: &[u8],
        message: &Message,
    ) -> Result<(), Refusal> {
        let frame = CallFrame::decode(id, bytes, Instant::now()).map_err(malformed)?;
        if !remote.session.is_first(frame.stamp.sequence) {
            return Err(Refusal::Replayed);
        }
        // Nobody may make this peer publish but to the slots of the caller.
        let to = message.reply.clone().filter(|to| remote.slots.matches(to)).ok_or(Refusal::Malformed)?;
        if self.lock().contains_key(&(remote.session.incoming_tag(), id)) {
            return Err(Refusal::Replayed);
        }
        let lane = Lane { session: Arc::clone(&remote.session), id, to };
        let checked = match budget(&remote, frame.stamp)? {
            Ok(left) => self.check(&frame).map(|()| left),
            Err(error) => Err(error),
        };
        match checked {
            Ok(left) => self.start(remote, lane, frame, (message, left)),
            Err(error) => self.refuse(&lane, &error),
        }
        Ok(())
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
        remote: Arc<Remote>,
        lane: Lane,
        frame: CallFrame<'_>,
        (message, left): (&Message, Duration),
    ) {
        let CallFrame { mut head, args, body, .. } = frame;
        head.context.deadline = Instant::now() + left;
        let (feed, arrival) = Arrival::new(&self.core, &lane, (args, body), &message.payload);
        let key = (remote.session.incoming_tag(), lane.id);
        let session = Arc::clone(&remote.session);
        // Entered and taken out under one lock: the task cannot end before it is entered.
        let mut served = self.lock();
        let entered = Entered { server: Arc::clone(self), key };
        let job = Job { remote, lane, head, arrival, entered };
        let task = self.tasks.spawn(run(job)).abort_handle();
        served.insert(key, Entry { session, task, feed, download: None });
    }

    fn refuse(&self, lane: &Lane, error: &CallError) {
        self.core.outbox.post(lane.message(encode_error(lane.prefix(Kind::Error), error)));
    }

    /// Sends what is all of an answer: at once, or with others where there are others.
    async fn reply(&self, message: Message) {
        if self.in_service() > 1 {
            self.core.outbox.send_soon(message).await;
        } else if let Err(error) = self.core.publish(message).await {
            tracing::debug!(error = %error, "answer could not be sent");
        }
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
async fn run(job: Job) {
    let Job { remote, lane, head, arrival, entered } = job;
    let server = Arc::clone(&entered.server);
    let target = head.target.clone();
    let deadline = head.context.deadline;
    let serving = AssertUnwindSafe(answer(&server, &remote, head, arrival)).catch_unwind();
    let outcome = match timeout_at(deadline, serving).await {
        Ok(Ok(outcome)) => outcome,
        Ok(Err(_)) => Err(CallError::trap(format!("{target} panicked"))),
        Err(_) => Err(CallError::deadline(format!("{target} had no answer when the time was over"))),
    };
    match outcome {
        Ok(Answer { value, body }) => {
            let departure = Departure::new(value, body, server.core.frame_limit_bytes());
            send(&server, &entered, lane, departure).await;
        }
        Err(error) => {
            let frame = encode_error(lane.prefix(Kind::Error), &error);
            server.reply(lane.message(frame)).await;
        }
    }
}

async fn answer(server: &Server, remote: &Remote, head: Head, arrival: Arrival) -> Result<Answer<Bytes>, CallError> {
    let serve = server.serve.as_ref().expect("calls are refused where nobody serves");
    let (args, body) = arrival.read().await?;
    let claims = remote.claims.load_full();
    serve.serve(&claims, Invocation { head, args, body }).await
}

async fn send(server: &Server, entered: &Entered, lane: Lane, departure: Departure) {
    let (value, body) = departure.parts();
    let frame = ReplyFrame { value, body }.encode(lane.session.outgoing_tag(), lane.id);
    let Some(rest) = departure.rest() else {
        return server.reply(lane.message(frame)).await;
    };
    let credit = Arc::new(Credit::default());
    if let Some(entry) = server.lock().get_mut(&entered.key) {
        entry.download = Some(Arc::clone(&credit));
    }
    // At once, because the rest must not overtake it.
    match server.core.publish(lane.message(frame)).await {
        // Boxed, because every call carries the room for this and few take it.
        Ok(()) => Box::pin(pump(Arc::clone(&server.core), lane, credit, rest)).await,
        Err(error) => tracing::debug!(error = %error, "answer could not be sent"),
    }
}

/// The time that is left of a call's, or why its clock cannot be believed.
fn budget(remote: &Remote, stamp: Stamp) -> Result<Result<Duration, CallError>, Refusal> {
    let signed = |ms: u64| i64::try_from(ms).unwrap_or(i64::MAX);
    let behind_ms = remote.clock_offset_ms.load(std::sync::atomic::Ordering::Relaxed);
    if behind_ms.abs() > CLOCK_SLACK_MS {
        let (seconds, side) = (behind_ms.abs() / 1000, if behind_ms > 0 { "behind" } else { "ahead of" });
        let peer = remote.session.peer();
        let message = format!("the clock of {peer} is {seconds} s {side} ours: set both, e.g. by NTP");
        return Ok(Err(CallError::denied(message)));
    }
    let age_ms = signed(unix_ms()).saturating_sub(signed(stamp.issued_at_ms)).saturating_sub(behind_ms).max(0);
    let left_ms = signed(stamp.budget_ms).saturating_sub(age_ms);
    match u64::try_from(left_ms) {
        Ok(left_ms) if left_ms > 0 => Ok(Ok(Duration::from_millis(left_ms).min(LONGEST_BUDGET))),
        _ => Err(Refusal::Expired),
    }
}

fn malformed(_: Malformed) -> Refusal {
    Refusal::Malformed
}
