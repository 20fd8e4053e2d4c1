//! How presence travels: said every second and on change, asked for on joining, sent directly to whoever asks or is
//! called for the first time.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::StreamExt as _;
use tokio::sync::Notify;
use tokio::time::{Instant, MissedTickBehavior};

use super::core::{Core, Letter, Place, unix_ms};
use super::member::{Learned, Members, Remote};
use crate::damper::Damper;
use crate::error::{Error, ErrorKind, Result};
use crate::message::presence::{Presence, Running, State};
use crate::subject;
use crate::transport::{Message, Subscription};
use crate::wire::{Prefix, SignedPresence, Stranger, fits};

/// How often a peer says that it is there.
const BEAT: Duration = Duration::from_secs(1);

/// How often silent peers are looked for.
const SWEEP: Duration = Duration::from_millis(250);

/// How long joining may wait for the first answers.
const LONGEST_WAIT: Duration = Duration::from_millis(300);

/// How long joining waits at least after its own question came back.
const SHORTEST_WAIT: Duration = Duration::from_millis(20);

/// What this peer says of itself.
pub(super) struct Voice {
    core: Arc<Core>,
    started_at_ms: u64,
    sequence: AtomicU64,
    /// A lock, because the host's parts announce from any task; held for a copy.
    said: Mutex<(State, Arc<Vec<Running>>)>,
    changed: Notify,
    heard_question: Notify,
    failures: Damper,
}

impl Voice {
    /// Of a peer that runs nothing yet.
    pub(super) fn new(core: Arc<Core>) -> Self {
        Self {
            core,
            started_at_ms: unix_ms(),
            sequence: AtomicU64::new(0),
            said: Mutex::new((State::Ready, Arc::default())),
            changed: Notify::new(),
            heard_question: Notify::new(),
            failures: Damper::default(),
        }
    }

    /// Says something else from now on.
    pub(super) fn announce(&self, state: State, running: Option<Vec<Running>>) {
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        said.0 = state;
        if let Some(running) = running {
            said.1 = Arc::new(running);
        }
        drop(said);
        self.changed.notify_one();
    }

    /// Whether it takes calls.
    pub(super) fn state(&self) -> State {
        self.said.lock().unwrap_or_else(PoisonError::into_inner).0
    }

    fn presence(&self) -> Presence {
        let (state, running) = self.said.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let identity = &self.core.identity;
        Presence {
            peer: identity.peer().clone(),
            token: identity.token.clone(),
            boot: identity.boot,
            started_at_ms: self.started_at_ms,
            sequence: self.sequence.fetch_add(1, Ordering::Relaxed),
            said_at_ms: unix_ms(),
            site: self.core.site.clone(),
            state,
            running: running.to_vec(),
        }
    }

    /// The words, signed, for `to`.
    fn words(&self, to: subject::Subject) -> Result<Message> {
        let frame =
            SignedPresence::encode(&self.presence(), &self.core.lattice, |bytes| self.core.identity.sign(bytes));
        if !fits(&frame) || frame.len() > self.core.transport.max_payload_bytes() {
            let message = "presence does not fit into a frame: run fewer actors on this host";
            return Err(Error::new(ErrorKind::TooLarge, message));
        }
        Ok(Message::new(to, frame))
    }

    /// Says it to everyone.
    pub(super) async fn say(&self) -> Result<()> {
        let message = self.words(subject::presence(&self.core.lattice))?;
        self.send(message).await
    }

    /// Says it to one.
    pub(super) async fn introduce(&self, remote: &Remote) -> Result<()> {
        let message = self.words(remote.inbox.clone())?;
        self.send(message).await
    }

    /// Asks everyone to say who they are.
    pub(super) async fn ask(&self) -> Result<()> {
        let message = self.words(subject::presence_query(&self.core.lattice))?;
        self.send(message).await
    }

    /// Answers a call that was sealed for a session which is not ours.
    pub(super) fn refuse_stranger(&self, call: Prefix, to: subject::Subject) {
        let sign = |bytes: &[u8]| self.core.identity.sign(bytes);
        let frame = Stranger::encode(call, &self.presence(), &self.core.lattice, sign);
        if fits(&frame) {
            self.core.outbox.post(Letter { to: Place::Subject(to), reply: None, frame: frame.into() });
        }
    }

    async fn send(&self, message: Message) -> Result<()> {
        self.core.publish(message).await.map_err(|error| Error::new(ErrorKind::Disconnected, error.message))
    }
}

/// Runs as long as the peer: speaks, listens, and tells `on_end` which runs of other peers are over.
pub(super) async fn run(
    voice: Arc<Voice>,
    members: Arc<Members>,
    (mut everyone, mut questions): (Subscription, Subscription),
    on_end: impl Fn(&Arc<Remote>) + Send,
) {
    let mut beat = tokio::time::interval(BEAT);
    beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut sweep = tokio::time::interval(SWEEP);
    sweep.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            message = everyone.next() => match message {
                Some(message) => drop(listen(&voice, &members, &message, &on_end)),
                None => return,
            },
            message = questions.next() => match message {
                Some(message) => answer(&voice, &members, &message, &on_end).await,
                None => return,
            },
            _ = beat.tick() => {
                members.refill();
                speak(&voice).await;
            }
            () = voice.changed.notified() => speak(&voice).await,
            _ = sweep.tick() => members.sweep().iter().for_each(&on_end),
        }
    }
}

async fn speak(voice: &Voice) {
    if let Err(error) = voice.say().await
        && let Some(left_out) = voice.failures.admit()
    {
        tracing::warn!(error = %error, left_out, "presence could not be said");
    }
}

async fn answer(voice: &Voice, members: &Members, message: &Message, on_end: &(impl Fn(&Arc<Remote>) + Send)) {
    match listen(voice, members, message, on_end) {
        Some(Learned::News { remote: Some(remote), .. }) => introduce(voice, &remote).await,
        Some(Learned::Echo) => voice.heard_question.notify_one(),
        _ => {}
    }
}

async fn introduce(voice: &Voice, remote: &Remote) {
    if voice.introduce(remote).await.is_ok() {
        remote.is_introduced.store(true, Ordering::Release);
    }
}

fn listen(
    voice: &Voice,
    members: &Members,
    message: &Message,
    on_end: &(impl Fn(&Arc<Remote>) + Send),
) -> Option<Learned> {
    match members.learn(&message.payload) {
        Ok(learned) => {
            if let Learned::News { ended: Some(ended), .. } = &learned {
                on_end(ended);
            }
            Some(learned)
        }
        Err(refusal) => {
            voice.core.refused.count(refusal);
            None
        }
    }
}

/// Waits until those who are near have answered our question: from when it came back, as long as it took, while more
/// answers come. A question that does not come back is waited for in vain.
pub(super) async fn first_answers(voice: &Voice, members: &Members) {
    let asked = Instant::now();
    let latest = asked + LONGEST_WAIT;
    if tokio::time::timeout_at(latest, voice.heard_question.notified()).await.is_err() {
        return;
    }
    let quiet = SHORTEST_WAIT.max(asked.elapsed() * 2);
    while tokio::time::timeout_at(latest.min(Instant::now() + quiet), members.changed()).await.is_ok() {}
}
