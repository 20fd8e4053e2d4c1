//! Bodies that do not fit in a frame: chunks, paid for by credits.
//!
//! The receiver of a body holds at most one window of it; the sender waits for credit beyond that. Either direction
//! of a call may stream at any time.

use std::time::Duration;

use crate::wire::MIN_CHUNK_COST_BYTES;

mod arrival;
mod departure;
mod receive;
mod send;

pub(super) use arrival::Arrival;
pub(super) use departure::Departure;
pub(super) use receive::Feed;
pub(super) use send::{Credit, Outgoing, pump};

/// How long a body may make no progress before it is given up.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);

/// How often a sender that has nothing to send says that it is alive.
const KEEP_ALIVE: Duration = Duration::from_secs(10);

/// What a chunk of `len` bytes takes from the window.
fn cost(len: usize) -> u64 {
    (len as u64).max(MIN_CHUNK_COST_BYTES)
}
