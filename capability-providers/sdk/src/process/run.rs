//! The process's end: takes the socket from standard input, makes the provider, and does what the host orders.

use std::io::{Error, ErrorKind};
use std::os::fd::AsFd as _;
use std::process::ExitCode;
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::net::UnixStream;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::timeout;
use trellis_lattice::message::invocation::new_id;

use super::channel::{Channel, Serve};
use super::control::{Bootstrap, Order, VERSION, Word};
use super::links;
use super::records::FromHost;
use crate::{
    Answer, Args, Call, CallError, Caller, Encoding, Environment, Factory, Head, Health, Interface, Invocation,
    LinkError, LinkName, Provider,
};

/// The longest that the host may take to say who the provider is.
const START_TIMEOUT: Duration = Duration::from_secs(30);
/// The longest that a link may take; the host gives up then as well.
const LINK_TIMEOUT: Duration = Duration::from_secs(10);
/// Orders about links that wait.
const ORDERS: usize = 64;

/// Why a process could not be a provider.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct RunError(String);

impl RunError {
    fn of(why: impl ToString) -> Self {
        Self(why.to_string())
    }
}

/// Runs a provider as this process, until the host closes the socket on standard input. For `main`: starts threads and
/// sends what is logged by `tracing` to the host.
pub fn run<P: Provider>(make: impl Fn(Environment) -> Result<P, LinkError> + Send + Sync + 'static) -> ExitCode {
    let factory: Factory = Arc::new(move |environment| Ok(Arc::new(make(environment)?)));
    let run = || -> Result<(), RunError> {
        let threads = tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(RunError::of)?;
        let outcome = threads.block_on(serve(factory, Some(log)));
        threads.shutdown_background();
        outcome
    };
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // The host reads it, or a person who started this by hand.
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// The same for a program that has its own threads and log.
///
/// # Errors
/// When standard input is not the socket of a host, or the provider cannot be made.
pub async fn run_builtin(factory: Factory) -> Result<(), RunError> {
    serve(factory, None).await
}

fn log(level: &str) {
    let level = level.parse().unwrap_or(tracing::Level::INFO);
    let builder = tracing_subscriber::fmt().json().with_max_level(level).with_writer(std::io::stderr);
    // An error means that the author has started a log of their own.
    let _ = builder.try_init();
}

fn socket() -> std::io::Result<UnixStream> {
    let stream = std::os::unix::net::UnixStream::from(std::io::stdin().as_fd().try_clone_to_owned()?);
    stream.peer_addr().map_err(|_| {
        Error::new(
            ErrorKind::InvalidInput,
            "this program is a provider: a host starts it (`trellis start provider <id> <file>`), with a socket as its \
             standard input",
        )
    })?;
    stream.set_nonblocking(true)?;
    UnixStream::from_std(stream)
}

async fn serve(factory: Factory, log: Option<fn(&str)>) -> Result<(), RunError> {
    let answering = Arc::new(Answering::default());
    let (channel, mut orders) =
        Channel::open(socket().map_err(RunError::of)?, Arc::clone(&answering) as Arc<dyn Serve>);
    let channel = Arc::new(channel);
    let bootstrap = bootstrap(&mut orders).await?;
    if let Some(log) = log {
        log(&bootstrap.log);
    }
    let provider = match make(&factory, bootstrap, Arc::downgrade(&channel)).await {
        Ok(provider) => provider,
        Err(error) => {
            let failed = Word::Failed { error: error.to_string() };
            // The host reads the word, then closes; leaving before could lose it.
            if channel.say(&failed).await.is_ok() {
                let _ = timeout(START_TIMEOUT, orders.recv()).await;
            }
            return Err(RunError::of(error));
        }
    };
    // Nobody else sets it.
    let _ = answering.0.set(Arc::clone(&provider));
    channel.say(&Word::Ready(provider.description().into())).await.map_err(RunError::of)?;
    obey(provider, channel, orders).await;
    Ok(())
}

async fn bootstrap(orders: &mut mpsc::Receiver<Bytes>) -> Result<Bootstrap, RunError> {
    let first = timeout(START_TIMEOUT, orders.recv()).await.map_err(|_| RunError::of("the host said nothing"))?;
    let first = first.ok_or_else(|| RunError::of("the host closed the socket before it said anything"))?;
    match serde_json::from_slice(&first) {
        Ok(Order::Start(bootstrap)) if bootstrap.version == VERSION => Ok(bootstrap),
        Ok(Order::Start(Bootstrap { version, .. })) => Err(RunError(format!(
            "the host speaks version {version} of the protocol, this provider {VERSION}: build it with the SDK of the \
             host's version"
        ))),
        _ => Err(RunError::of("the host did not begin with who the provider is")),
    }
}

async fn make(factory: &Factory, bootstrap: Bootstrap, channel: Weak<Channel>) -> Result<Arc<dyn Provider>, LinkError> {
    let Bootstrap { provider_id: id, config, secrets, data_dir, .. } = bootstrap;
    let caller: Arc<dyn Caller> = Arc::new(ToHost { id: id.clone(), channel });
    let records = Arc::new(FromHost { id: id.clone(), caller: Arc::clone(&caller) });
    let environment = Environment { id, config, secrets, data_dir, caller, records };
    let factory = Arc::clone(factory);
    // A factory may block (open a file); the socket is to be read meanwhile.
    tokio::task::spawn_blocking({
        let runtime = tokio::runtime::Handle::current();
        move || {
            let _entered = runtime.enter();
            factory(environment)
        }
    })
    .await
    .unwrap_or_else(|_| Err(LinkError::Unavailable("the provider panicked when it was made".to_owned())))
}

/// Carries out orders until the channel closes: those about links one after the other, others at once.
async fn obey(provider: Arc<dyn Provider>, channel: Arc<Channel>, mut orders: mpsc::Receiver<Bytes>) {
    let (links, mut link_orders) = mpsc::channel::<Order>(ORDERS);
    let mut tasks = JoinSet::new();
    tasks.spawn({
        let (provider, channel) = (Arc::clone(&provider), Arc::clone(&channel));
        async move {
            while let Some(order) = link_orders.recv().await {
                carry_out(&*provider, &channel, order).await;
            }
        }
    });
    while let Some(order) = orders.recv().await {
        let Ok(order) = serde_json::from_slice::<Order>(&order) else {
            tracing::error!("order was not understood");
            return;
        };
        if matches!(order, Order::LinkUp { .. } | Order::LinkDown { .. }) {
            if links.send(order).await.is_err() {
                return;
            }
        } else {
            let (provider, channel) = (Arc::clone(&provider), Arc::clone(&channel));
            tasks.spawn(async move { carry_out(&*provider, &channel, order).await });
        }
        while tasks.try_join_next().is_some() {}
    }
}

async fn carry_out(provider: &dyn Provider, channel: &Channel, order: Order) {
    let late = || Err(LinkError::Unavailable(format!("the link was not taken within {} s", LINK_TIMEOUT.as_secs())));
    let (mut backing, mut held) = (None, false);
    let (id, error) = match order {
        // It came once, and once is enough.
        Order::Start(_) => return,
        Order::LinkUp { id, link } => {
            let outcome = timeout(LINK_TIMEOUT, provider.link_up(&link)).await.unwrap_or_else(|_| late());
            backing = outcome.is_ok().then(|| provider.backing(&link));
            held = matches!(outcome, Err(LinkError::Held(_)));
            (id, outcome.err().map(|error| error.to_string()))
        }
        Order::LinkDown { id, link } => {
            let outcome = timeout(LINK_TIMEOUT, provider.link_down(&link)).await;
            (id, outcome.err().map(|_| "the link was not taken down in time".to_owned()))
        }
        Order::Check { id, link } => (id, provider.check(&link).await.err().map(|error| error.to_string())),
        Order::Health { id } => match provider.health().await {
            Health::Healthy => (id, None),
            Health::Unhealthy(reason) => (id, Some(reason)),
        },
        Order::Drain { id, limit_ms } => {
            let limit = Duration::from_millis(limit_ms);
            let drained = async {
                provider.drain(limit).await;
                channel.idle().await;
            };
            let outcome = timeout(limit, drained).await;
            (id, outcome.err().map(|_| "not all was finished in time".to_owned()))
        }
    };
    // An error means that the host is gone, and with it who asked.
    let _ = channel.say(&Word::Done { id, error, held, backing }).await;
}

/// What the host's calls reach: the provider, from when it is made.
#[derive(Default)]
struct Answering(OnceLock<Arc<dyn Provider>>);

#[async_trait]
impl Serve for Answering {
    async fn serve(&self, invocation: Invocation<Args>) -> Result<Answer<Args>, CallError> {
        let provider = self.0.get().ok_or_else(|| CallError::no_target("the provider is starting"))?;
        provider.call(invocation).await
    }
}

/// What the provider calls with. The host decides by its links where a call goes, and in whose name: its own.
struct ToHost {
    id: crate::EntityId,
    channel: Weak<Channel>,
}

#[async_trait]
impl Caller for ToHost {
    async fn call(&self, call: Call<Args>) -> Result<Answer<Args>, CallError> {
        let channel = self.channel.upgrade().ok_or_else(|| CallError::no_target("the host is gone"))?;
        let Call { source: _, link, interface, function, signature, context, args, body } = call;
        let head = Head {
            id: new_id(),
            source: self.id.clone(),
            target: self.id.clone(),
            link,
            interface,
            function,
            signature,
            encoding: Encoding::Pack,
            attempt: 1,
            grant_epoch: 0,
            context,
        };
        channel.call(Invocation { head, args, body }).await
    }

    async fn is_running(&self, link: &LinkName, interface: &Interface) -> bool {
        links::is_running(self, &self.id, link, interface).await
    }
}
