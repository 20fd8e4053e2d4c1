//! What waits to be sent: taken out together and, where several frames go to one peer, sent as one message.

use std::collections::VecDeque;

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};
use uuid::Uuid;

use super::core::Core;
use super::slot::Slots;
use crate::error::CallError;
use crate::subject::{self, Subject};
use crate::transport::Message;
use crate::wire::{Kind, Prefix, bundle};

/// How many messages may wait to be sent together.
const OUTBOX: usize = 4096;

/// How many are taken from there at a time.
const BATCH: usize = 256;

/// The largest frame that is sent together with others, in bytes: copying a larger one costs more than a message.
const MAX_BUNDLED_FRAME_BYTES: usize = 4 * 1024;

/// The largest message made of several frames, in bytes.
const MAX_BUNDLE_BYTES: usize = 64 * 1024;

/// Where messages wait for [`post_all`].
pub(super) struct Outbox(mpsc::Sender<Outgoing>);

/// What waits there.
pub(super) enum Outgoing {
    Message(Message),
    /// Answered when all that was before it is sent.
    Mark(oneshot::Sender<()>),
}

/// A call that waits on a slot.
pub(super) type Waiting = (u16, Uuid);

impl Outbox {
    /// An empty one and its other end.
    pub(super) fn new() -> (Self, mpsc::Receiver<Outgoing>) {
        let (tx, rx) = mpsc::channel(OUTBOX);
        (Self(tx), rx)
    }

    /// Sends a message soon, or not at all if too many wait already. Whether it was taken. For what is sent where
    /// nothing can be awaited: credits, cancels, refusals; losing one costs time, never truth.
    pub(super) fn post(&self, message: Message) -> bool {
        self.0.try_send(Outgoing::Message(message)).is_ok()
    }

    /// Sends a message together with others that are about to be sent; waits while too many wait already.
    pub(super) async fn send_soon(&self, message: Message) {
        // The queue is closed only when the peer has ended, and nobody waits for its answers then.
        let _ = self.0.send(Outgoing::Message(message)).await;
    }

    /// Waits until what was posted so far is sent.
    pub(super) async fn until_posted(&self) {
        let (tx, rx) = oneshot::channel();
        if self.0.send(Outgoing::Mark(tx)).await.is_ok() {
            let _ = rx.await;
        }
    }
}

/// Sends what is posted, until the peer ends.
pub(super) async fn post_all(core: &Core, slots: &Slots, mut posted: mpsc::Receiver<Outgoing>) {
    let mut batch = Vec::with_capacity(BATCH);
    while posted.recv_many(&mut batch, BATCH).await > 0 {
        // Who posts is often followed by others at once: what they send together costs one message in all.
        tokio::task::yield_now().await;
        while batch.len() < BATCH
            && let Ok(next) = posted.try_recv()
        {
            batch.push(next);
        }
        let mut letters = VecDeque::new();
        for outgoing in batch.drain(..) {
            match outgoing {
                Outgoing::Message(message) => put(&mut letters, message),
                Outgoing::Mark(passed) => {
                    send(core, slots, &mut letters).await;
                    let _ = passed.send(());
                }
            }
        }
        send(core, slots, &mut letters).await;
    }
}

/// Messages that become one, if there are several.
struct Letter {
    messages: Vec<Message>,
    bytes: usize,
    is_open: bool,
}

/// Puts a message to those that go the same way, or after them.
fn put(letters: &mut VecDeque<Letter>, message: Message) {
    let frame_bytes = bundle::bundled_bytes(std::iter::once(message.payload.len()));
    let is_open = may_be_bundled(&message);
    let way = way(&message.subject);
    // The latest that goes this way: an earlier one would be an overtaking.
    let latest = letters.iter_mut().rev().find(|letter| way == self::way(&letter.messages[0].subject));
    match latest.filter(|letter| is_open && letter.is_open && letter.bytes + frame_bytes <= MAX_BUNDLE_BYTES) {
        Some(letter) => {
            letter.bytes += frame_bytes;
            letter.messages.push(message);
        }
        None => letters.push_back(Letter { messages: vec![message], bytes: frame_bytes, is_open }),
    }
}

/// Whether it is a small sealed frame.
fn may_be_bundled(message: &Message) -> bool {
    let is_sealed = |kind: Kind| !matches!(kind, Kind::Presence | Kind::Stranger);
    message.payload.len() <= MAX_BUNDLED_FRAME_BYTES
        && Prefix::read(&message.payload).is_ok_and(|(prefix, _)| is_sealed(prefix.kind))
}

/// What messages to one inbox, or to the slots of one peer, have in common.
#[derive(Debug, PartialEq, Eq)]
enum Way<'a> {
    Inbox(&'a str),
    Slots(&'a str),
}

fn way(subject: &Subject) -> Way<'_> {
    let text = subject.as_str();
    match text.rsplit_once('.') {
        Some((peer, slot)) if slot.parse::<u16>().is_ok() => Way::Slots(peer),
        _ => Way::Inbox(text),
    }
}

async fn send(core: &Core, slots: &Slots, letters: &mut VecDeque<Letter>) {
    for Letter { messages, .. } in letters.drain(..) {
        let waiting: Vec<Waiting> = messages.iter().filter_map(waiting).collect();
        let message = match <[Message; 1]>::try_from(messages) {
            Ok([message]) => message,
            Err(messages) => bundled(slots, &messages, &waiting),
        };
        if let Err(error) = core.publish(message).await {
            tracing::debug!(error = %error, "message could not be sent");
            unsent(slots, &waiting, &error);
        }
    }
}

fn unsent(slots: &Slots, waiting: &[Waiting], error: &CallError) {
    waiting.iter().for_each(|call| slots.unsent(*call, error.clone()));
}

/// The call that a message makes.
fn waiting(message: &Message) -> Option<Waiting> {
    let slot = slot(message.reply.as_ref()?)?;
    let (prefix, _) = Prefix::read(&message.payload).ok()?;
    Some((slot, prefix.id))
}

fn slot(subject: &Subject) -> Option<u16> {
    u16::try_from(subject::slot_of(subject)?).ok()
}

/// One message; "no responders" to it means all the calls in it.
fn bundled(slots: &Slots, messages: &[Message], waiting: &[Waiting]) -> Message {
    let entries = messages.iter().map(|message| {
        let answered_at = message.reply.as_ref().unwrap_or(&message.subject);
        (slot(answered_at).unwrap_or(0), &message.payload)
    });
    let payload = Bytes::from(bundle::encode_bundle(entries));
    let bundled = Message::new(messages[0].subject.clone(), payload);
    if waiting.is_empty() { bundled } else { bundled.with_reply(slots.enter_bundle(waiting.to_vec())) }
}
