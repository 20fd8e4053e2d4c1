//! A call at its three stages: [`Call`] as its source asks it, [`Invocation`] as its target receives it, [`Answer`].
//!
//! Each is generic over how arguments are held: `bytes::Bytes` on the wire, other types within a process.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use tokio::time::Instant;
use uuid::Uuid;

use crate::body::Body;
use crate::contract::{Interface, Signature};
use crate::id::{EntityId, LinkName};

/// The deepest chain of calls that call each other; one more is refused (FAULTS: recursion A → B → A).
pub const MAX_DEPTH: u8 = 8;

/// The time a call has when nobody said otherwise.
pub const DEFAULT_BUDGET: Duration = Duration::from_secs(10);

/// A fresh id of a call, a UUIDv7. `Uuid::now_v7` asks the system for random bytes with every id, which costs more than
/// the rest of making a call.
pub fn new_id() -> Uuid {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let millis = u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX);
    uuid::Builder::from_unix_timestamp_millis(millis, &rand::random()).into_uuid()
}

/// What a call inherits from the call during which it is made.
#[derive(Debug, Clone)]
pub struct Context {
    /// When the answer is worth nothing any more.
    pub deadline: Instant,
    /// How many calls are above this one.
    pub depth: u8,
    /// The same for every attempt at the same effect.
    pub idempotency_key: Option<Arc<str>>,
    /// W3C trace context, passed on unchanged.
    pub trace: Option<Trace>,
}

impl Context {
    /// The context of a call that nobody called for: depth 0, `budget` from now.
    pub fn root(budget: Duration) -> Self {
        Self { deadline: Instant::now() + budget, depth: 0, idempotency_key: None, trace: None }
    }

    /// The context of calls made while serving a call with this one. The idempotency key is not inherited: one call
    /// may make several.
    #[must_use]
    pub fn nested(&self) -> Self {
        Self {
            deadline: self.deadline,
            depth: self.depth.saturating_add(1),
            idempotency_key: None,
            trace: self.trace.clone(),
        }
    }

    /// The time left; zero when it is over.
    pub fn remaining(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }
}

/// W3C trace context.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trace {
    /// The `traceparent` value.
    pub parent: Arc<str>,
    /// The `tracestate` value.
    pub state: Option<Arc<str>>,
}

/// A call as its source asks it: where it goes is decided by the link.
#[derive(Debug)]
pub struct Call<A> {
    /// The actor or provider that calls.
    pub source: EntityId,
    /// Which of its links.
    pub link: LinkName,
    /// The interface that is called, with the version that the source was built against.
    pub interface: Interface,
    /// The function in it.
    pub function: Arc<str>,
    /// The type that the source expects the function to have; `None` for contracts that everyone has built in.
    pub signature: Option<Signature>,
    /// What it inherits.
    pub context: Context,
    /// The arguments.
    pub args: A,
    /// The body, if the contract has one.
    pub body: Body,
}

/// Who calls what, for which target: what is known of a call when its link has been looked up.
#[derive(Debug, Clone)]
pub struct Head {
    /// UUIDv7; new for every attempt.
    pub id: Uuid,
    /// The actor, provider or caller that calls.
    pub source: EntityId,
    /// The actor or provider that is called.
    pub target: EntityId,
    /// The link it came over.
    pub link: LinkName,
    /// The interface.
    pub interface: Interface,
    /// The function in it.
    pub function: Arc<str>,
    /// The type that the source expects, if it said so.
    pub signature: Option<Signature>,
    /// How arguments and result are written when they are bytes.
    pub encoding: Encoding,
    /// 1 for the first attempt.
    pub attempt: u8,
    /// The revision of the link's record that the source saw.
    pub grant_epoch: u64,
    /// Deadline, depth, idempotency key, trace.
    pub context: Context,
}

/// How arguments and result are written when they are bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Encoding {
    /// MessagePack in serde's shapes.
    #[default]
    Pack,
    /// WAVE text, which the host that runs the actor parses and prints by the function's type: `trellis call`.
    Wave,
}

/// A call as its target receives it.
#[derive(Debug)]
pub struct Invocation<A> {
    /// Who calls what.
    pub head: Head,
    /// The arguments.
    pub args: A,
    /// The body.
    pub body: Body,
}

/// What a call that succeeded brings back.
#[derive(Debug)]
pub struct Answer<A> {
    /// The result value.
    pub value: A,
    /// The body.
    pub body: Body,
}
