//! Who is there: what presence taught this peer, and whom it therefore has a session with.
//!
//! Nothing is kept of anybody whom the authority did not sign. How presence travels is `presence`'s.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::balance::{Load, Loaded, Targets};
use super::core::{Core, Refusal, unix_ms};
use crate::error::CallError;
use crate::id::{EntityId, PeerId};
use crate::identity::claims::{PeerClaims, Verified};
use crate::identity::token;
use crate::message::presence::{Presence, State};
use crate::seal::Session;
use crate::subject::{Subject, inbox, reply_slots};
use crate::wire::{Names, SignedPresence, Stamp, Tag};

/// A peer that says nothing for so long is left.
pub(super) const SILENCE: Duration = Duration::from_secs(3);

/// When this peer does not even hear itself for so long, its silence says nothing of others.
const DEAFNESS: Duration = Duration::from_millis(1_500);

/// How many signatures are checked in a second; presence beyond that is not looked at.
const CHECKS_PER_SECOND: u32 = 2_000;

/// Of how many peers that left the last word is remembered, so that nobody repeats an earlier one.
const REMEMBERED: usize = 4_096;

/// How far two clocks may differ, in milliseconds.
const CLOCK_SLACK_MS: i64 = 60_000;

/// The longest time a call may have.
const LONGEST_BUDGET: Duration = Duration::from_secs(3600);

/// How much the estimate of a peer's clock may drift up from one presence to the next, in milliseconds.
const OFFSET_DRIFT_MS: i64 = 100;

/// One run of another peer.
pub(super) struct Remote {
    pub(super) session: Arc<Session>,
    pub(super) claims: ArcSwap<Verified<PeerClaims>>,
    pub(super) inbox: Subject,
    /// Where its calls may ask for answers.
    pub(super) slots: Subject,
    pub(super) load: Load,
    /// Whether it was sent our presence, so that it can open what we seal.
    pub(super) is_introduced: AtomicBool,
    /// What its calls named. A lock, though only the inbox task reads calls, because that task shares this with others.
    names: Mutex<Names>,
    /// How far its clock seems to be behind ours, in milliseconds; what messages take on the way is in it.
    pub(super) clock_offset_ms: AtomicI64,
}

impl Loaded for Arc<Remote> {
    fn load(&self) -> &Load {
        &self.load
    }
}

impl Remote {
    /// What its calls named.
    pub(super) fn names(&self) -> MutexGuard<'_, Names> {
        self.names.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The time that is left of a call's, or why its clock cannot be believed.
    pub(super) fn time_left(&self, stamp: Stamp) -> Result<Result<Duration, CallError>, Refusal> {
        let behind_ms = self.clock_offset_ms.load(Ordering::Relaxed);
        if behind_ms.abs() > CLOCK_SLACK_MS {
            let (seconds, side) = (behind_ms.abs() / 1000, if behind_ms > 0 { "behind" } else { "ahead of" });
            let peer = self.session.peer();
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

    fn heard(&self, presence: &Presence) {
        let sample = signed(unix_ms()).saturating_sub(signed(presence.said_at_ms));
        let ceiling = self.clock_offset_ms.load(Ordering::Relaxed).saturating_add(OFFSET_DRIFT_MS);
        self.clock_offset_ms.store(sample.min(ceiling), Ordering::Relaxed);
        self.load.was_heard();
    }
}

/// What everyone reads without a lock.
#[derive(Default)]
pub(super) struct View {
    pub(super) by_tag: HashMap<Tag, Arc<Remote>>,
    pub(super) by_entity: HashMap<EntityId, Targets<Arc<Remote>>>,
    pub(super) present: Vec<Arc<Presence>>,
    /// Who runs what, also those that take no calls any more.
    pub(super) runs: HashMap<EntityId, Vec<PeerId>>,
}

struct Member {
    remote: Arc<Remote>,
    presence: Arc<Presence>,
    last_heard: Instant,
}

#[derive(Default)]
struct Table {
    members: HashMap<PeerId, Member>,
    /// The last runs of those who left: an earlier word of theirs counts for nothing, and if the same run comes back,
    /// its session goes on, because its replay window must.
    left: HashMap<PeerId, Member>,
    heard_self: Option<Instant>,
}

/// Everybody else.
pub(super) struct Members {
    core: Arc<Core>,
    /// A lock, because presence comes by three subscriptions: everyone's, questions, and our inbox, where a caller
    /// introduces itself just before its first call. Held while a presence is entered, never while it is checked.
    state: Mutex<Table>,
    view: ArcSwap<View>,
    checks: AtomicU32,
    changed: Notify,
}

/// What a presence brought.
pub(super) enum Learned {
    /// Our own words.
    Echo,
    /// Nothing that was not known.
    Old,
    /// Whom it is from, and the run of theirs that is over with it.
    News { remote: Option<Arc<Remote>>, ended: Option<Arc<Remote>> },
}

impl Members {
    /// Nobody.
    pub(super) fn new(core: Arc<Core>) -> Self {
        Self {
            core,
            state: Mutex::default(),
            view: ArcSwap::default(),
            checks: AtomicU32::new(0),
            changed: Notify::new(),
        }
    }

    /// Who is there now.
    pub(super) fn view(&self) -> arc_swap::Guard<Arc<View>> {
        self.view.load()
    }

    /// Waits until somebody comes, changes or goes.
    pub(super) fn changed(&self) -> tokio::sync::futures::Notified<'_> {
        self.changed.notified()
    }

    /// Takes in a presence frame, if it is genuine.
    pub(super) fn learn(&self, frame: &[u8]) -> Result<Learned, Refusal> {
        let signed = SignedPresence::decode(frame).map_err(|_| Refusal::Malformed)?;
        if signed.presence.peer == *self.core.identity.peer() {
            return Ok(self.hear_self(&signed.presence));
        }
        self.learn_of(signed)
    }

    /// The same for a presence that came in another frame.
    pub(super) fn learn_of(&self, signed: SignedPresence<'_>) -> Result<Learned, Refusal> {
        let known = self.known(&signed.presence);
        if known.as_ref().is_some_and(|known| known.is_newer) {
            return Ok(Learned::Old);
        }
        if !self.may_check() || !signed.is_signed(&self.core.lattice) {
            return Err(Refusal::Untrusted);
        }
        let remote = self.remote(&signed.presence, known)?;
        Ok(self.enter(remote, signed.presence))
    }

    /// Leaves those who were silent for too long, and gives their runs.
    pub(super) fn sweep(&self) -> Vec<Arc<Remote>> {
        let (now, now_seconds) = (Instant::now(), unix_ms() / 1000);
        let mut state = self.lock();
        let is_deaf = state.heard_self.is_none_or(|heard| now.duration_since(heard) > DEAFNESS);
        let is_over = |member: &Member| {
            let is_silent = !is_deaf && now.duration_since(member.last_heard) > SILENCE;
            let ends = member.remote.claims.load().expires_at + token::CLOCK_SLACK_SECONDS;
            is_silent || ends < now_seconds
        };
        let over: Vec<_> = state.members.iter().filter(|(_, m)| is_over(m)).map(|(peer, _)| peer.clone()).collect();
        let ended: Vec<_> = over.iter().filter_map(|peer| state.leave(peer)).collect();
        if !ended.is_empty() {
            self.publish_view(&state);
        }
        ended
    }

    /// Whether there is time for a signature in this second.
    pub(super) fn may_check(&self) -> bool {
        self.checks.fetch_add(1, Ordering::Relaxed) < CHECKS_PER_SECOND
    }

    /// Allows the checks of another second.
    pub(super) fn refill(&self) {
        self.checks.store(0, Ordering::Relaxed);
    }

    fn hear_self(&self, presence: &Presence) -> Learned {
        if presence.boot != self.core.identity.boot {
            return Learned::Old;
        }
        let now = Instant::now();
        let mut state = self.lock();
        let was_deaf = state.heard_self.is_none_or(|heard| now.duration_since(heard) > DEAFNESS);
        if was_deaf {
            state.members.values_mut().for_each(|member| member.last_heard = now);
        }
        state.heard_self = Some(now);
        Learned::Echo
    }

    /// What is known of the peer that a presence is about.
    fn known(&self, presence: &Presence) -> Option<Known> {
        let state = self.lock();
        let there = state.members.get(&presence.peer);
        let member = there.or_else(|| state.left.get(&presence.peer))?;
        let known = &member.presence;
        let is_same_boot = known.boot == presence.boot;
        let is_newer = if is_same_boot {
            known.sequence >= presence.sequence
        } else {
            // Clocks may go back between two runs: a run that is over does not keep out one that seems older.
            there.is_some() && known.started_at_ms > presence.started_at_ms
        };
        let same_boot = is_same_boot.then(|| Arc::clone(&member.remote));
        Some(Known { is_newer, same_boot, token: known.token.clone() })
    }

    /// The run that a presence is from: the known one, or a new one with a session of its own.
    fn remote(&self, presence: &Presence, known: Option<Known>) -> Result<Arc<Remote>, Refusal> {
        let same_boot = match known {
            Some(Known { same_boot: Some(remote), token, .. }) if token == presence.token => return Ok(remote),
            Some(Known { same_boot, .. }) => same_boot,
            None => None,
        };
        let claims = self.claims(presence)?;
        if let Some(remote) = same_boot {
            // A renewed token; the session stays, because its replay window must.
            if remote.claims.load().exchange != claims.exchange {
                return Err(Refusal::Untrusted);
            }
            remote.claims.store(Arc::new(claims));
            return Ok(remote);
        }
        let core = &self.core;
        let session = Session::between(&core.identity, &core.lattice, &claims, presence.boot);
        let session = session.map_err(|_| Refusal::Untrusted)?;
        Ok(Arc::new(Remote {
            inbox: inbox(&core.lattice, &presence.peer),
            slots: reply_slots(&core.lattice, &presence.peer),
            names: Mutex::default(),
            session: Arc::new(session),
            claims: ArcSwap::from_pointee(claims),
            load: Load::default(),
            is_introduced: AtomicBool::new(false),
            clock_offset_ms: AtomicI64::new(i64::MAX - OFFSET_DRIFT_MS),
        }))
    }

    fn claims(&self, presence: &Presence) -> Result<Verified<PeerClaims>, Refusal> {
        let refuse = |error: crate::error::Error| {
            tracing::debug!(peer = %presence.peer, error = %error, "presence refused");
            Refusal::Untrusted
        };
        let claims = token::verify_peer(&presence.token, unix_ms() / 1000).map_err(refuse)?;
        self.core.trust.accept_peer(&claims, &self.core.lattice).map_err(refuse)?;
        if claims.peer == presence.peer { Ok(claims) } else { Err(Refusal::Untrusted) }
    }

    fn enter(&self, remote: Arc<Remote>, presence: Presence) -> Learned {
        let mut state = self.lock();
        let peer = presence.peer.clone();
        if presence.state == State::Gone {
            let member = Member { remote, presence: Arc::new(presence), last_heard: Instant::now() };
            let ended = state.members.remove(&peer).map(|member| member.remote);
            state.remember(peer, member);
            self.publish_view(&state);
            return Learned::News { remote: None, ended };
        }
        let before = state.members.get(&peer);
        // Two subscriptions may bring the same run at once; the first one's session is kept.
        let same_boot = before.filter(|member| member.presence.boot == presence.boot);
        let remote = same_boot.map_or(remote, |member| Arc::clone(&member.remote));
        if same_boot.is_some_and(|member| member.presence.sequence >= presence.sequence) {
            return Learned::Old;
        }
        remote.heard(&presence);
        let is_same = before.is_some_and(|member| says_the_same(&member.presence, &presence));
        let member = Member { remote: Arc::clone(&remote), presence: Arc::new(presence), last_heard: Instant::now() };
        state.left.remove(&peer);
        let replaced = state.members.insert(peer, member).map(|member| member.remote);
        if !is_same {
            self.publish_view(&state);
        }
        let ended = replaced.filter(|replaced| !Arc::ptr_eq(replaced, &remote));
        Learned::News { remote: Some(remote), ended }
    }

    fn publish_view(&self, state: &Table) {
        let mut view = View::default();
        for member in state.members.values() {
            view.by_tag.insert(member.remote.session.incoming_tag(), Arc::clone(&member.remote));
            view.present.push(Arc::clone(&member.presence));
            for running in &member.presence.running {
                view.runs.entry(running.id.clone()).or_default().push(member.presence.peer.clone());
            }
            if member.presence.state == State::Ready {
                for running in &member.presence.running {
                    let targets = view.by_entity.entry(running.id.clone()).or_default();
                    let is_near = member.presence.site == self.core.site;
                    let tier = if is_near { &mut targets.near } else { &mut targets.far };
                    tier.push(Arc::clone(&member.remote));
                }
            }
        }
        self.view.store(Arc::new(view));
        self.changed.notify_waiters();
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Known {
    is_newer: bool,
    same_boot: Option<Arc<Remote>>,
    token: String,
}

impl Table {
    fn leave(&mut self, peer: &PeerId) -> Option<Arc<Remote>> {
        let member = self.members.remove(peer)?;
        let remote = Arc::clone(&member.remote);
        remote.is_introduced.store(false, Ordering::Release);
        self.remember(peer.clone(), member);
        Some(remote)
    }

    fn remember(&mut self, peer: PeerId, member: Member) {
        if self.left.len() >= REMEMBERED {
            let oldest = self.left.iter().min_by_key(|(_, member)| member.last_heard).map(|(peer, _)| peer.clone());
            oldest.map(|oldest| self.left.remove(&oldest));
        }
        self.left.insert(peer, member);
    }
}

fn says_the_same(before: &Presence, now: &Presence) -> bool {
    (before.boot, before.state, &before.site) == (now.boot, now.state, &now.site)
        && before.token == now.token
        && before.running == now.running
}

fn signed(ms: u64) -> i64 {
    i64::try_from(ms).unwrap_or(i64::MAX)
}
