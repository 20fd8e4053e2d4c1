//! Calls over a real nats-server, and plain requests over the same server, in turns.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _};
use trellis_lattice::store::memory::MemoryStore;
use trellis_lattice::transport::nats::{NatsOptions, NatsTransport};

use crate::world::{Binary, Bus, Figures, Target, World};

/// Calls one after the other in a round.
const ONE_BY_ONE: usize = 1_000;

/// Calls in a round with many in flight, and how many those are.
const MANY: usize = 20_000;
const IN_FLIGHT: usize = 64;

/// Where plain requests go.
const SUBJECT: &str = "bench.plain.echo";

/// Microseconds (median of a round, one in flight) and calls per second (64 in flight), of both.
pub(crate) async fn measure(callee: &Path, url: &str, rounds: u32) -> anyhow::Result<Figures> {
    let callee = Binary::of(callee)?;
    let connect = || NatsTransport::connect(NatsOptions::new(url));
    let (host, caller) = (Arc::new(connect().await?), Arc::new(connect().await?));
    let bus = Bus { host, caller, store: Arc::new(MemoryStore::new()) };
    let world = World::start(bus, &[callee.path()]).await?;
    world.run("callee", callee.path()).await?;
    world.until_present("callee").await?;
    let plain = Plain::start(url).await?;
    let target = Target::parse("callee", "bench:calls/echo.text")?;
    let text: Bytes = rmp_serde::to_vec(&("x".repeat(64),))?.into();
    let call = || async { world.call(&target, text.clone()).await.map(drop) };
    let request = || async { plain.request(text.clone()).await };
    let mut figures = Figures::new();
    for round in 0..=rounds {
        let measured = [
            ("one", one_by_one(call).await?),
            ("one_plain", one_by_one(request).await?),
            ("many", many_at_once(call).await?),
            ("many_plain", many_at_once(request).await?),
        ];
        // The first round warms up.
        for (name, figure) in measured.into_iter().filter(|_| round > 0) {
            figures.entry(name).or_default().push(figure);
        }
    }
    Ok(figures)
}

/// The median, in microseconds.
pub(crate) async fn one_by_one<F, R>(call: F) -> anyhow::Result<f64>
where
    F: Fn() -> R,
    R: Future<Output = anyhow::Result<()>>,
{
    let mut times = Vec::with_capacity(ONE_BY_ONE);
    for _ in 0..ONE_BY_ONE {
        let started = Instant::now();
        call().await?;
        times.push(started.elapsed());
    }
    times.sort_unstable();
    Ok(times[ONE_BY_ONE / 2].as_secs_f64() * 1e6)
}

/// Calls per second.
pub(crate) async fn many_at_once<F, R>(call: F) -> anyhow::Result<f64>
where
    F: Fn() -> R,
    R: Future<Output = anyhow::Result<()>>,
{
    let started = Instant::now();
    let calls = futures::stream::iter((0..MANY).map(|_| Ok(call())));
    calls.try_buffer_unordered(IN_FLIGHT).try_for_each(|()| async { Ok(()) }).await?;
    Ok(MANY as f64 / started.elapsed().as_secs_f64())
}

/// Request and reply with nothing else: two connections, as host and caller have.
pub(crate) struct Plain {
    client: async_nats::Client,
    responder: tokio::task::JoinHandle<()>,
}

impl Plain {
    /// Connects to the nats-server at `url`.
    pub(crate) async fn start(url: &str) -> anyhow::Result<Self> {
        let server = async_nats::connect(url).await?;
        let mut requests = server.subscribe(SUBJECT).await?;
        server.flush().await?;
        let responder = tokio::spawn(async move {
            while let Some(request) = requests.next().await {
                let Some(reply) = request.reply else { continue };
                if server.publish(reply, request.payload).await.is_err() {
                    break;
                }
            }
        });
        let this = Self { client: async_nats::connect(url).await?, responder };
        this.until_answered().await?;
        Ok(this)
    }

    /// A flushed subscription need not be known to the server's other connections yet.
    async fn until_answered(&self) -> anyhow::Result<()> {
        let answered = async {
            while self.request(Bytes::new()).await.is_err() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), answered).await.context("plain requests are not answered")
    }

    /// One request and its reply.
    pub(crate) async fn request(&self, payload: Bytes) -> anyhow::Result<()> {
        self.client.request(SUBJECT, payload).await?;
        Ok(())
    }
}

impl Drop for Plain {
    fn drop(&mut self) {
        self.responder.abort();
    }
}
