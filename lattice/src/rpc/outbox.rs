//! What waits to be sent: taken out together and, where several frames go to one peer, sent as one message.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot};
use uuid::Uuid;

use super::core::{Core, Letter, Place};
use super::slot::Slots;
use crate::error::CallError;
use crate::transport::Message;
use crate::wire::{Kind, Prefix, bundle};

/// How many letters may wait to be sent together.
const OUTBOX: usize = 4096;

/// How many are taken from there at a time.
const BATCH: usize = 256;

/// The largest frame that is sent together with others, in bytes: copying a larger one costs more than a message.
const MAX_BUNDLED_FRAME_BYTES: usize = 4 * 1024;

/// The largest message made of several frames, in bytes.
const MAX_BUNDLE_BYTES: usize = 64 * 1024;

/// How often others are waited for before what is there is sent.
const LOOKS: usize = 2;

/// Where letters wait for [`post_all`].
pub(super) struct Outbox {
    waiting: mpsc::Sender<Outgoing>,
    /// How many wait there or were taken out and are not sent yet.
    unsent: AtomicUsize,
}

/// What waits there.
pub(super) enum Outgoing {
    Letter(Letter),
    /// Answered when all that was before it is sent.
    Mark(oneshot::Sender<()>),
}

/// A call that waits on a slot.
pub(super) type Waiting = (u16, Uuid);

impl Outbox {
    /// An empty one and its other end.
    pub(super) fn new() -> (Self, mpsc::Receiver<Outgoing>) {
        let (tx, rx) = mpsc::channel(OUTBOX);
        (Self { waiting: tx, unsent: AtomicUsize::new(0) }, rx)
    }

    /// Whether nothing waits: what is sent by itself overtakes nothing.
    pub(super) fn is_empty(&self) -> bool {
        self.unsent.load(Ordering::Relaxed) == 0
    }

    /// Sends a letter soon, or not at all if too many wait already. Whether it was taken. For what is sent where
    /// nothing can be awaited: credits, cancels, refusals; losing one costs time, never truth.
    pub(super) fn post(&self, letter: Letter) -> bool {
        self.try_post(letter).is_ok()
    }

    /// Sends a letter together with others that are about to be sent; waits while too many wait already.
    pub(super) fn send_soon(&self, letter: Letter) -> impl Future<Output = ()> {
        // Boxed, because every call carries the room for this and few take it.
        let full = match self.try_post(letter) {
            Err(TrySendError::Full(outgoing)) => Some(Box::pin(self.post_later(outgoing))),
            Ok(()) | Err(TrySendError::Closed(_)) => None,
        };
        async {
            if let Some(later) = full {
                later.await;
            }
        }
    }

    /// Waits for a place. The queue is closed only when the peer has ended, and nobody waits for its answers then.
    async fn post_later(&self, outgoing: Outgoing) {
        if let Ok(place) = self.waiting.reserve().await {
            self.unsent.fetch_add(1, Ordering::Relaxed);
            place.send(outgoing);
        }
    }

    fn try_post(&self, letter: Letter) -> Result<(), TrySendError<Outgoing>> {
        self.unsent.fetch_add(1, Ordering::Relaxed);
        self.waiting.try_send(Outgoing::Letter(letter)).inspect_err(|_| {
            self.unsent.fetch_sub(1, Ordering::Relaxed);
        })
    }

    /// Waits until what was posted so far is sent.
    pub(super) async fn until_posted(&self) {
        let (tx, rx) = oneshot::channel();
        self.post_later(Outgoing::Mark(tx)).await;
        let _ = rx.await;
    }
}

/// Sends what is posted, until the peer ends.
pub(super) async fn post_all(core: &Core, slots: &Slots, mut posted: mpsc::Receiver<Outgoing>) {
    let mut batch = Vec::with_capacity(BATCH);
    while posted.recv_many(&mut batch, BATCH).await > 0 {
        gather(&mut posted, &mut batch).await;
        let taken = batch.len();
        let mut envelopes = VecDeque::new();
        for outgoing in batch.drain(..) {
            match outgoing {
                Outgoing::Letter(letter) => put(&mut envelopes, letter),
                Outgoing::Mark(passed) => {
                    send(core, slots, &mut envelopes).await;
                    let _ = passed.send(());
                }
            }
        }
        send(core, slots, &mut envelopes).await;
        core.outbox.unsent.fetch_sub(taken, Ordering::Relaxed);
    }
}

/// Who posts is often followed by others at once, and what they send together costs one message in all. A look lets
/// all run that can; the second one those whom the network woke meanwhile.
async fn gather(posted: &mut mpsc::Receiver<Outgoing>, batch: &mut Vec<Outgoing>) {
    for _ in 0..LOOKS {
        let before = batch.len();
        tokio::task::yield_now().await;
        while batch.len() < BATCH
            && let Ok(next) = posted.try_recv()
        {
            batch.push(next);
        }
        if batch.len() == before {
            return;
        }
    }
}

/// Letters that become one message, if there are several.
struct Envelope {
    letters: Vec<Letter>,
    bytes: usize,
    is_open: bool,
}

/// Puts a letter to those that go the same way, or after them.
fn put(envelopes: &mut VecDeque<Envelope>, letter: Letter) {
    let frame_bytes = bundle::bundled_bytes(std::iter::once(letter.frame.len()));
    let is_open = may_be_bundled(&letter.frame);
    // The latest that goes this way: an earlier one would be an overtaking.
    let latest = envelopes.iter_mut().rev().find(|envelope| letter.to.is_beside(&envelope.letters[0].to));
    match latest.filter(|envelope| is_open && envelope.is_open && envelope.bytes + frame_bytes <= MAX_BUNDLE_BYTES) {
        Some(envelope) => {
            envelope.bytes += frame_bytes;
            envelope.letters.push(letter);
        }
        None => envelopes.push_back(Envelope { letters: vec![letter], bytes: frame_bytes, is_open }),
    }
}

/// Whether it is a small sealed frame.
fn may_be_bundled(frame: &[u8]) -> bool {
    let is_sealed = |kind: Kind| !matches!(kind, Kind::Presence | Kind::Stranger);
    frame.len() <= MAX_BUNDLED_FRAME_BYTES && Prefix::read(frame).is_ok_and(|(prefix, _)| is_sealed(prefix.kind))
}

async fn send(core: &Core, slots: &Slots, envelopes: &mut VecDeque<Envelope>) {
    for Envelope { letters, .. } in envelopes.drain(..) {
        let waiting: Vec<Waiting> = letters.iter().filter_map(waiting).collect();
        let message = match <[Letter; 1]>::try_from(letters) {
            Ok([letter]) => letter.into(),
            Err(letters) => bundled(slots, &letters, &waiting),
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

/// The call that a letter makes.
fn waiting(letter: &Letter) -> Option<Waiting> {
    let (_, slot) = letter.reply.as_ref()?;
    let (prefix, _) = Prefix::read(&letter.frame).ok()?;
    Some((*slot, prefix.id))
}

/// One message; "no responders" to it means all the calls in it.
fn bundled(slots: &Slots, letters: &[Letter], waiting: &[Waiting]) -> Message {
    let entries = letters.iter().map(|letter| (slot(letter), &letter.frame));
    let payload = Bytes::from(bundle::encode_bundle(entries));
    let bundled = Message::new(letters[0].to.subject(), payload);
    if waiting.is_empty() { bundled } else { bundled.with_reply(slots.enter_bundle(waiting.to_vec())) }
}

/// The slot that a letter wants its answer on, or goes to.
fn slot(letter: &Letter) -> u16 {
    match (&letter.reply, &letter.to) {
        (Some((_, slot)), _) => *slot,
        (None, Place::Slot { number, .. }) => u16::try_from(*number).unwrap_or(0),
        (None, Place::Subject(_)) => 0,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering;

    use bytes::Bytes;
    use futures::FutureExt as _;

    use super::{Letter, OUTBOX, Outbox, Place};
    use crate::subject::one_time_inbox;

    #[test]
    fn who_leaves_before_there_is_a_place_is_not_counted() {
        let (outbox, _posted) = Outbox::new();
        let letter = || Letter { to: Place::Subject(one_time_inbox(0)), reply: None, frame: Bytes::new() };
        assert!(outbox.is_empty());
        while outbox.post(letter()) {}
        assert!(outbox.send_soon(letter()).now_or_never().is_none(), "it waits, and leaves");
        assert_eq!(outbox.unsent.load(Ordering::Relaxed), OUTBOX);
    }
}
