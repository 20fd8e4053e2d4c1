//! The calls of this peer that wait for an answer. Each has a slot: a small number that is reused and is the last
//! token of its reply subject, so that subjects stay few. The call's id in the frame tells reuses apart.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::oneshot;
use tokio_util::task::AbortOnDropHandle;
use uuid::Uuid;

use super::core::{Core, Lane, Refusal};
use super::outbox::Waiting;
use super::stream::{Arrival, Credit, Feed};
use crate::error::{CallError, CallErrorKind};
use crate::seal::Session;
use crate::subject::{Subject, reply_slot, slot_of};
use crate::transport::{Message, Status};
use crate::wire::bundle::{decode_bundle, is_bundle};
use crate::wire::flow::{decode_bare, decode_credit, encode_bare};
use crate::wire::reply::decode_error;
use crate::wire::{Chunk, End, Kind, Malformed, PREFIX_BYTES, Prefix, ReplyFrame, Stranger};

/// The most calls that wait at a time.
const MAX_WAITING: usize = 64 * 1024;

/// Of how many bundles it is remembered which calls were in them. "No responders" comes back within a round trip.
const BUNDLES: usize = 256;

/// How one attempt at a call ended.
pub(super) enum Outcome {
    /// With an answer.
    Answer(Box<Arrival>),
    /// The other end reports a failure.
    Failed(CallError),
    /// The transport did not take it.
    Unsent(CallError),
    /// Nobody was there to receive it.
    NoResponders,
    /// The other end has no session with us and did not carry it out; its presence.
    Stranger(Bytes),
    /// The other end is gone.
    Lost,
}

/// All slots.
pub(super) struct Slots {
    core: Arc<Core>,
    /// A lock, because callers on any task open slots and one task receives; held for a few instructions.
    table: Mutex<Table>,
    /// A lock, because one task sends bundles and another receives what becomes of them; held for a move.
    bundles: Mutex<Bundles>,
}

/// The calls of the last bundles. The reply subject of a bundle has a number above those of slots.
#[derive(Default)]
struct Bundles {
    sent: Vec<(Subject, Vec<Waiting>)>,
    next: usize,
}

#[derive(Default)]
struct Table {
    entries: Vec<Option<Entry>>,
    subjects: Vec<Subject>,
    free: Vec<usize>,
}

struct Entry {
    lane: Lane,
    reply: Option<oneshot::Sender<Outcome>>,
    feed: Option<Feed>,
    upload: Option<Arc<Credit>>,
    /// Sends the call's body; ended with the slot.
    sender: Option<AbortOnDropHandle<()>>,
}

/// A slot in use. Dropping it frees the slot and, unless the call is finished, tells the other end that we left.
pub(super) struct Held {
    slots: Arc<Slots>,
    slot: usize,
    subject: Subject,
    cancel: Option<Lane>,
}

impl Held {
    /// Where the answer is awaited.
    pub(super) fn reply(&self) -> (Subject, u16) {
        (self.subject.clone(), u16::try_from(self.slot).expect("slots are at most 65,536"))
    }

    /// Frees the slot; there is nothing to tell the other end.
    pub(super) fn finish(mut self) {
        self.cancel = None;
    }

    /// Takes credits for the call's body from now on.
    pub(super) fn uploads(&self, credit: Arc<Credit>) {
        if let Some(entry) = &mut self.slots.lock().entries[self.slot] {
            entry.upload = Some(credit);
        }
    }

    /// Gives the task that sends the call's body to the slot, which ends it.
    pub(super) fn owns(&self, sender: AbortOnDropHandle<()>) {
        if let Some(entry) = &mut self.slots.lock().entries[self.slot] {
            entry.sender = Some(sender);
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let entry = self.slots.free(self.slot);
        if let Some(lane) = self.cancel.take() {
            self.slots.core.outbox.post(lane.letter(encode_bare(lane.prefix(Kind::Cancel))));
        }
        drop(entry);
    }
}

impl Slots {
    /// None in use.
    pub(super) fn new(core: Arc<Core>) -> Arc<Self> {
        Arc::new(Self { core, table: Mutex::default(), bundles: Mutex::default() })
    }

    /// Takes a slot for the call with frames over `lane`.
    pub(super) fn hold(self: &Arc<Self>, lane: Lane) -> Result<(Held, oneshot::Receiver<Outcome>), CallError> {
        let (tx, rx) = oneshot::channel();
        let entry = Entry { lane: lane.clone(), reply: Some(tx), feed: None, upload: None, sender: None };
        let mut table = self.lock();
        let slot = match table.free.pop() {
            Some(slot) => slot,
            None if table.entries.len() < MAX_WAITING => self.grow(&mut table),
            None => {
                let message = format!("{MAX_WAITING} calls of this peer wait for an answer already");
                return Err(CallError::overloaded(message, std::time::Duration::from_millis(100)));
            }
        };
        table.entries[slot] = Some(entry);
        let subject = table.subjects[slot].clone();
        drop(table);
        Ok((Held { slots: Arc::clone(self), slot, subject, cancel: Some(lane) }, rx))
    }

    /// Ends every call that waits for the other end of `session`, or for any.
    pub(super) fn lose(&self, session: Option<&Arc<Session>>) {
        let mut table = self.lock();
        let is_meant = |entry: &&mut Entry| session.is_none_or(|session| Arc::ptr_eq(session, &entry.lane.session));
        for entry in table.entries.iter_mut().flatten().filter(is_meant) {
            if let Some(reply) = entry.reply.take() {
                let _ = reply.send(Outcome::Lost);
            }
            if let Some(feed) = &mut entry.feed {
                feed.fail(CallError::new(CallErrorKind::UnknownOutcome, "body breaks off: its sender is gone"));
            }
        }
    }

    /// Remembers the calls of a bundle that is about to be sent; where it is told that nobody received them.
    pub(super) fn enter_bundle(&self, calls: Vec<Waiting>) -> Subject {
        let mut bundles = self.bundles();
        let at = bundles.next;
        bundles.next = (at + 1) % BUNDLES;
        if at == bundles.sent.len() {
            let number = u32::try_from(MAX_WAITING + at).expect("slots and bundles are few");
            let subject = reply_slot(&self.core.lattice, self.core.identity.peer(), number);
            bundles.sent.push((subject, Vec::new()));
        }
        let (subject, sent) = &mut bundles.sent[at];
        *sent = calls;
        subject.clone()
    }

    /// Ends the wait for the answer to a call that the transport did not take.
    pub(super) fn unsent(&self, (slot, id): Waiting, error: CallError) {
        self.settle(slot.into(), Some(id), |_| Outcome::Unsent(error));
    }

    /// Handles what arrived on a reply slot.
    pub(super) fn receive(&self, message: &Message) {
        let Some(slot) = slot_of(&message.subject).and_then(|slot| usize::try_from(slot).ok()) else {
            return self.core.refused.count(Refusal::Malformed);
        };
        if message.status == Some(Status::NoResponders) {
            self.no_responders(slot);
        } else if !is_bundle(&message.payload) {
            self.receive_or_count(slot, &message.payload);
        } else if let Ok(frames) = decode_bundle(&message.payload) {
            frames.iter().for_each(|(slot, frame)| self.receive_or_count((*slot).into(), frame));
        } else {
            self.core.refused.count(Refusal::Malformed);
        }
    }

    fn no_responders(&self, slot: usize) {
        let Some(bundle) = slot.checked_sub(MAX_WAITING) else {
            return self.settle(slot, None, |_| Outcome::NoResponders);
        };
        let calls = self.bundles().sent.get_mut(bundle).map(|(_, calls)| std::mem::take(calls)).unwrap_or_default();
        calls.into_iter().for_each(|(slot, id)| self.settle(slot.into(), Some(id), |_| Outcome::NoResponders));
    }

    fn receive_or_count(&self, slot: usize, payload: &Bytes) {
        if let Err(refusal) = self.receive_frame(slot, payload) {
            self.core.refused.count(refusal);
        }
    }

    fn receive_frame(&self, slot: usize, payload: &Bytes) -> Result<(), Refusal> {
        let (prefix, _) = Prefix::read(payload).map_err(malformed)?;
        // Late frames of a call that is over are no offence.
        let Some(lane) = self.lane(slot).filter(|lane| lane.id == prefix.id) else { return Ok(()) };
        if prefix.kind == Kind::Stranger {
            return self.receive_stranger(slot, &lane, prefix, payload);
        }
        if prefix.tag != lane.session.incoming_tag() {
            return Err(Refusal::Strange);
        }
        let body = lane.session.open(payload).ok_or(Refusal::Unsealed)?;
        self.receive_sealed(slot, lane.clone(), prefix.kind, (payload, &body[PREFIX_BYTES..])).map_err(malformed)
    }

    fn receive_stranger(&self, slot: usize, lane: &Lane, prefix: Prefix, payload: &Bytes) -> Result<(), Refusal> {
        let signed = Stranger::decode(payload).map_err(malformed)?;
        let is_about_this = prefix.tag == lane.session.outgoing_tag() && signed.presence.peer == *lane.session.peer();
        if !is_about_this {
            return Err(Refusal::Strange);
        }
        if !signed.is_signed(&self.core.lattice) {
            return Err(Refusal::Untrusted);
        }
        self.settle(slot, Some(lane.id), |_| Outcome::Stranger(payload.clone()));
        Ok(())
    }

    fn receive_sealed(
        &self,
        slot: usize,
        lane: Lane,
        kind: Kind,
        (payload, bytes): (&Bytes, &[u8]),
    ) -> Result<(), Malformed> {
        let id = lane.id;
        match kind {
            Kind::Reply => {
                let reply = ReplyFrame::decode(bytes)?;
                self.settle(slot, Some(id), |entry| self.answer(entry, &reply, payload));
            }
            Kind::Error => {
                let error = decode_error(bytes)?;
                self.settle(slot, Some(id), |_| Outcome::Failed(error));
            }
            Kind::Chunk => {
                let chunk = Chunk::decode(bytes)?;
                let data = payload.slice_ref(chunk.data);
                self.with_feed(slot, id, |feed| feed.chunk(chunk.sequence, data));
            }
            Kind::End => {
                let end = End::decode(bytes)?;
                self.with_feed(slot, id, |feed| feed.end(&end));
            }
            Kind::Abort => {
                let error = decode_error(bytes)?;
                self.with_feed(slot, id, |feed| feed.fail(error));
            }
            Kind::Credit => {
                let total_bytes = decode_credit(bytes)?;
                self.with_credit(slot, id, |credit| credit.grant(total_bytes));
            }
            Kind::Stop => {
                decode_bare(bytes)?;
                self.with_credit(slot, id, Credit::stop);
            }
            Kind::Call | Kind::Cancel | Kind::Presence | Kind::Stranger => {
                return Err(Malformed("is of a kind that does not belong into a reply slot"));
            }
        }
        Ok(())
    }

    /// The outcome of a reply; its stream, if it has one, is fed from now on.
    fn answer(&self, entry: &mut Entry, reply: &ReplyFrame<'_>, payload: &Bytes) -> Outcome {
        let (feed, arrival) = Arrival::new(&self.core, &entry.lane, (reply.value, reply.body), payload);
        entry.feed = feed;
        Outcome::Answer(Box::new(arrival))
    }

    /// Ends the wait for an answer, if it is that call's and still going on.
    fn settle(&self, slot: usize, id: Option<Uuid>, outcome: impl FnOnce(&mut Entry) -> Outcome) {
        let mut table = self.lock();
        let Some(entry) = table.entry(slot).filter(|entry| id.is_none_or(|id| id == entry.lane.id)) else { return };
        if let Some(reply) = entry.reply.take() {
            let outcome = outcome(entry);
            drop(table);
            // The caller may have left in this moment; its slot says so to the other end.
            let _ = reply.send(outcome);
        }
    }

    fn with_feed(&self, slot: usize, id: Uuid, apply: impl FnOnce(&mut Feed)) {
        let mut table = self.lock();
        let entry = table.entry(slot).filter(|entry| entry.lane.id == id);
        if let Some(feed) = entry.and_then(|entry| entry.feed.as_mut()) {
            apply(feed);
        }
    }

    fn with_credit(&self, slot: usize, id: Uuid, apply: impl FnOnce(&Credit)) {
        let mut table = self.lock();
        let entry = table.entry(slot).filter(|entry| entry.lane.id == id);
        if let Some(credit) = entry.and_then(|entry| entry.upload.as_ref()) {
            apply(credit);
        }
    }

    fn lane(&self, slot: usize) -> Option<Lane> {
        self.lock().entry(slot).map(|entry| entry.lane.clone())
    }

    fn grow(&self, table: &mut Table) -> usize {
        let slot = table.entries.len();
        let number = u32::try_from(slot).expect("slots are at most 65,536");
        table.entries.push(None);
        table.subjects.push(reply_slot(&self.core.lattice, self.core.identity.peer(), number));
        slot
    }

    fn free(&self, slot: usize) -> Option<Entry> {
        let mut table = self.lock();
        table.free.push(slot);
        table.entries[slot].take()
    }

    fn bundles(&self) -> MutexGuard<'_, Bundles> {
        self.bundles.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    fn entry(&mut self, slot: usize) -> Option<&mut Entry> {
        self.entries.get_mut(slot)?.as_mut()
    }
}

fn malformed(_: Malformed) -> Refusal {
    Refusal::Malformed
}
