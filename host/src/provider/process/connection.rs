//! The host's end of one process: orders that are answered, and calls both ways.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::net::UnixStream;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use trellis_lattice::error::CallError;
use trellis_lattice::message::invocation::{Answer, Call, Invocation};
use trellis_provider_sdk::process::{Bootstrap, Channel, Order, Serve, Word};
use trellis_provider_sdk::{Args, Backing, Caller, Description};

use super::confined::explained;
use crate::config::Native;

/// The longest that a process may take until it is ready.
const READY_TIMEOUT: Duration = Duration::from_secs(30);

type Asked = Arc<Mutex<HashMap<u64, oneshot::Sender<Done>>>>;

/// What a process says to an order.
#[derive(Debug)]
pub(super) struct Done {
    /// Why it was not carried out, if it was not.
    pub(super) refusal: Option<Refusal>,
    /// What is behind the link that was taken, if it says so.
    pub(super) backing: Option<Backing>,
}

/// Why an order was not carried out.
#[derive(Debug)]
pub(super) struct Refusal {
    /// For people.
    pub(super) reason: String,
    /// Whether another process has what is needed for it.
    pub(super) is_held: bool,
}

impl From<String> for Refusal {
    fn from(reason: String) -> Self {
        Self { reason, is_held: false }
    }
}

/// A process that is ready.
pub(super) struct Connection {
    channel: Channel,
    /// A lock because answers come on another task; held for the time of a lookup.
    asked: Asked,
    next: AtomicU64,
    /// Whether it knows the order to check a link.
    pub(super) checks: bool,
    closed: CancellationToken,
    native: Arc<Native>,
    _words: AbortOnDropHandle<()>,
}

impl Connection {
    /// Tells a process who it is, and waits until it is ready.
    ///
    /// # Errors
    /// Why it is not.
    pub(super) async fn open(
        stream: UnixStream,
        caller: Arc<dyn Caller>,
        bootstrap: Bootstrap,
        native: Arc<Native>,
    ) -> Result<(Self, Description), String> {
        let (channel, mut words) = Channel::open(stream, Arc::new(Inward(caller)));
        channel.say(&Order::Start(bootstrap)).await.map_err(|error| error.message)?;
        let first = timeout(READY_TIMEOUT, words.recv()).await;
        let first = first.map_err(|_| format!("it was not ready within {} s", READY_TIMEOUT.as_secs()))?;
        let Some(first) = first else { return Err("its process ended before it was ready".to_owned()) };
        let described = match serde_json::from_slice(&first) {
            Ok(Word::Ready(described)) => described,
            Ok(Word::Failed { error }) => return Err(explained(error.chars().take(500).collect(), &native)),
            _ => return Err("it does not speak the protocol of providers".to_owned()),
        };
        let (asked, closed) = (Asked::default(), CancellationToken::new());
        let listening = tokio::spawn(listen(words, Arc::clone(&asked), closed.clone()));
        let words = AbortOnDropHandle::new(listening);
        let (checks, next) = (described.checks, AtomicU64::new(1));
        Ok((Self { channel, asked, next, checks, closed, native, _words: words }, described.into()))
    }

    /// Calls the provider.
    pub(super) async fn call(&self, invocation: Invocation<Args>) -> Result<Answer<Args>, CallError> {
        self.channel.call(invocation).await
    }

    /// Gives an order and awaits the answer: what is wrong, if something is.
    ///
    /// # Errors
    /// When the process is gone.
    pub(super) async fn ask(&self, order: impl FnOnce(u64) -> Order) -> Result<Option<Refusal>, CallError> {
        self.order(order).await.map(|done| done.refusal)
    }

    /// Gives an order and awaits the answer.
    ///
    /// # Errors
    /// When the process is gone.
    pub(super) async fn order(&self, order: impl FnOnce(u64) -> Order) -> Result<Done, CallError> {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let (answer, answered) = oneshot::channel();
        let _forgotten = Forget { asked: &self.asked, id };
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).insert(id, answer);
        if self.closed.is_cancelled() {
            return Err(CallError::no_target("the provider's process is gone"));
        }
        self.channel.say(&order(id)).await?;
        answered.await.map_err(|_| CallError::no_target("the provider's process is gone"))
    }

    /// What was wrong, as the process has it, with the way out where that is known here.
    pub(super) fn explained(&self, error: String) -> String {
        explained(error, &self.native)
    }

    /// Waits until the process closes the channel, or breaks its rules.
    pub(super) async fn closed(&self) {
        self.closed.cancelled().await;
    }

    /// Why it was closed.
    pub(super) fn reason(&self) -> Option<String> {
        self.channel.closed()
    }
}

/// Removes a question when whoever asked is gone.
struct Forget<'a> {
    asked: &'a Asked,
    id: u64,
}

impl Drop for Forget<'_> {
    fn drop(&mut self) {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.id);
    }
}

/// Brings answers to those who asked; who answers what was not asked breaks the rules.
async fn listen(mut words: mpsc::Receiver<Bytes>, asked: Asked, closed: CancellationToken) {
    let _closed = closed.drop_guard();
    while let Some(word) = words.recv().await {
        let Ok(Word::Done { id, error, held, backing }) = serde_json::from_slice(&word) else { break };
        let answer = asked.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
        if let Some(answer) = answer {
            let refusal = |error: String| Refusal { reason: error.chars().take(500).collect(), is_held: held };
            // An error means that whoever asked has left.
            let _ = answer.send(Done { refusal: error.map(refusal), backing });
        }
    }
    asked.lock().unwrap_or_else(PoisonError::into_inner).clear();
}

/// What a process calls: the router, in the name of the provider, over the provider's links.
struct Inward(Arc<dyn Caller>);

#[async_trait]
impl Serve for Inward {
    async fn serve(&self, invocation: Invocation<Args>) -> Result<Answer<Args>, CallError> {
        let Invocation { head, args, body } = invocation;
        let call = Call {
            source: head.source,
            link: head.link,
            interface: head.interface,
            function: head.function,
            signature: head.signature,
            context: head.context,
            args,
            body,
        };
        self.0.call(call).await
    }
}
