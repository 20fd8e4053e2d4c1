//! What all parts of a peer share: who it is, how it sends, and what it counts.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use tokio::time::Instant;
use uuid::Uuid;

use super::outbox::Outbox;
use crate::deadline;
use crate::error::{CallError, CallErrorKind};
use crate::id::LatticeName;
use crate::identity::peer::Identity;
use crate::identity::trust::Trust;
use crate::seal::Session;
use crate::subject::{self, Subject};
use crate::transport::{Message, SharedTransport};
use crate::wire::{Kind, MAX_FRAME_BYTES, Prefix};

/// How long a transport may take to accept a message.
const PUBLISH_TIMEOUT: Duration = Duration::from_secs(10);

/// What all parts of a peer share.
pub(super) struct Core {
    pub(super) lattice: LatticeName,
    pub(super) identity: Identity,
    pub(super) trust: Arc<Trust>,
    pub(super) transport: SharedTransport,
    pub(super) site: Option<String>,
    pub(super) outbox: Outbox,
    pub(super) refused: Refusals,
    pub(super) buffered: Arc<Gauge>,
}

impl Core {
    /// The largest frame that the transport takes and the protocol allows.
    pub(super) fn frame_limit_bytes(&self) -> usize {
        MAX_FRAME_BYTES.min(self.transport.max_payload_bytes())
    }

    /// Sends a message.
    pub(super) fn publish(&self, message: impl Into<Message>) -> impl Future<Output = Result<(), CallError>> {
        let mut sending = self.transport.publish(message.into());
        async move {
            let lost = |text: String| CallError::new(CallErrorKind::UnknownOutcome, text);
            match deadline::by(Instant::now() + PUBLISH_TIMEOUT, sending.as_mut()).await {
                Ok(Ok(())) => Ok(()),
                Ok(Err(error)) => Err(lost(format!("message could not be sent: {error}"))),
                Err(_) => Err(lost("message could not be sent: the transport takes none".to_owned())),
            }
        }
    }
}

/// Where a frame goes.
#[derive(Debug, Clone)]
pub(super) enum Place {
    /// To an inbox, or whatever else has a subject.
    Subject(Subject),
    /// To one of the reply slots that this pattern means. Its subject is spelled when a frame goes there by itself.
    Slot { of: Subject, number: u32 },
}

impl Place {
    /// Whether frames to both may go in one message.
    pub(super) fn is_beside(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Subject(one), Self::Subject(other)) | (Self::Slot { of: one, .. }, Self::Slot { of: other, .. }) => {
                one == other
            }
            _ => false,
        }
    }

    /// Its subject.
    pub(super) fn subject(&self) -> Subject {
        match self {
            Self::Subject(subject) => subject.clone(),
            Self::Slot { of, number } => subject::other_slot(of, *number),
        }
    }
}

/// A frame on its way out.
#[derive(Debug)]
pub(super) struct Letter {
    pub(super) to: Place,
    /// Where an answer to it is awaited, and the number of that slot.
    pub(super) reply: Option<(Subject, u16)>,
    pub(super) frame: Bytes,
}

impl From<Letter> for Message {
    fn from(letter: Letter) -> Self {
        let message = Self::new(letter.to.subject(), letter.frame);
        Self { reply: letter.reply.map(|(subject, _)| subject), ..message }
    }
}

/// Where frames about one call go, and what seals them.
#[derive(Clone)]
pub(super) struct Lane {
    pub(super) session: Arc<Session>,
    pub(super) id: Uuid,
    pub(super) to: Place,
}

impl Lane {
    /// The prefix of a frame of `kind` about this call.
    pub(super) fn prefix(&self, kind: Kind) -> Prefix {
        Prefix { kind, tag: self.session.outgoing_tag(), id: self.id }
    }

    /// A frame, sealed.
    pub(super) fn letter(&self, frame: Vec<u8>) -> Letter {
        Letter { to: self.to.clone(), reply: None, frame: self.session.seal(frame) }
    }
}

/// Milliseconds since 1970 by this machine's clock.
pub(super) fn unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// How many frames were refused, by reason; they only grow.
#[derive(Debug, Default)]
pub(super) struct Refusals {
    malformed: AtomicU64,
    unsealed: AtomicU64,
    strange: AtomicU64,
    replayed: AtomicU64,
    expired: AtomicU64,
    untrusted: AtomicU64,
}

/// Why a frame is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    Malformed,
    Unsealed,
    Strange,
    Replayed,
    Expired,
    Untrusted,
}

impl Refusals {
    /// Counts one.
    pub(super) fn count(&self, refusal: Refusal) {
        let counter = match refusal {
            Refusal::Malformed => &self.malformed,
            Refusal::Unsealed => &self.unsealed,
            Refusal::Strange => &self.strange,
            Refusal::Replayed => &self.replayed,
            Refusal::Expired => &self.expired,
            Refusal::Untrusted => &self.untrusted,
        };
        counter.fetch_add(1, Ordering::Relaxed);
        tracing::debug!(reason = ?refusal, "frame refused");
    }

    /// The numbers now.
    pub(super) fn snapshot(&self) -> Refused {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Refused {
            malformed: read(&self.malformed),
            unsealed: read(&self.unsealed),
            strange: read(&self.strange),
            replayed: read(&self.replayed),
            expired: read(&self.expired),
            untrusted: read(&self.untrusted),
        }
    }
}

/// How many frames a peer refused since it joined.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Refused {
    /// Not frames: cut, enlarged, of another version, not to be decoded.
    pub malformed: u64,
    /// With a MAC that is wrong.
    pub unsealed: u64,
    /// Sealed for a session that this peer does not have.
    pub strange: u64,
    /// Genuine, but received before.
    pub replayed: u64,
    /// Genuine, but after the call's time was over.
    pub expired: u64,
    /// Presence of somebody whom the authority did not sign, or who did not sign it.
    pub untrusted: u64,
}

/// A number that goes up and down, with the highest it has been.
#[derive(Debug, Default)]
pub(super) struct Gauge {
    now: AtomicI64,
    most: AtomicI64,
}

impl Gauge {
    /// Adds.
    pub(super) fn add(&self, amount: usize) {
        let amount = i64::try_from(amount).unwrap_or(i64::MAX);
        let now = self.now.fetch_add(amount, Ordering::Relaxed) + amount;
        self.most.fetch_max(now, Ordering::Relaxed);
    }

    /// Takes off.
    pub(super) fn sub(&self, amount: usize) {
        self.now.fetch_sub(i64::try_from(amount).unwrap_or(i64::MAX), Ordering::Relaxed);
    }

    /// What it is, and the most it has been.
    pub(super) fn read(&self) -> (u64, u64) {
        let read = |value: &AtomicI64| u64::try_from(value.load(Ordering::Relaxed)).unwrap_or(0);
        (read(&self.now), read(&self.most))
    }
}
