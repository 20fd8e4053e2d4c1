//! The task that looks: subscribes to presence and events, follows the store, asks hosts for their inventories.

use std::time::Duration;

use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use futures::{FutureExt as _, StreamExt as _};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, sleep_until};
use tokio_util::task::AbortOnDropHandle;
use tracing::debug;
use trellis_lattice::control::{Client, Patience};
use trellis_lattice::error::Result;
use trellis_lattice::id::HostId;
use trellis_lattice::message::inventory::HostInventory;
use trellis_lattice::message::record::{CONFIGS, LINKS};
use trellis_lattice::store::{Change, SharedStore, Watch};
use trellis_lattice::subject;
use trellis_lattice::transport::{SharedTransport, Subscription};

use super::eye::Eye;
use super::memory;
use super::owner::OWNED;
use super::presence::Believes;
use super::sight::Sight;
use super::told::Told;

/// How many hosts are asked at once.
const ASKED_AT_ONCE: usize = 64;

/// How many things that hosts told wait for the reconciler.
const QUEUE: usize = 16 * 1_024;

/// How long a host may take to say what it runs, and a store to begin a watch.
const PATIENCE: Duration = Duration::from_secs(2);

/// The longest time without a look at the clock and the connection.
const LOOK: Duration = Duration::from_millis(500);

/// What to look with.
#[derive(Debug, Clone)]
pub(crate) struct Senses {
    pub(crate) transport: SharedTransport,
    pub(crate) store: SharedStore,
    pub(crate) believes: Believes,
    /// For how long the connection has to be up before conclusions are drawn.
    pub(crate) settle: Duration,
}

/// Looks at the lattice. Dropping it ends its task.
#[derive(Debug)]
pub(crate) struct Observer {
    asks: mpsc::Sender<Ask>,
    news: watch::Receiver<u64>,
    told: mpsc::Receiver<Told>,
    _task: AbortOnDropHandle<()>,
}

/// What is worth waking up for.
#[derive(Debug)]
pub(crate) enum Sign {
    /// A host told something.
    Told(Told),
    /// A look would show something else than before.
    Changed,
}

/// What the task is asked for.
#[derive(Debug)]
enum Ask {
    /// A look.
    Sight(oneshot::Sender<Sight>),
    /// To take hosts for silent that another wadm saw, unless they were heard, and to ask those that are heard: now, and
    /// when that one's commands are over.
    TakeOver(Vec<HostInventory>, Instant),
}

impl Observer {
    /// Begins to look.
    ///
    /// # Errors
    /// When the transport takes no subscription.
    pub(crate) async fn start(senses: Senses) -> Result<Self> {
        let lattice = &senses.believes.lattice;
        let presence = senses.transport.subscribe(subject::presence(lattice), None).await?;
        let events = senses.transport.subscribe(subject::events(lattice), None).await?;
        let (asks, asked) = mpsc::channel(1);
        let (tell, told) = mpsc::channel(QUEUE);
        let (wake, news) = watch::channel(0);
        let patience = Patience { request: PATIENCE, ..Patience::default() };
        let client = Client::new(senses.transport.clone(), senses.believes.lattice.clone()).with_patience(patience);
        let eye = Eye::new(senses.believes.clone(), senses.settle);
        let task = Task { senses, client, eye, wake, tell, answers: FuturesUnordered::new(), over: None };
        let task = tokio::spawn(task.run((presence, events), asked));
        Ok(Self { asks, news, told, _task: AbortOnDropHandle::new(task) })
    }

    /// The next sign of something; for ever none once the task is over. Cancel safe.
    pub(crate) async fn next(&mut self) -> Sign {
        tokio::select! {
            biased;
            Some(told) = self.told.recv() => Sign::Told(told),
            Ok(()) = self.news.changed() => Sign::Changed,
            else => std::future::pending().await,
        }
    }

    /// Everything as it is seen now; `None` when the task is over.
    pub(crate) async fn sight(&self) -> Option<Sight> {
        let (answer, sight) = oneshot::channel();
        self.asks.send(Ask::Sight(answer)).await.ok()?;
        sight.await.ok()
    }

    /// Somebody else acted until now: takes hosts for silent that it saw, unless they were heard, and asks the others what
    /// it left of them, once more when its commands are `over`. Every later look has them.
    pub(crate) async fn take_over(&self, hosts: Vec<HostInventory>, over: Instant) {
        // Without the task there are no looks any more.
        let _ = self.asks.send(Ask::TakeOver(hosts, over)).await;
    }
}

type Answer = (HostId, Instant, Option<HostInventory>);

struct Task {
    senses: Senses,
    client: Client,
    eye: Eye,
    wake: watch::Sender<u64>,
    tell: mpsc::Sender<Told>,
    answers: FuturesUnordered<BoxFuture<'static, Answer>>,
    /// When the commands of whoever acted before are over, if that is still to come.
    over: Option<Instant>,
}

impl Task {
    async fn run(mut self, (mut presence, mut events): (Subscription, Subscription), mut asked: mpsc::Receiver<Ask>) {
        let mut links = Follow::new(LINKS, &self.senses.store);
        let mut configs = Follow::new(CONFIGS, &self.senses.store);
        let mut recalled = Box::pin(recall(self.senses.store.clone()));
        let mut is_recalled = false;
        let mut owned = Follow::new(OWNED, &self.senses.store);
        let mut looked = Instant::now();
        loop {
            let now = Instant::now();
            match self.senses.transport.is_connected() {
                true => self.eye.is_connected(self.senses.transport.broker(), now),
                false => self.eye.is_cut_off(),
            }
            self.ask(now);
            let look = looked + LOOK;
            let next = self.eye.next_due(now).map_or(look, |due| due.max(now).min(look));
            let is_news = tokio::select! {
                biased;
                ask = asked.recv() => match ask {
                    Some(Ask::Sight(ask)) => self.answer(ask),
                    Some(Ask::TakeOver(hosts, over)) => {
                        self.over = Some(over);
                        self.eye.ask_all(Instant::now());
                        self.remember(hosts)
                    }
                    None => return,
                },
                message = presence.next() => match message {
                    Some(message) => self.eye.hear(&message.payload, Instant::now()),
                    None => return,
                },
                event = events.next() => match event {
                    Some(event) => self.pass_on(&event.payload),
                    None => return,
                },
                Some((host, at, answer)) = self.answers.next() => self.eye.answered(&host, at, answer),
                hosts = &mut recalled, if !is_recalled => {
                    is_recalled = true;
                    self.remember(hosts)
                }
                change = links.next() => self.eye.links.take(change),
                change = configs.next() => self.eye.configs.take(change),
                change = owned.next() => self.eye.owned.take(change),
                () = sleep_until(next) => false,
            };
            // Whatever woke us: a silence that becomes news at the moment at which something is heard is news as well.
            let is_due = Instant::now() >= next;
            if (is_due && self.look(&mut looked)) || is_news {
                self.wake.send_modify(|count| *count += 1);
            }
        }
    }

    fn remember(&mut self, hosts: Vec<HostInventory>) -> bool {
        self.eye.remember(hosts, Instant::now());
        true
    }

    fn answer(&self, ask: oneshot::Sender<Sight>) -> bool {
        // Whoever asked may have left.
        drop(ask.send(self.eye.sight(Instant::now())));
        false
    }

    /// An event is no news: what follows from it comes when the host is asked.
    fn pass_on(&mut self, event: &[u8]) -> bool {
        if let Some(told) = Told::parse(event) {
            self.eye.told(&told, Instant::now());
            // What does not fit is seen when the host is asked.
            let _ = self.tell.try_send(told);
        }
        false
    }

    /// Time went by: whether that alone is news, as somebody's silence is.
    fn look(&mut self, looked: &mut Instant) -> bool {
        let now = Instant::now();
        let before = std::mem::replace(looked, now);
        if self.over.take_if(|over| now >= *over).is_some() {
            self.eye.ask_all(now);
        }
        self.eye.sweep(now);
        self.eye.conclude(now);
        self.eye.time_tells(before, now)
    }

    /// Asks the hosts that are due.
    fn ask(&mut self, now: Instant) {
        while self.answers.len() < ASKED_AT_ONCE {
            let Some(host) = self.eye.ask_next(now) else { return };
            let client = self.client.clone();
            self.answers.push(async move { ask(&client, host, now).await }.boxed());
        }
    }
}

async fn ask(client: &Client, host: HostId, at: Instant) -> Answer {
    let answer = client.inventory(&host).await;
    let answer = answer.inspect_err(|error| debug!(host_id = %host, %error, "host did not say what it runs")).ok();
    (host, at, answer)
}

/// The hosts that an earlier wadm saw, as soon as the store tells.
async fn recall(store: SharedStore) -> Vec<HostInventory> {
    loop {
        match tokio::time::timeout(PATIENCE, memory::recall(&store)).await {
            Ok(Ok(hosts)) => return hosts,
            Ok(Err(error)) => debug!(%error, "hosts not recalled"),
            Err(_) => debug!("hosts not recalled in time"),
        }
        tokio::time::sleep(PATIENCE / 4).await;
    }
}

/// A watch that begins again when it ends.
struct Follow {
    prefix: &'static str,
    store: SharedStore,
    state: Following,
}

enum Following {
    /// The store was asked; kept, so that a caller that gives up waiting does not begin anew.
    Opening(BoxFuture<'static, Watch>),
    Open(Watch),
}

impl Follow {
    fn new(prefix: &'static str, store: &SharedStore) -> Self {
        let state = Following::Opening(open(prefix, store.clone()).boxed());
        Self { prefix, store: store.clone(), state }
    }

    /// The next change. Cancel safe.
    async fn next(&mut self) -> Change {
        loop {
            match &mut self.state {
                Following::Opening(opening) => {
                    self.state = Following::Open(opening.await);
                    return Change::Restart;
                }
                Following::Open(watch) => match watch.next().await {
                    Some(change) => return change,
                    None => self.state = Following::Opening(open(self.prefix, self.store.clone()).boxed()),
                },
            }
        }
    }
}

/// Begins a watch, as soon as the store lets us.
async fn open(prefix: &'static str, store: SharedStore) -> Watch {
    loop {
        match tokio::time::timeout(PATIENCE, store.watch(prefix)).await {
            Ok(Ok(watch)) => return watch,
            Ok(Err(error)) => debug!(prefix, %error, "store not watched"),
            Err(_) => debug!(prefix, "store did not answer"),
        }
        tokio::time::sleep(PATIENCE / 4).await;
    }
}
