//! Calls over a transport: a [`Peer`] calls whoever presence says runs the target, and serves calls to itself.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt as _;
use futures::future::BoxFuture;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

use crate::error::{CallError, Result};
use crate::id::{EntityId, LatticeName, PeerId};
use crate::identity::claims::{PeerClaims, Verified};
use crate::identity::peer::Identity;
use crate::identity::trust::Trust;
use crate::message::invocation::{Answer, Invocation};
use crate::message::presence::{Presence, Running, State};
use crate::subject;
use crate::transport::{SharedTransport, Subscription};

mod balance;
mod client;
mod core;
mod member;
mod outbox;
mod presence;
mod server;
mod slot;
mod stream;

pub use self::balance::RetryBudget;
use self::client::Client;
use self::core::Core;
pub use self::core::Refused;
use self::member::{Members, Remote};
use self::outbox::{Outbox, Outgoing};
use self::presence::Voice;
use self::server::Server;
use self::slot::Slots;

/// The largest value (arguments or result) that is sent in chunks, in bytes; anything larger is a body.
pub const MAX_VALUE_BYTES: usize = 16 * 1024 * 1024;

/// How long saying goodbye may take.
const FAREWELL: Duration = Duration::from_secs(2);

/// What serves the calls that arrive.
pub trait Serve: Send + Sync + 'static {
    /// Answers a call. The frame's seal, replay window, deadline and size were checked; whether `from` may make this
    /// call is for the implementor to check (it has the link table). Runs on a task of its own, which is aborted
    /// when the caller cancels or the deadline passes; nothing is done before it is polled.
    fn serve(
        self: Arc<Self>,
        from: Arc<Verified<PeerClaims>>,
        invocation: Invocation<Bytes>,
    ) -> BoxFuture<'static, Result<Answer<Bytes>, CallError>>;
}

/// How a peer joins.
#[derive(Debug)]
pub struct Join {
    /// The lattice.
    pub lattice: LatticeName,
    /// Who joins.
    pub identity: Identity,
    /// Whom it believes.
    pub trust: Arc<Trust>,
    /// Where it says it is; callers prefer peers of their own site.
    pub site: Option<String>,
}

/// A member of a lattice that calls and is called. Dropping the last handle ends its tasks, without a goodbye.
pub struct Peer {
    core: Arc<Core>,
    members: Arc<Members>,
    voice: Arc<Voice>,
    server: Arc<Server>,
    client: Arc<Client>,
    /// A lock, because leaving ends the tasks while others hold handles; held for a move.
    tasks: Mutex<Vec<AbortOnDropHandle<()>>>,
}

impl Peer {
    /// Joins: subscribes, says so, asks who else is there and waits (at most 300 ms) for the first answers.
    /// Without `serve` it only calls.
    ///
    /// # Errors
    /// `Untrusted` when the identity's token is not of the trusted authority or for another lattice; what the
    /// transport fails with.
    pub async fn join(transport: SharedTransport, join: Join, serve: Option<Arc<dyn Serve>>) -> Result<Arc<Self>> {
        join.trust.accept_peer(&join.identity.claims, &join.lattice)?;
        let (lattice, id) = (&join.lattice, join.identity.peer());
        let inbox = transport.subscribe(subject::inbox(lattice, id), None).await?;
        let slots = transport.subscribe(subject::reply_slots(lattice, id), None).await?;
        let everyone = transport.subscribe(subject::presence(lattice), None).await?;
        let questions = transport.subscribe(subject::presence_query(lattice), None).await?;
        // Without a connection the subscriptions wait for it, and presence is said when it is there.
        let is_connected = transport.is_connected();
        if is_connected {
            transport.flush().await?;
        }
        let (outbox, posted) = Outbox::new();
        let peer = Self::assemble(transport, join, serve, outbox);
        peer.start((inbox, slots), (everyone, questions), posted);
        if is_connected {
            peer.voice.ask().await?;
            presence::first_answers(&peer.voice, &peer.members).await;
        }
        Ok(Arc::new(peer))
    }

    /// Calls `invocation.head.target` on the best peer that runs it, within the head's deadline. Dropping the future
    /// cancels the call there.
    ///
    /// # Errors
    /// As the target reports them; `NoTarget`, `Overloaded`, `Deadline`; `UnknownOutcome` when the call was sent and
    /// its peer went away. A call is repeated on another peer if it was not carried out, or if its context has an
    /// idempotency key; one with a streamed body never.
    pub fn call(
        &self,
        invocation: Invocation<Bytes>,
    ) -> impl Future<Output = Result<Answer<Bytes>, CallError>> + Send + '_ {
        self.client.call(invocation)
    }

    /// Replaces what presence says this peer runs, and says so at once.
    pub fn announce(&self, state: State, running: Vec<Running>) {
        self.voice.announce(state, Some(running));
    }

    /// Who this peer is.
    pub fn id(&self) -> &PeerId {
        self.core.identity.peer()
    }

    /// Waits until somebody is known who runs `target`; just after joining, presence may be on its way for a second.
    pub async fn until_known(&self, target: &EntityId) {
        self.client.until_known(target).await;
    }

    /// The peers that are there now, a snapshot.
    pub fn present(&self) -> Vec<Arc<Presence>> {
        self.members.view().present.clone()
    }

    /// Whether `peer` is there and says that it runs `entity`.
    pub fn is_running(&self, peer: &PeerId, entity: &EntityId) -> bool {
        self.members.view().runs.get(entity).is_some_and(|peers| peers.contains(peer))
    }

    /// How many frames were refused since joining.
    pub fn refused(&self) -> Refused {
        self.core.refused.snapshot()
    }

    /// How many calls of others are being served or still stream their answer.
    pub fn in_service(&self) -> usize {
        self.server.in_service()
    }

    /// How many bytes of bodies have arrived and were not read yet: now, and at most since joining.
    pub fn buffered_bytes(&self) -> (u64, u64) {
        self.core.buffered.read()
    }

    /// Says goodbye and ends the tasks. Calls that are being served get until `drain` to finish.
    pub async fn leave(&self, drain: Duration) {
        self.voice.announce(State::Draining, None);
        // Idle means that all is answered; what is not by then is ended.
        let _ = tokio::time::timeout(drain, self.server.idle()).await;
        self.voice.announce(State::Gone, None);
        let farewell = async {
            self.core.outbox.until_posted().await;
            self.voice.say().await?;
            self.core.transport.flush().await
        };
        match tokio::time::timeout(FAREWELL, farewell).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(error = %error, "goodbye could not be said"),
            Err(_) => tracing::warn!("goodbye could not be said in time"),
        }
        self.end();
    }

    fn assemble(transport: SharedTransport, join: Join, serve: Option<Arc<dyn Serve>>, outbox: Outbox) -> Self {
        let Join { lattice, identity, trust, site } = join;
        let (refused, buffered) = Default::default();
        let core = Arc::new(Core { lattice, identity, trust, transport, site, outbox, refused, buffered });
        let members = Arc::new(Members::new(Arc::clone(&core)));
        let voice = Arc::new(Voice::new(Arc::clone(&core)));
        let server = Server::new(Arc::clone(&core), Arc::clone(&members), Arc::clone(&voice), serve);
        let client = Arc::new(Client {
            core: Arc::clone(&core),
            members: Arc::clone(&members),
            voice: Arc::clone(&voice),
            server: Arc::clone(&server),
            slots: Slots::new(Arc::clone(&core)),
            retries: RetryBudget::default(),
            joined: Instant::now(),
        });
        Self { core, members, voice, server, client, tasks: Mutex::default() }
    }

    fn start(
        &self,
        (mut inbox, mut slots): (Subscription, Subscription),
        presence: (Subscription, Subscription),
        posted: mpsc::Receiver<Outgoing>,
    ) {
        let (client, server) = (Arc::clone(&self.client), Arc::clone(&self.server));
        let receive_calls = async move {
            while let Some(message) = inbox.next().await {
                if let Some(ended) = server.receive(&message) {
                    client.end(&ended);
                }
            }
        };
        let waiting = Arc::clone(&self.client.slots);
        let receive_answers = async move {
            while let Some(message) = slots.next().await {
                waiting.receive(&message);
            }
        };
        let (core, waiting) = (Arc::clone(&self.core), Arc::clone(&self.client.slots));
        let post = async move { outbox::post_all(&core, &waiting, posted).await };
        let client = Arc::clone(&self.client);
        let on_end = move |ended: &Arc<Remote>| client.end(ended);
        let listen = presence::run(Arc::clone(&self.voice), Arc::clone(&self.members), presence, on_end);
        let own = |task: tokio::task::JoinHandle<()>| AbortOnDropHandle::new(task);
        *self.tasks.lock().unwrap_or_else(PoisonError::into_inner) = vec![
            own(tokio::spawn(receive_calls)),
            own(tokio::spawn(receive_answers)),
            own(tokio::spawn(post)),
            own(tokio::spawn(listen)),
        ];
    }

    fn end(&self) {
        let tasks = std::mem::take(&mut *self.tasks.lock().unwrap_or_else(PoisonError::into_inner));
        drop(tasks);
        self.server.abort(None);
        self.client.slots.lose(None);
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.end();
    }
}
