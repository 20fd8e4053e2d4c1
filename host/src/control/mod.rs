//! The control interface, lattice v1: requests as JSON, each answered at once; what takes time is done by the roster
//! and told by events.

mod actors;
mod check;
mod config;
mod hosts;
mod labels;
mod links;
mod providers;
mod query;
mod registry;
mod secrets;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt as _;
use futures::stream::SelectAll;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};
use trellis_lattice::id::HostId;
use trellis_lattice::message::command::Reply;
use trellis_lattice::message::event::EventName;
use trellis_lattice::message::fence;
use trellis_lattice::subject::{self, Subject};
use trellis_lattice::transport::{Message, SharedTransport, Subscription};

use crate::error::{Error, ErrorKind, Result};
use crate::pulse::now_ms;
use crate::roster::{Context, Order, Roster, Slot};

pub(crate) use labels::Labels;
pub(crate) use query::inventory;

/// Requests that wait for the store at once; more are refused.
const MAX_WAITING: usize = 64;
/// The longest that sending a reply may take.
const REPLY_TIMEOUT: Duration = Duration::from_secs(5);

/// What control answers from.
pub(crate) struct Shared {
    pub(crate) context: Arc<Context>,
    pub(crate) roster: Roster,
    pub(crate) transport: SharedTransport,
    pub(crate) labels: Labels,
    /// When the host started.
    pub(crate) started: Instant,
    /// Set when the host was told to stop: how long the drain may take.
    pub(crate) stop: watch::Sender<Option<Duration>>,
}

/// What a request that is answered at once comes to: the reply first, then what it asked for.
struct Response<'a> {
    reply: Option<Bytes>,
    then: Then<'a>,
}

enum Then<'a> {
    Nothing,
    Order(Slot<'a>, Order),
    Event(EventName, Value),
    Stop(Duration),
}

impl<'a> Response<'a> {
    fn answer(response: impl Serialize) -> Self {
        Self { reply: Some(encode(&Reply::answer(response))), then: Then::Nothing }
    }

    fn refused(message: impl Into<String>) -> Self {
        Self { reply: Some(refused(message)), then: Then::Nothing }
    }

    fn accepted(message: impl Into<String>, then: Then<'a>) -> Self {
        Self { reply: Some(encode(&Reply::<()>::accepted(message))), then }
    }

    /// No reply: somebody else will.
    fn silence() -> Self {
        Self { reply: None, then: Then::Nothing }
    }
}

fn encode<T: Serialize>(reply: &Reply<T>) -> Bytes {
    serde_json::to_vec(reply).expect("replies have a JSON form").into()
}

fn refused(message: impl Into<String>) -> Bytes {
    encode(&Reply::<()>::refused(message))
}

/// Reads a request.
///
/// # Errors
/// Says what is wrong with the JSON.
fn parse<T: DeserializeOwned>(operation: &str, payload: &[u8]) -> Result<T, String> {
    serde_json::from_slice(payload).map_err(|error| format!("the request of {operation} is malformed: {error}"))
}

/// Subscribes to everything that a host answers.
///
/// # Errors
/// `Unavailable` when the bus does not take a subscription.
pub(crate) async fn subscribe(
    transport: &SharedTransport,
    subjects: &subject::Control,
    host: &HostId,
) -> Result<SelectAll<Subscription>> {
    let plain = subjects.all_on_host(host).into_iter().chain(subjects.broadcast()).map(|subject| (subject, None));
    let shared = subjects.shared().into_iter().map(|(subject, group)| (subject, Some(group)));
    let mut all = SelectAll::new();
    for (subject, group) in plain.chain(shared) {
        let subscription = transport.subscribe(subject, group).await.map_err(|error| {
            Error::new(ErrorKind::Unavailable, format!("cannot serve control requests: {error}")).with_source(error)
        })?;
        all.push(subscription);
    }
    Ok(all)
}

/// Answers requests until the bus closes.
pub(crate) async fn serve(shared: Arc<Shared>, subjects: subject::Control, mut requests: SelectAll<Subscription>) {
    let mut waiting = JoinSet::new();
    loop {
        tokio::select! {
            request = requests.next() => match request {
                Some(request) => receive(&shared, &subjects, request, &mut waiting).await,
                None => return,
            },
            Some(_) = waiting.join_next() => {}
        }
    }
}

async fn receive(shared: &Arc<Shared>, subjects: &subject::Control, request: Message, waiting: &mut JoinSet<()>) {
    let Message { subject, reply, payload, .. } = request;
    let Some((noun, verb, tail)) = subjects.parse(&subject) else { return };
    tracing::debug!(operation = %format_args!("{noun}.{verb}"), "control request came");
    if matches!(noun, "link" | "config" | "secret" | "claims") {
        if waiting.len() >= MAX_WAITING {
            return shared.send(reply, refused("too many requests wait on this host; try again in a moment")).await;
        }
        let (noun, verb, tail) = (noun.to_owned(), verb.to_owned(), tail.map(str::to_owned));
        let shared = Arc::clone(shared);
        waiting.spawn(async move {
            let answer = stored(&shared, (&noun, &verb, tail.as_deref()), &payload).await;
            shared.send(reply, answer).await;
        });
        return;
    }
    let Response { reply: answer, then } = immediate(shared, noun, verb, &payload);
    if let Some(answer) = answer {
        shared.send(reply, answer).await;
    }
    match then {
        Then::Nothing => {}
        Then::Order(slot, order) => slot.give(order, fence::of(&payload)),
        Then::Event(name, data) => shared.context.announcer.emit(name, data),
        Then::Stop(drain) => {
            shared.stop.send_replace(Some(drain));
        }
    }
}

/// Requests that are answered from what this host knows.
fn immediate<'a>(shared: &'a Shared, noun: &str, verb: &str, payload: &[u8]) -> Response<'a> {
    if is_fenced(noun, verb)
        && let Err(stale) = admit(shared, payload)
    {
        return Response::refused(stale);
    }
    let response = match (noun, verb) {
        ("host", "ping") => Ok(hosts::ping(shared)),
        ("host", "get") => Ok(hosts::get(shared)),
        ("host", "stop") => hosts::stop(shared, payload),
        ("component", "scale") => actors::scale(shared, payload),
        ("component", "update") => actors::update(shared, payload),
        ("component", "auction") => actors::auction(shared, payload),
        ("provider", "start") => providers::start(shared, payload),
        ("provider", "stop") => providers::stop(shared, payload),
        ("provider", "auction") => providers::auction(shared, payload),
        ("label", "put") => labels::put(shared, payload),
        ("label", "del") => labels::delete(shared, payload),
        ("registry", "put") => registry::put(shared, payload),
        _ => Err(UNSUPPORTED.to_owned()),
    };
    response.unwrap_or_else(Response::refused)
}

/// Whether a command may carry terms.
fn is_fenced(noun: &str, verb: &str) -> bool {
    matches!(
        (noun, verb),
        ("component", "scale" | "update") | ("provider", "start" | "stop") | ("link" | "config", "put" | "del")
    )
}

/// Whether a command still counts, by its terms.
fn admit(shared: &Shared, payload: &[u8]) -> Result<(), String> {
    let terms = fence::of(payload);
    terms.check_time(now_ms())?;
    shared.context.told.admit(terms.token)
}

/// What lattice v1 answers to a subject that it does not know.
const UNSUPPORTED: &str = "unsupported subject";

/// Requests that are answered from the store.
async fn stored(shared: &Shared, operation: (&str, &str, Option<&str>), payload: &[u8]) -> Bytes {
    if is_fenced(operation.0, operation.1)
        && let Err(stale) = admit(shared, payload)
    {
        return refused(stale);
    }
    let answer = match operation {
        ("link", "put", None) => links::put(shared, payload).await,
        ("link", "check", None) => check::answer(shared, payload).await,
        ("link", "get", None) => links::get(shared).await,
        ("link", "del", None) => links::delete(shared, payload).await,
        ("config", "put", Some(name)) => config::put(shared, name, payload).await,
        ("config", "get", Some(name)) => config::get(shared, name).await,
        ("config", "del", Some(name)) => config::delete(shared, name).await,
        ("secret", "put", Some(name)) => secrets::put(shared, name, payload).await,
        ("secret", "get", Some(name)) => secrets::get(shared, name).await,
        ("secret", "del", Some(name)) => secrets::delete(shared, name).await,
        ("secret", "list", None) => secrets::list(shared).await,
        ("claims", "get", None) => query::claims(shared).await,
        _ => Err(UNSUPPORTED.to_owned()),
    };
    answer.unwrap_or_else(refused)
}

impl Shared {
    async fn send(&self, to: Option<Subject>, payload: Bytes) {
        let Some(to) = to else { return };
        let sent = timeout(REPLY_TIMEOUT, self.transport.publish(Message::new(to, payload))).await;
        if !matches!(sent, Ok(Ok(()))) {
            tracing::warn!("reply to a control request was not sent");
        }
    }

    /// Refuses a request that means another host.
    fn require_self(&self, meant: &HostId) -> Result<(), String> {
        let own = &self.context.host;
        if meant == own { Ok(()) } else { Err(format!("the request is for host {meant}, and this is {own}")) }
    }

    /// Room for an order.
    fn reserve(&self) -> Result<Slot<'_>, String> {
        self.roster.reserve().map_err(|busy| busy.to_string())
    }
}
