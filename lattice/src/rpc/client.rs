//! The calls that this peer makes: whom to ask, the wait for the answer, and whether to ask again.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};
use tokio_util::task::AbortOnDropHandle;

use super::balance::{NoChoice, RetryBudget};
use super::core::{Core, Lane, Letter, Place, unix_ms};
use super::member::{Learned, Members, Remote};
use super::presence::Voice;
use super::server::Server;
use super::slot::{Held, Outcome, Slots};
use super::stream::{Arrival, Credit, Departure, Outgoing, pump};
use crate::body::Body;
use crate::deadline;
use crate::error::{CallError, CallErrorKind};
use crate::id::EntityId;
use crate::message::invocation::{self, Answer, Head, Invocation, MAX_DEPTH};
use crate::wire::{CallFrame, Stamp, Stranger};

/// How often one call is tried at most.
const MAX_ATTEMPTS: u8 = 3;

/// How long after joining a target that nobody runs is waited for: presence may be on its way.
const SETTLING: Duration = Duration::from_secs(1);

/// The calling half of a peer.
pub(super) struct Client {
    pub(super) core: Arc<Core>,
    pub(super) members: Arc<Members>,
    pub(super) voice: Arc<Voice>,
    pub(super) server: Arc<Server>,
    pub(super) slots: Arc<Slots>,
    pub(super) retries: RetryBudget,
    pub(super) joined: Instant,
}

/// A call that is about to be sent.
struct Begun {
    letter: Letter,
    /// What follows its frame.
    rest: Option<Box<(Lane, Outgoing)>>,
    held: Held,
    answered: oneshot::Receiver<Outcome>,
}

/// How an attempt failed.
struct Failure {
    error: CallError,
    reach: Reach,
}

/// How far an attempt that failed had come, which decides whether another may be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reach {
    /// To nobody: another attempt is no repetition.
    Nobody,
    /// To a peer that has another session now; it did not carry the call out.
    Stranger,
    /// To a peer that did not carry it out.
    Refused,
    /// To a peer of which nothing was heard since.
    Unknown,
    /// To its end.
    Final,
}

impl Client {
    /// Calls, again if need be and allowed.
    pub(super) fn call(
        &self,
        invocation: Invocation<Bytes>,
    ) -> impl Future<Output = Result<Answer<Bytes>, CallError>> + Send + '_ {
        let Invocation { mut head, args, mut body } = invocation;
        async move {
            if head.context.depth > MAX_DEPTH {
                let message = format!("calls are nested deeper than {MAX_DEPTH}, down to {}", head.target);
                return Err(CallError::denied(message));
            }
            self.retries.deposit();
            let mut tried = Vec::new();
            let mut last = None;
            loop {
                let chosen = match self.choose_now(&head, &tried) {
                    Ok(remote) => Ok(remote),
                    // Boxed, because every call carries the room for this and few take it.
                    Err(_) => Box::pin(self.choose(&head, &tried)).await,
                };
                let remote = match chosen {
                    Ok(remote) => remote,
                    Err(error) => return Err(last.unwrap_or(error)),
                };
                let (lent, loan) = body.lend();
                let failure = match self.attempt(&remote, &head, args.clone(), lent).await {
                    Ok(answer) => return Ok(answer),
                    Err(failure) => failure,
                };
                let again = if self.may_retry(&failure, &head) { loan.take_back() } else { None };
                let Some(again) = again else { return Err(failure.error) };
                if failure.reach != Reach::Stranger {
                    tried.push(remote);
                }
                last = Some(failure.error);
                body = again;
                head.attempt = head.attempt.saturating_add(1);
                head.id = invocation::new_id();
            }
        }
    }

    /// Waits until somebody is known who runs `target`, while presence may be on its way.
    pub(super) async fn until_known(&self, target: &EntityId) {
        let settled = self.joined + SETTLING;
        loop {
            let changed = self.members.changed();
            if self.members.view().by_entity.contains_key(target) || timeout_at(settled, changed).await.is_err() {
                return;
            }
        }
    }

    /// A run of another peer is over: nothing will come from it, and nobody waits there.
    pub(super) fn end(&self, remote: &Arc<Remote>) {
        self.slots.lose(Some(&remote.session));
        self.server.abort(Some(&remote.session));
    }

    async fn choose(&self, head: &Head, tried: &[Arc<Remote>]) -> Result<Arc<Remote>, CallError> {
        let settled = head.context.deadline.min(self.joined + SETTLING);
        loop {
            let changed = self.members.changed();
            match self.choose_now(head, tried) {
                Ok(remote) => return Ok(remote),
                Err(NoChoice::AllFull) => {
                    let message = format!("all that run {} have as many calls as they may", head.target);
                    return Err(CallError::overloaded(message, Duration::from_millis(100)));
                }
                Err(NoChoice::Nobody) if tried.is_empty() && timeout_at(settled, changed).await.is_ok() => {}
                Err(NoChoice::Nobody) => {
                    let message = format!("nobody runs {} in lattice {}", head.target, self.core.lattice);
                    return Err(CallError::no_target(message));
                }
            }
        }
    }

    fn choose_now(&self, head: &Head, tried: &[Arc<Remote>]) -> Result<Arc<Remote>, NoChoice> {
        let view = self.members.view();
        let targets = view.by_entity.get(&head.target).ok_or(NoChoice::Nobody)?;
        let may = |remote: &Arc<Remote>| !tried.iter().any(|tried| Arc::ptr_eq(tried, remote));
        targets.choose(unix_ms, may, rand::random::<u32>).cloned()
    }

    async fn attempt(
        &self,
        remote: &Arc<Remote>,
        head: &Head,
        args: Bytes,
        body: Body,
    ) -> Result<Answer<Bytes>, Failure> {
        let Some(_in_flight) = remote.load.enter() else {
            let message = format!("{} has as many calls as it may", remote.session.peer());
            return Err(refused(CallError::overloaded(message, Duration::from_millis(100))));
        };
        if !remote.is_introduced.load(Ordering::Acquire) {
            Box::pin(self.introduce(remote)).await.map_err(unknown)?;
        }
        let Begun { letter, rest, held, answered } = self.begin(remote, head, args, body)?;
        if let Some(rest) = rest {
            // Boxed, because every call carries the room for this and few take it.
            Box::pin(self.send_all(&held, letter, *rest)).await?;
        } else if remote.load.is_light() && self.core.outbox.is_empty() {
            self.core.publish(letter).await.map_err(unknown)?;
        } else {
            self.core.outbox.send_soon(letter).await;
        }
        match deadline::by(head.context.deadline, pin!(answered)).await {
            Ok(Ok(Outcome::Answer(arrival))) => {
                remote.load.answered();
                match arrival.holding(held).whole() {
                    Ok((value, body)) => Ok(Answer { value, body }),
                    Err(arrival) => Box::pin(read(remote, head, arrival)).await,
                }
            }
            Ok(outcome) => Err(self.conclude(remote, head, held, outcome.unwrap_or(Outcome::Lost))),
            Err(_) => {
                remote.load.failed(unix_ms());
                Err(late(remote, head))
            }
        }
    }

    /// Takes a slot for the answer and seals the call.
    fn begin(&self, remote: &Remote, head: &Head, args: Bytes, body: Body) -> Result<Begun, Failure> {
        let session = Arc::clone(&remote.session);
        let lane = Lane { session, id: head.id, to: Place::Subject(remote.inbox.clone()) };
        let departure = Departure::new(args, body, self.core.frame_limit_bytes());
        let letter = lane.letter(call_frame(&lane, head, &departure)?);
        let rest = departure.rest().map(|rest| Box::new((lane.clone(), rest)));
        let (held, answered) = self.slots.hold(lane).map_err(refused)?;
        Ok(Begun { letter: Letter { reply: Some(held.reply()), ..letter }, rest, held, answered })
    }

    /// Sends the frame of a call, and what follows it from a task of its own.
    async fn send_all(&self, held: &Held, letter: Letter, (lane, rest): (Lane, Outgoing)) -> Result<(), Failure> {
        let credit = Arc::new(Credit::default());
        // Before the call is sent: the first credit may be here as soon as it is.
        held.uploads(Arc::clone(&credit));
        // At once, because the rest must not overtake it.
        self.core.publish(letter).await.map_err(unknown)?;
        let sender = tokio::spawn(pump(Arc::clone(&self.core), lane, credit, rest));
        held.owns(AbortOnDropHandle::new(sender));
        Ok(())
    }

    /// Lets the other end know us, so that it can open what we seal.
    async fn introduce(&self, remote: &Remote) -> Result<(), CallError> {
        let unknown = |error: crate::error::Error| CallError::new(CallErrorKind::UnknownOutcome, error.to_string());
        self.voice.introduce(remote).await.map_err(unknown)?;
        remote.is_introduced.store(true, Ordering::Release);
        Ok(())
    }

    /// Why there is no answer.
    fn conclude(&self, remote: &Arc<Remote>, head: &Head, held: Held, outcome: Outcome) -> Failure {
        held.finish();
        match outcome {
            Outcome::Failed(error) => {
                remote.load.answered();
                let reach = if error.is_retryable() { Reach::Refused } else { Reach::Final };
                Failure { error, reach }
            }
            Outcome::Unsent(error) => unknown(error),
            Outcome::NoResponders => {
                remote.load.went_deaf();
                let message = format!("{}, which ran {}, is not there any more", remote.session.peer(), head.target);
                Failure { error: CallError::no_target(message), reach: Reach::Nobody }
            }
            Outcome::Stranger(frame) => {
                self.meet(remote, &frame);
                let message = format!("{}, which ran {}, began anew", remote.session.peer(), head.target);
                Failure { error: CallError::no_target(message), reach: Reach::Stranger }
            }
            Outcome::Answer(_) | Outcome::Lost => lost(remote, head),
        }
    }

    /// The other end has no session with us: it began anew, or forgot us.
    fn meet(&self, remote: &Arc<Remote>, frame: &[u8]) {
        remote.is_introduced.store(false, Ordering::Release);
        let learned = Stranger::decode(frame).ok().and_then(|signed| self.members.learn_of(signed).ok());
        if let Some(Learned::News { ended: Some(ended), .. }) = learned {
            self.end(&ended);
        }
    }

    fn may_retry(&self, failure: &Failure, head: &Head) -> bool {
        let is_safe = match failure.reach {
            Reach::Nobody | Reach::Stranger => true,
            Reach::Refused => self.retries.withdraw(),
            Reach::Unknown => head.context.idempotency_key.is_some() && self.retries.withdraw(),
            Reach::Final => false,
        };
        is_safe && head.attempt < MAX_ATTEMPTS && !head.context.remaining().is_zero()
    }
}

fn call_frame(lane: &Lane, head: &Head, departure: &Departure) -> Result<Vec<u8>, Failure> {
    let left_ms = u64::try_from(head.context.remaining().as_millis()).unwrap_or(u64::MAX);
    if left_ms == 0 {
        let message = format!("no time was left for calling {} of {}", head.function, head.target);
        return Err(Failure { error: CallError::deadline(message), reach: Reach::Final });
    }
    let stamp = Stamp {
        sequence: lane.session.next_sequence(),
        issued_at_ms: unix_ms(),
        budget_ms: left_ms.min(u32::MAX.into()),
    };
    let frame = CallFrame::encode(lane.session.outgoing_tag(), stamp, head, departure.parts());
    let too_large = |error: crate::wire::Malformed| Failure {
        error: CallError::too_large(format!("call of {}: {error}", head.target)),
        reach: Reach::Final,
    };
    frame.map_err(too_large)
}

async fn read(remote: &Remote, head: &Head, arrival: Arrival) -> Result<Answer<Bytes>, Failure> {
    match timeout_at(head.context.deadline, arrival.read()).await {
        Ok(Ok((value, body))) => Ok(Answer { value, body }),
        Ok(Err(error)) => Err(Failure { error, reach: Reach::Final }),
        Err(_) => Err(late(remote, head)),
    }
}

fn lost(remote: &Remote, head: &Head) -> Failure {
    remote.load.failed(unix_ms());
    let peer = remote.session.peer();
    let message = format!("{peer} went away with the call of {} to {}", head.function, head.target);
    unknown(CallError::new(CallErrorKind::UnknownOutcome, message))
}

fn late(remote: &Remote, head: &Head) -> Failure {
    let peer = remote.session.peer();
    let message = format!("{} on {peer} did not answer {} in time", head.target, head.function);
    Failure { error: CallError::deadline(message), reach: Reach::Final }
}

fn refused(error: CallError) -> Failure {
    Failure { error, reach: Reach::Refused }
}

fn unknown(error: CallError) -> Failure {
    Failure { error, reach: Reach::Unknown }
}
