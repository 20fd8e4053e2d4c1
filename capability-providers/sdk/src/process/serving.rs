//! Calls that the other end makes: a task each, which ends when the caller leaves.

use std::collections::hash_map::Entry;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, timeout_at};
use trellis_lattice::wire::reply::encode_error;
use trellis_lattice::wire::{CallFrame, Kind, ReplyFrame, Tag};
use uuid::Uuid;

use super::body::{Credit, Feed};
use super::call::{Arrival, Departure, MAX_CALLS};
use super::channel::{Serve, Shared};
use crate::{CallError, Head, Invocation, heads};

/// The longest that a call may take, whatever budget it comes with.
const MAX_BUDGET: Duration = Duration::from_mins(10);

/// A call that the other end made.
pub(super) struct Served {
    pub(super) abort: Option<AbortHandle>,
    pub(super) feed: Option<Feed>,
    pub(super) credit: Arc<Credit>,
}

/// The place of a call that the other end made. Dropped before it was answered, it says that it failed inside.
struct Place {
    shared: Arc<Shared>,
    id: Uuid,
    is_answered: bool,
}

impl Drop for Place {
    fn drop(&mut self) {
        let is_there = self.shared.tables().served.remove(&self.id).is_some();
        self.shared.served_one.notify_waiters();
        if is_there && !self.is_answered {
            self.refuse(&CallError::provider("the call failed inside: its task panicked or was ended"));
        }
    }
}

impl Place {
    fn refuse(&self, error: &CallError) {
        let lane = self.shared.outbox.lane(self.id);
        lane.outbox.post(encode_error(lane.prefix(Kind::Error), error));
    }
}

/// Begins to serve a call.
pub(super) fn begin(shared: &Arc<Shared>, frame: CallFrame<'_>, message: &Bytes, tasks: &mut JoinSet<()>) {
    let id = frame.head.id;
    let (arrival, feed) = Arrival::new(shared.outbox.lane(id), (frame.args, frame.body), message);
    let credit = Credit::new();
    let served = Served { abort: None, feed, credit: Arc::clone(&credit) };
    if let Err(error) = shared.enter(id, served) {
        let lane = shared.outbox.lane(id);
        return lane.outbox.post(encode_error(lane.prefix(Kind::Error), &error));
    }
    let place = Place { shared: Arc::clone(shared), id, is_answered: false };
    let abort = tasks.spawn(serve(place, frame.head, arrival, credit));
    if let Some(served) = shared.tables().served.get_mut(&id) {
        served.abort = Some(abort);
    }
}

async fn serve(mut place: Place, mut head: Head, arrival: Arrival, credit: Arc<Credit>) {
    let deadline = head.context.deadline.min(Instant::now() + MAX_BUDGET);
    head.context.deadline = deadline;
    let shared = Arc::clone(&place.shared);
    let work = timeout_at(deadline, answer(&*shared.serve, head, arrival));
    let outcome = work.await.unwrap_or_else(|_| Err(CallError::deadline("no answer was there in time")));
    place.is_answered = true;
    let departure = match outcome {
        Ok(departure) => departure,
        Err(error) => return place.refuse(&error),
    };
    let lane = shared.outbox.lane(place.id);
    let (value, body) = departure.parts();
    let reply = ReplyFrame { value, body }.encode(Tag::default(), place.id);
    // An error means that the channel closed, which its owner knows.
    if shared.outbox.send(reply).await.is_ok()
        && let Some(rest) = departure.rest(&lane, &credit)
    {
        rest.await;
    }
}

async fn answer(serve: &dyn Serve, head: Head, arrival: Arrival) -> Result<Departure, CallError> {
    let (args, body) = arrival.read(None).await?;
    let interface = head.interface.clone();
    let args = heads::arguments(&interface, args)?;
    let answer = serve.serve(Invocation { head, args, body }).await?;
    Ok(Departure::new(heads::to_bytes(answer.value)?, answer.body))
}

impl Shared {
    fn enter(&self, id: Uuid, served: Served) -> Result<(), CallError> {
        let mut tables = self.tables();
        if tables.served.len() >= MAX_CALLS {
            return Err(CallError::overloaded("too many calls are under way", Duration::from_millis(100)));
        }
        match tables.served.entry(id) {
            Entry::Occupied(_) => Err(CallError::denied("a call with that id is being served")),
            Entry::Vacant(place) => {
                place.insert(served);
                Ok(())
            }
        }
    }

    /// The caller left.
    pub(super) fn cancelled(&self, id: Uuid) {
        let served = self.tables().served.remove(&id);
        if let Some(abort) = served.and_then(|served| served.abort) {
            abort.abort();
        }
    }
}
