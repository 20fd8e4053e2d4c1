//! Who is there: what presence says of hosts, checked, and how long ago they said it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use trellis_lattice::id::{BootId, HostId, LatticeName};
use trellis_lattice::identity::token;
use trellis_lattice::identity::trust::Trust;
use trellis_lattice::message::presence::{Presence, Running, State};
use trellis_lattice::wire::SignedPresence;

/// A host that says nothing for so long is suspect: it says something every second.
pub const SUSPECT: Duration = Duration::from_millis(2_500);

/// Whom this lattice believes, to check presence with.
#[derive(Debug, Clone)]
pub struct Believes {
    /// The lattice.
    pub lattice: LatticeName,
    /// Its authority.
    pub trust: Arc<Trust>,
    /// Seconds since 1970, to hold tokens against.
    pub clock: fn() -> u64,
}

impl Believes {
    /// The host that a presence in `frame` is of, what it says and until when its token holds, if this lattice
    /// believes it. Of a host that said the same token before, in `roll`, that was checked already.
    pub(super) fn check(&self, frame: &[u8], roll: &Roll) -> Option<Believed> {
        let signed = SignedPresence::decode(frame).ok()?;
        let host = signed.presence.peer.as_host()?;
        let now = (self.clock)();
        let known = roll.0.get(&host).filter(|known| known.token == signed.presence.token);
        let expires_at = match known {
            Some(known) => known.expires_at,
            None => self.expiry(&signed.presence, now)?,
        };
        let holds = expires_at + token::CLOCK_SLACK_SECONDS >= now;
        (holds && signed.is_signed(&self.lattice)).then_some(Believed { host, presence: signed.presence, expires_at })
    }

    fn expiry(&self, presence: &Presence, now: u64) -> Option<u64> {
        let claims = token::verify_peer(&presence.token, now).ok()?;
        self.trust.accept_peer(&claims, &self.lattice).ok()?;
        (claims.peer == presence.peer).then_some(claims.expires_at)
    }
}

/// A presence that was checked.
#[derive(Debug)]
pub(super) struct Believed {
    pub(super) host: HostId,
    pub(super) presence: Presence,
    expires_at: u64,
}

/// A host as its presence has it.
#[derive(Debug)]
pub(super) struct Heard {
    pub(super) boot: BootId,
    pub(super) state: State,
    token: String,
    expires_at: u64,
    started_at_ms: u64,
    sequence: u64,
    pub(super) running: Vec<Running>,
    pub(super) last: Instant,
    /// What its clock showed then.
    pub(super) clock_ms: u64,
}

/// What a presence brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum News {
    /// Nothing new, or something older than what is known.
    None,
    /// A host that was unknown, silent or another run; or that runs something else.
    Changed,
    /// It said goodbye.
    Gone,
}

/// All hosts that said something and did not say goodbye.
#[derive(Debug, Default)]
pub(super) struct Roll(BTreeMap<HostId, Heard>);

impl Roll {
    /// Takes in what a host says at `now`.
    pub(super) fn hear(&mut self, believed: Believed, now: Instant) -> News {
        let Believed { host, presence, expires_at } = believed;
        let known = self.0.get(&host);
        if known.is_some_and(|known| known.is_newer_than(&presence)) {
            return News::None;
        }
        if presence.state == State::Gone {
            return if self.0.remove(&host).is_some() { News::Gone } else { News::None };
        }
        let is_same = known.is_some_and(|known| {
            known.boot == presence.boot
                && known.state == presence.state
                && known.running == presence.running
                && now.duration_since(known.last) < SUSPECT
        });
        let Presence { boot, state, token, started_at_ms, sequence, said_at_ms: clock_ms, running, .. } = presence;
        let last = now;
        self.0.insert(host, Heard { boot, state, token, expires_at, started_at_ms, sequence, running, last, clock_ms });
        if is_same { News::None } else { News::Changed }
    }

    /// The hosts.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&HostId, &Heard)> {
        self.0.iter()
    }

    /// Whether `host` is on it, heard or silent.
    pub(super) fn knows(&self, host: &HostId) -> bool {
        self.0.contains_key(host)
    }

    /// Whether something was heard of `host` lately.
    pub(super) fn is_heard(&self, host: &HostId, now: Instant) -> bool {
        self.0.get(host).is_some_and(|heard| now.duration_since(heard.last) < SUSPECT)
    }

    /// Forgets a host.
    pub(super) fn forget(&mut self, host: &HostId) {
        self.0.remove(host);
    }

    /// When the next host becomes suspect, if nobody says anything from now on.
    pub(super) fn next_suspect(&self, now: Instant) -> Option<Instant> {
        self.0.values().map(|heard| heard.last + SUSPECT).filter(|at| *at > now).min()
    }
}

impl Heard {
    fn is_newer_than(&self, presence: &Presence) -> bool {
        if self.boot == presence.boot {
            self.sequence >= presence.sequence
        } else {
            self.started_at_ms > presence.started_at_ms
        }
    }
}
