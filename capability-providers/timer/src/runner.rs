//! The task of one timer on this host: looks at the record that all instances share, and does what is decided.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};
use trellis_interfaces::timer::{FIRE, Fire, HANDLER, Tick};
use trellis_provider_sdk::{
    Body, Call, CallError, Caller, Context, Damper, EntityId, Interface, LinkName, RecordError, Records, wire,
};

use crate::clock::{Clock, UnixMs};
use crate::config::LinkConfig;
use crate::firing::{Decision, Record, State};

/// The longest sleep: the clock may be set meanwhile.
const MAX_SLEEP: Duration = Duration::from_secs(20);
/// How often the record of a firing by another instance is looked at.
const WATCH: Duration = Duration::from_secs(1);
/// How often the holder of a firing says that it is there.
const RENEW: Duration = Duration::from_secs(4);
/// When the holder breaks off because it could not say so.
const LOST: Duration = Duration::from_secs(10);
/// When the others conclude that the holder is gone.
const STALE: Duration = Duration::from_secs(15);
/// The pause after what was only noted.
const NOTED: Duration = Duration::from_millis(200);
/// The pause after a first attempt that failed, or when the store does not answer; each further one is twice as long.
const PAUSE: Duration = Duration::from_secs(1);
/// The longest pause.
const MAX_PAUSE: Duration = Duration::from_secs(60);

/// A timer on this host.
pub(crate) struct Runner {
    /// The id of the provider.
    pub(crate) id: EntityId,
    /// The actor.
    pub(crate) target: EntityId,
    /// The link.
    pub(crate) link: LinkName,
    /// Its config.
    pub(crate) config: LinkConfig,
    /// What calls are made with.
    pub(crate) caller: Arc<dyn Caller>,
    /// What the instances share.
    pub(crate) records: Arc<dyn Records>,
    /// The time of day.
    pub(crate) clock: Clock,
    /// This instance, in this run.
    pub(crate) me: String,
    /// No new firing begins when this is cancelled.
    pub(crate) stop: CancellationToken,
    /// Whether the store answered last time.
    pub(crate) is_cut_off: Arc<AtomicBool>,
    /// Which failures are logged.
    pub(crate) failures: Damper,
}

/// The record as it was seen, with its revision.
type Seen = Option<(Record, u64)>;

impl Runner {
    /// Runs until it is told to stop; a firing that is under way is finished.
    pub(crate) async fn run(self) {
        let mut pause = PAUSE;
        let mut watched: Option<(u64, Instant)> = None;
        while !self.stop.is_cancelled() {
            let turn = self.turn(&mut watched).await;
            self.is_cut_off.store(matches!(turn, Err(RecordError::Unavailable(_))), Ordering::Relaxed);
            match turn {
                Ok(()) | Err(RecordError::Conflict) => pause = PAUSE,
                Err(error) => {
                    self.complain(&error);
                    self.rest(pause).await;
                    pause = (pause * 2).min(MAX_PAUSE / 4);
                }
            }
        }
    }

    /// Looks, decides and acts once.
    async fn turn(&self, watched: &mut Option<(u64, Instant)>) -> Result<(), RecordError> {
        let seen = self.read().await?;
        let record = seen.as_ref().map(|(record, _)| record);
        let revision = seen.as_ref().map(|(_, revision)| *revision);
        let decision = self.config.policy.decide(record, &self.me, (self.clock)());
        let decision = match (decision, &seen) {
            (Decision::Watch, Some((record, revision))) => self.watch(record, *revision, watched),
            (decision, _) => decision,
        };
        match decision {
            Decision::Wait(until) => self.wait(until).await,
            Decision::Never => self.stop.cancelled().await,
            Decision::Watch => self.rest(WATCH).await,
            Decision::Note(record) => {
                self.write(&record, revision).await?;
                // Until all hosts have a new schedule they do not agree what it is about.
                self.rest(NOTED).await;
            }
            Decision::Fire(record) => {
                let revision = self.write(&record, revision).await?;
                self.fire(record, revision).await;
            }
        }
        Ok(())
    }

    /// A record that does not change for long enough has lost its holder.
    fn watch(&self, record: &Record, revision: u64, watched: &mut Option<(u64, Instant)>) -> Decision {
        match watched {
            Some((known, since)) if *known == revision => {
                if since.elapsed() < STALE {
                    return Decision::Watch;
                }
                self.config.policy.take_over(record, &self.me, (self.clock)())
            }
            _ => {
                *watched = Some((revision, Instant::now()));
                Decision::Watch
            }
        }
    }

    /// Calls the actor until it succeeds, no attempt is left, or the next firing is due.
    async fn fire(&self, mut record: Record, mut revision: u64) {
        loop {
            let State::Held { attempt, .. } = record.state else { return };
            let work = self.attempt(&record, attempt);
            let outcome = match self.keeping(&record, &mut revision, work).await {
                Some(outcome) => outcome,
                None => return warn!(provider_id = %self.id, actor_id = %self.target, "timer was taken over"),
            };
            let Err(error) = outcome else { break };
            self.complain(&error);
            let pause = PAUSE.saturating_mul(1 << (attempt - 1).min(10)).min(MAX_PAUSE);
            let then = (self.clock)().saturating_add(u64::try_from(pause.as_millis()).unwrap_or(u64::MAX));
            if attempt >= self.config.attempts || self.config.policy.is_next_due(&record, then) {
                warn!(
                    provider_id = %self.id, actor_id = %self.target, link_name = %self.link, attempts = attempt,
                    "timer firing failed"
                );
                break;
            }
            let is_kept = self.keeping(&record, &mut revision, self.rest(pause)).await.is_some();
            if !is_kept || self.stop.is_cancelled() {
                // Another instance takes over.
                return;
            }
            record.state = State::Held { holder: self.me.clone(), attempt: attempt + 1 };
            match self.settle(&record, revision).await {
                Some(next) => revision = next,
                None => return,
            }
        }
        record.state = State::Done { ended_ms: (self.clock)() };
        record.missed = 0;
        self.settle(&record, revision).await;
    }

    /// Awaits `work` and says meanwhile that this instance is at it. None when it is not any more; `work` is broken off.
    async fn keeping<T>(&self, record: &Record, revision: &mut u64, work: impl Future<Output = T>) -> Option<T> {
        let mut work = std::pin::pin!(work);
        let mut renewed = Instant::now();
        loop {
            tokio::select! {
                done = &mut work => return Some(done),
                () = sleep(RENEW) => {}
            }
            let renewal = tokio::select! {
                done = &mut work => return Some(done),
                renewal = self.write(record, Some(*revision)) => renewal,
            };
            match renewal {
                Ok(next) => (*revision, renewed) = (next, Instant::now()),
                Err(RecordError::Conflict) => return None,
                Err(_) if renewed.elapsed() >= LOST => return None,
                Err(_) => {}
            }
        }
    }

    /// One call of the actor.
    async fn attempt(&self, record: &Record, attempt: u32) -> Result<(), String> {
        let fired_ms = (self.clock)();
        let name = self.config.name.clone().unwrap_or_else(|| self.link.to_string());
        let key = format!("{}/{}/{}@{}", self.id, self.target, self.link, record.scheduled_ms);
        let (scheduled_ms, missed) = (record.scheduled_ms, record.missed);
        let context = Context { idempotency_key: Some(key.as_str().into()), ..Context::root(self.config.timeout) };
        let event = Tick { name, key, scheduled_ms, fired_ms, attempt, missed };
        debug!(provider_id = %self.id, actor_id = %self.target, link_name = %self.link, attempt, "timer fired");
        let call = Call {
            source: self.id.clone(),
            link: self.link.clone(),
            interface: Interface::parse(HANDLER).expect("a constant of ours"),
            function: FIRE.into(),
            signature: None,
            context,
            args: wire::encode(&Fire { event }).map_err(|error| error.to_string())?,
            body: Body::Empty,
        };
        let deadline = call.context.deadline;
        let answer = tokio::time::timeout_at(deadline, self.caller.call(call)).await;
        let answer = answer.unwrap_or_else(|_| Err(CallError::deadline("the actor did not answer in time")));
        let answer = answer.map_err(|error| error.to_string())?;
        wire::decode::<Result<(), String>>(&answer.value).map_err(|error| error.to_string())?
    }

    /// Writes what has happened, however long the store takes. None when another instance has it now.
    async fn settle(&self, record: &Record, mut revision: u64) -> Option<u64> {
        let mut pause = PAUSE / 4;
        loop {
            match self.write(record, Some(revision)).await {
                Ok(next) => return Some(next),
                Err(RecordError::Conflict) => match self.own_revision(record).await {
                    // An earlier write of ours had arrived, and its answer had not.
                    Some(own) if own != revision => revision = own,
                    _ => return None,
                },
                Err(error) => self.complain(&error),
            }
            if self.stop.is_cancelled() && pause >= PAUSE * 4 {
                return None;
            }
            sleep(pause).await;
            pause = (pause * 2).min(MAX_PAUSE / 4);
        }
    }

    /// The revision of the record, if it is still this instance that holds the firing.
    async fn own_revision(&self, record: &Record) -> Option<u64> {
        let (there, revision) = self.read().await.ok()??;
        let is_mine = matches!(&there.state, State::Held { holder, .. } if *holder == self.me);
        (is_mine && there.scheduled_ms == record.scheduled_ms).then_some(revision)
    }

    async fn read(&self) -> Result<Seen, RecordError> {
        let Some(there) = self.records.read(&self.key()).await? else { return Ok(None) };
        // What cannot be read was written by another version: as if the timer were new, in its place.
        let unreadable =
            Record { schedule: String::new(), scheduled_ms: 0, missed: 0, state: State::Done { ended_ms: 0 } };
        Ok(Some((serde_json::from_slice(&there.value).unwrap_or(unreadable), there.revision)))
    }

    async fn write(&self, record: &Record, expected: Option<u64>) -> Result<u64, RecordError> {
        let value = serde_json::to_vec(record).expect("numbers and texts have a JSON form");
        self.records.write(&self.key(), value.into(), expected).await
    }

    fn key(&self) -> String {
        format!("timer/{}/{}", self.target, self.link)
    }

    /// Waits until the clock says `until`, at most for a while.
    async fn wait(&self, until: UnixMs) {
        let left = Duration::from_millis(until.saturating_sub((self.clock)()));
        self.rest(left.min(MAX_SLEEP)).await;
    }

    async fn rest(&self, pause: Duration) {
        tokio::select! {
            () = sleep_until(Instant::now() + pause) => {}
            () = self.stop.cancelled() => {}
        }
    }

    fn complain(&self, error: &dyn std::fmt::Display) {
        if let Some(left_out) = self.failures.admit() {
            info!(
                provider_id = %self.id, actor_id = %self.target, link_name = %self.link, left_out, error = %error,
                "timer is held up"
            );
        }
    }
}
