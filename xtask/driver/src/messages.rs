//! Messages through JetStream to whoever handles them: how fast they come out at the other end, and whether all do.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy, pull};
use async_nats::jetstream::{self, stream::Stream};
use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _};

use crate::world::Figures;

/// The stream of the messaging provider, which keeps what is sent, and what handlers say of it on `seen.<its subject>`.
const STREAM: &str = "MESSAGES";

/// What is sent to the handler in native code.
const PLAIN: &str = "plain";

const BODY_BYTES: usize = 1_024;

/// Messages of which the stream has not said yet that it has them, and that the handler in native code handles at once.
const IN_FLIGHT: usize = 256;

/// Messages go to so many subjects.
const SUBJECTS: usize = 100;

/// What is not seen so long after anything was is lost.
const PATIENCE: Duration = Duration::from_secs(30);

/// Sends `count` messages to `orders.*`, which an actor handles, then to `plain.*`, which [`handle`] does: messages per
/// second of both, and how many never came out, or came twice.
pub(crate) async fn measure(url: &str, count: usize) -> anyhow::Result<Figures> {
    let context = jetstream::new(async_nats::connect(url).await?);
    let stream = until_there(&context).await?;
    let mut figures = Figures::new();
    for (name, subject) in [("actor", "orders"), ("plain", PLAIN)] {
        let mut seen = Seen::of(&stream, subject, count).await?;
        let begun = Instant::now();
        let sending = tokio::spawn(send(context.clone(), subject, count));
        seen.read().await?;
        figures.entry(name).or_default().push(seen.distinct as f64 / (seen.last - begun).as_secs_f64());
        figures.entry("lost").or_default().push((count - seen.distinct) as f64);
        figures.entry("twice").or_default().push(seen.twice as f64);
        sending.await??;
    }
    Ok(figures)
}

/// Handles what is sent to `plain.*` as the actor handles the rest, until it is ended.
pub(crate) async fn handle(url: &str) -> anyhow::Result<Figures> {
    let context = jetstream::new(async_nats::connect(url).await?);
    let config = pull::Config {
        durable_name: Some(PLAIN.to_owned()),
        filter_subject: format!("{PLAIN}.*"),
        max_ack_pending: IN_FLIGHT as i64,
        ..Default::default()
    };
    let consumer = until_there(&context).await?.create_consumer(config).await?;
    let messages = consumer.messages().await?.map_err(anyhow::Error::from);
    let handled = messages.try_for_each_concurrent(IN_FLIGHT, |message| {
        let context = context.clone();
        async move {
            context.publish(format!("seen.{}", message.subject), message.payload.clone()).await?.await?;
            message.ack().await.map_err(|error| anyhow::anyhow!("a message was not acknowledged: {error}"))
        }
    });
    handled.await?;
    Ok(Figures::new())
}

/// The stream, once the provider has made it.
async fn until_there(context: &jetstream::Context) -> anyhow::Result<Stream> {
    let there = async {
        loop {
            match context.get_stream(STREAM).await {
                Ok(stream) => return stream,
                Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
            }
        }
    };
    tokio::time::timeout(PATIENCE, there).await.context("the messaging provider made no stream")
}

async fn send(context: jetstream::Context, subject: &str, count: usize) -> anyhow::Result<()> {
    let sent = (0..count).map(|n| {
        let context = context.clone();
        async move {
            let body = Bytes::from(format!("{n:BODY_BYTES$}"));
            context.publish(format!("{subject}.{}", n % SUBJECTS), body).await?.await.map(drop)
        }
    });
    futures::stream::iter(sent).buffer_unordered(IN_FLIGHT).try_for_each(|()| async { Ok(()) }).await?;
    Ok(())
}

/// What handlers said to have seen.
struct Seen {
    messages: pull::Stream,
    is_seen: Vec<bool>,
    distinct: usize,
    twice: usize,
    last: Instant,
}

impl Seen {
    /// Of the next `count` messages to `subject`.
    async fn of(stream: &Stream, subject: &str, count: usize) -> anyhow::Result<Self> {
        let config = pull::Config {
            filter_subject: format!("seen.{subject}.>"),
            deliver_policy: DeliverPolicy::New,
            ack_policy: AckPolicy::None,
            ..Default::default()
        };
        let messages = stream.create_consumer(config).await?.messages().await?;
        Ok(Self { messages, is_seen: vec![false; count], distinct: 0, twice: 0, last: Instant::now() })
    }

    /// Until all are seen, or none is for a while.
    async fn read(&mut self) -> anyhow::Result<()> {
        while self.distinct < self.is_seen.len() {
            let Ok(next) = tokio::time::timeout(PATIENCE, self.messages.next()).await else { return Ok(()) };
            let message = next.context("the stream ended")??;
            let number: usize = std::str::from_utf8(&message.payload)?.trim().parse()?;
            let is_seen = self.is_seen.get_mut(number).with_context(|| format!("nobody sent {number}"))?;
            if std::mem::replace(is_seen, true) {
                self.twice += 1;
            } else {
                self.distinct += 1;
                self.last = Instant::now();
            }
        }
        Ok(())
    }
}
