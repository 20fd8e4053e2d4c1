//! How far one action is, from its command to its effect.

use std::time::Duration;

use tokio::time::Instant;
use trellis_lattice::id::{BootId, EntityId, HostId};

use super::OUTCOME;
use crate::observe::{News, Sight, Told};
use crate::plan::{Action, Deed};

/// How long an effect in the store may take to come back by its watch.
const ECHO: Duration = Duration::from_secs(1);

/// An action that was sent, or failed and waits to be sent again.
#[derive(Debug)]
pub(super) struct Flight {
    pub(super) number: u64,
    pub(super) action: Action,
    pub(super) phase: Phase,
    /// The run of the host that it was sent to.
    boot: Option<BootId>,
}

/// How far it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// The command was sent; leads to `Taken`, or to `Resting` when it was refused or nobody answered.
    Commanding,
    /// The host took it; leads to `Done` or `Resting` by the host's word, or by what is seen of it.
    Taken {
        /// When.
        since: Instant,
    },
    /// It is done, they say; ends with the first look that shows it, or leads to `Resting` when one does not.
    Done {
        /// When they said so.
        since: Instant,
    },
    /// It failed.
    Resting,
}

/// What was seen or told of a flight.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Nothing new.
    Open,
    /// It was done.
    Done,
    /// It failed, and why.
    Failed(String),
    /// A look after it was done is at hand: if it is still planned, it had no effect.
    Due,
}

impl Flight {
    pub(super) fn new(number: u64, action: Action, boot: Option<BootId>) -> Self {
        Self { number, action, phase: Phase::Commanding, boot }
    }

    /// The host and what is to change on it, for actions on hosts.
    pub(super) fn place(action: &Action) -> Option<(&HostId, &EntityId)> {
        match &action.deed {
            Deed::ScaleActor(actor) | Deed::UpdateActor(actor) => Some((&actor.host, &actor.id)),
            Deed::StartProvider(provider) | Deed::UpdateProvider(provider) => Some((&provider.host, &provider.id)),
            Deed::StopActor { host, id, .. } | Deed::StopProvider { host, id } => Some((host, id)),
            _ => None,
        }
    }

    /// What an event of its host says about it.
    pub(super) fn told(&self, told: &Told) -> Verdict {
        if !matches!(self.phase, Phase::Commanding | Phase::Taken { .. }) {
            return Verdict::Open;
        }
        let failed = |id: &EntityId, of: &EntityId, reason: &String| match id == of {
            true => Verdict::Failed(reason.clone()),
            false => Verdict::Open,
        };
        let done = |is_it: bool| if is_it { Verdict::Done } else { Verdict::Open };
        match (&self.action.deed, &told.news) {
            (Deed::ScaleActor(wanted) | Deed::UpdateActor(wanted), News::Scaled { actor, count }) => {
                done(*actor == wanted.id && *count == wanted.count)
            }
            (Deed::ScaleActor(wanted) | Deed::UpdateActor(wanted), News::ScaleFailed { actor, reason }) => {
                failed(actor, &wanted.id, reason)
            }
            (Deed::StopActor { id, .. }, News::Scaled { actor, count }) => done(actor == id && *count == 0),
            (Deed::StopActor { id, .. }, News::ScaleFailed { actor, reason }) => failed(actor, id, reason),
            (Deed::StartProvider(wanted) | Deed::UpdateProvider(wanted), News::ProviderStarted(provider)) => {
                done(*provider == wanted.id)
            }
            (Deed::StartProvider(wanted) | Deed::UpdateProvider(wanted), News::ProviderFailed { provider, reason }) => {
                failed(provider, &wanted.id, reason)
            }
            (Deed::StopProvider { id, .. }, News::ProviderStopped(provider)) => done(provider == id),
            _ => Verdict::Open,
        }
    }

    /// What a look at the lattice says about it.
    pub(super) fn look(&self, sight: &Sight) -> Verdict {
        let Some((host, id)) = Self::place(&self.action) else { return self.look_at_records(sight.at) };
        let Some(seen) = sight.hosts.get(host).filter(|seen| !seen.is_silent()) else {
            return self.lost(host, "is silent");
        };
        if self.boot.is_some() && self.boot != seen.boot {
            return self.lost(host, "was restarted");
        }
        let asked_since = |since: Instant| seen.asked.is_some_and(|asked| asked >= since);
        let is_over = || seen.inventory.as_ref().and_then(|answer| answer.is_underway(id)) == Some(false);
        match self.phase {
            // What it said of the outcome was lost.
            Phase::Taken { since } if asked_since(since) && is_over() => Verdict::Due,
            Phase::Done { since } if asked_since(since) => Verdict::Due,
            Phase::Taken { since } if sight.at >= since + OUTCOME => Verdict::Failed(format!(
                "host {host} took the command and did not say within {OUTCOME:?} what came of it"
            )),
            _ => Verdict::Open,
        }
    }

    fn look_at_records(&self, now: Instant) -> Verdict {
        match self.phase {
            Phase::Done { since } if now >= since + ECHO => Verdict::Due,
            _ => Verdict::Open,
        }
    }

    fn lost(&self, host: &HostId, how: &str) -> Verdict {
        match self.phase {
            Phase::Resting => Verdict::Open,
            _ => Verdict::Failed(format!("host {host} {how}")),
        }
    }

    /// When a look is due, if nothing happens until then.
    pub(super) fn due(&self) -> Option<Instant> {
        match self.phase {
            Phase::Taken { since } => Some(since + OUTCOME),
            Phase::Done { since } => Some(since + ECHO),
            Phase::Commanding | Phase::Resting => None,
        }
    }
}
