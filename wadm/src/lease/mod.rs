//! Which wadm acts: one a lattice, by a record in the lattice's store that is written by compare-and-swap.
//!
//! What to do next is decided in [`turn`], purely; [`keeper`] does it. Commands are sent only while a [`Fence`] holds,
//! and carry its token, which hosts hold against the highest one they know.

mod keeper;
mod turn;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

pub use self::keeper::Keeper;

/// How the lease is timed.
#[derive(Debug, Clone, Copy)]
pub struct Timing {
    /// How long a renewal holds.
    pub duration: Duration,
    /// How often it is renewed: well within `duration`.
    pub renew_every: Duration,
    /// How long before the end nothing is sent any more: at least as long as a command is under way.
    pub margin: Duration,
}

impl Timing {
    /// Where there are no rivals: a day, so that nothing is written to an idle disk.
    pub fn unrivalled() -> Self {
        Self {
            duration: Duration::from_secs(24 * 3_600),
            renew_every: Duration::from_secs(12 * 3_600),
            margin: Duration::from_secs(60),
        }
    }
}

impl Default for Timing {
    /// 2 s, renewed every 500 ms, silent for the last 500 ms: the next wadm acts within 3 s after this one died.
    fn default() -> Self {
        Self {
            duration: Duration::from_secs(2),
            renew_every: Duration::from_millis(500),
            margin: Duration::from_millis(500),
        }
    }
}

/// Whether others may write to the same store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rivals {
    /// Another wadm may act: take turns.
    Possible,
    /// The store is this process's own (its file is locked): what is there is from an earlier run, and is over.
    Impossible,
}

/// Who asks for the lease, and how.
#[derive(Debug, Clone)]
pub struct Candidate {
    /// One run of one wadm: not used again after a restart.
    pub holder: String,
    /// How the lease is timed.
    pub timing: Timing,
    /// Whether to wait for others.
    pub rivals: Rivals,
    /// No token below this one is used: keeps tokens growing when the store has lost its records.
    pub lowest_token: u64,
}

/// The right to act, up to an instant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Grant {
    /// Goes with each command.
    pub token: u64,
    /// When nothing may be sent any more, unless it is renewed.
    pub until: Instant,
}

/// Says whether this wadm may act now. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Fence(watch::Receiver<Option<Grant>>);

impl Fence {
    /// The token to send with a command, if one may be sent now.
    pub fn token(&self) -> Option<u64> {
        let grant = *self.0.borrow();
        grant.filter(|grant| Instant::now() < grant.until).map(|grant| grant.token)
    }

    /// Whether `token` is still the one to act with.
    pub fn holds(&self, token: u64) -> bool {
        self.token() == Some(token)
    }

    /// Waits until the right to act was given, taken or renewed; for ever once its keeper is gone.
    pub async fn changed(&mut self) {
        if self.0.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

/// What a host refused: tells the keeper that hosts know a higher token than it does.
#[derive(Debug, Clone)]
pub struct Overtaken(Arc<watch::Sender<u64>>);

impl Overtaken {
    /// Some host knows `token`.
    pub fn by(&self, token: u64) {
        self.0.send_if_modified(|known| {
            let is_news = token > *known;
            *known = token.max(*known);
            is_news
        });
    }
}
