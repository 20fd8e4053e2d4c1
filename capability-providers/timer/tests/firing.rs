//! Timers on several hosts that share records, as actors see them, on a clock that stands still while nothing happens.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::future::BoxFuture;
use tempfile::TempDir;
use tokio::time::{Instant, sleep};
use trellis_interfaces::timer::{Fire, Tick};
use trellis_provider_sdk::testing::{as_source, as_target, caller, environment, invocation, link, records};
use trellis_provider_sdk::{
    ActiveLink, Answer, Body, CallError, CallErrorKind, Environment, Health, Provider, Record, RecordError, Records,
    wire,
};
use trellis_provider_timer::factory_with;

/// When the tests begin, at a whole minute.
const START_MS: u64 = 1_800_000_000_000;

/// What the actor says when it is not there at all.
const NOWHERE: &str = "no host runs it";

type Reaction = Arc<dyn Fn(Tick) -> BoxFuture<'static, Result<(), String>> + Send + Sync>;

/// Records that can be cut off from one host.
struct Cable {
    records: Arc<dyn Records>,
    is_cut: AtomicBool,
}

impl Cable {
    fn check(&self) -> Result<(), RecordError> {
        if self.is_cut.load(Ordering::SeqCst) { Err(RecordError::Unavailable("cut".into())) } else { Ok(()) }
    }
}

#[async_trait]
impl Records for Cable {
    async fn read(&self, key: &str) -> Result<Option<Record>, RecordError> {
        self.check()?;
        self.records.read(key).await
    }

    async fn write(&self, key: &str, value: Bytes, expected: Option<u64>) -> Result<u64, RecordError> {
        self.check()?;
        self.records.write(key, value, expected).await
    }
}

/// Hosts that share records, and an actor that all of them call.
struct Lattice {
    started: Instant,
    records: Arc<dyn Records>,
    ticks: Arc<Mutex<Vec<(u64, Tick)>>>,
    reaction: Reaction,
    data: TempDir,
}

struct Host {
    provider: Arc<dyn Provider>,
    cable: Arc<Cable>,
}

impl Lattice {
    /// The actor does what `reaction` does.
    fn new(reaction: impl Fn(Tick) -> BoxFuture<'static, Result<(), String>> + Send + Sync + 'static) -> Self {
        let (started, data) = (Instant::now(), tempfile::tempdir().unwrap());
        Self { started, records: records(), ticks: Arc::default(), reaction: Arc::new(reaction), data }
    }

    /// The actor succeeds at once.
    fn quick() -> Self {
        Self::new(|_| Box::pin(async { Ok(()) }))
    }

    fn host(&self) -> Host {
        let started = self.started;
        let clock = move || START_MS + u64::try_from(started.elapsed().as_millis()).unwrap();
        let cable = Arc::new(Cable { records: Arc::clone(&self.records), is_cut: AtomicBool::new(false) });
        let (ticks, reaction) = (Arc::clone(&self.ticks), Arc::clone(&self.reaction));
        let actor = caller(move |call| {
            let (ticks, reaction) = (Arc::clone(&ticks), Arc::clone(&reaction));
            Box::pin(async move {
                assert_eq!((call.interface.as_str(), &*call.function), ("trellis:timer/handler@0.1.0", "fire"));
                let Fire { event } = wire::decode(&call.args)?;
                assert_eq!(call.context.idempotency_key.as_deref(), Some(event.key.as_str()));
                let at = started.elapsed().as_secs();
                ticks.lock().unwrap().push((at, event.clone()));
                match reaction(event).await {
                    Err(text) if text == NOWHERE => Err(CallError::no_target(text)),
                    result => Ok(Answer { value: wire::encode(&result)?, body: Body::Empty }),
                }
            })
        });
        let records: Arc<dyn Records> = Arc::clone(&cable) as Arc<dyn Records>;
        let environment = Environment { records, ..environment("timer", self.data.path(), actor) };
        Host { provider: factory_with(Arc::new(clock))(environment).unwrap(), cable }
    }

    /// Hosts with a link each.
    async fn hosts(&self, number: usize, pairs: &[(&str, &str)]) -> Vec<Host> {
        let mut hosts = Vec::new();
        for _ in 0..number {
            let host = self.host();
            host.provider.link_up(&timer("default", pairs)).await.unwrap();
            hosts.push(host);
        }
        hosts
    }

    /// Seconds since the start, when each call came, and which second it was for, with attempt and missed.
    fn calls(&self) -> Vec<(u64, u64, u32, u32)> {
        let ticks = self.ticks.lock().unwrap();
        let seconds = |tick: &Tick| (tick.scheduled_ms - START_MS) / 1_000;
        ticks.iter().map(|(at, tick)| (*at, seconds(tick), tick.attempt, tick.missed)).collect()
    }
}

fn timer(name: &str, pairs: &[(&str, &str)]) -> ActiveLink {
    let mut link = link("timer", "actor", &["trellis:timer/handler"]);
    link.name = trellis_provider_sdk::LinkName::parse(name).unwrap();
    as_source(link, pairs)
}

async fn seconds(seconds: u64) {
    sleep(Duration::from_secs(seconds)).await;
}

#[tokio::test(start_paused = true)]
async fn each_time_fires_once_however_many_hosts_there_are() {
    let lattice = Lattice::quick();
    let _hosts = lattice.hosts(3, &[("every", "10s"), ("name", "ten")]).await;
    seconds(95).await;
    let expected: Vec<_> = (1..=9).map(|number| (number * 10, number * 10, 1, 0)).collect();
    assert_eq!(lattice.calls(), expected);
    let ticks = lattice.ticks.lock().unwrap();
    let keys: BTreeMap<_, _> = ticks.iter().map(|(_, tick)| (tick.key.clone(), tick.name.clone())).collect();
    assert_eq!(keys.len(), 9, "a key each: {keys:?}");
    assert!(keys.values().all(|name| name == "ten"));
}

#[tokio::test(start_paused = true)]
async fn cron_fires_at_its_times() {
    let lattice = Lattice::quick();
    let _hosts = lattice.hosts(2, &[("schedule", "*/2 * * * *")]).await;
    seconds(601).await;
    let times: Vec<_> = lattice.calls().into_iter().map(|(at, ..)| at).collect();
    assert_eq!(times, [120, 240, 360, 480, 600]);
}

#[tokio::test(start_paused = true)]
async fn a_failure_is_tried_again_with_growing_pauses() {
    let lattice =
        Lattice::new(|tick| Box::pin(async move { if tick.attempt < 4 { Err("not yet".to_owned()) } else { Ok(()) } }));
    let _hosts = lattice.hosts(2, &[("every", "60s")]).await;
    seconds(110).await;
    assert_eq!(lattice.calls(), [(60, 60, 1, 0), (61, 60, 2, 0), (63, 60, 3, 0), (67, 60, 4, 0)]);
}

#[tokio::test(start_paused = true)]
async fn a_failure_is_given_up_when_the_next_is_due_or_no_attempt_is_left() {
    let check = async |pairs: &[(&str, &str)], expected: &[(u64, u64, u32, u32)]| {
        let lattice = Lattice::new(|_| Box::pin(async { Err("never".to_owned()) }));
        let _hosts = lattice.hosts(2, pairs).await;
        seconds(22).await;
        assert_eq!(lattice.calls(), expected);
    };
    check(&[("every", "10s"), ("attempts", "2")], &[(10, 10, 1, 0), (11, 10, 2, 0), (20, 20, 1, 0), (21, 20, 2, 0)])
        .await;
    check(
        &[("every", "5s")],
        &[
            (5, 5, 1, 0),
            (6, 5, 2, 0),
            (8, 5, 3, 0),
            (10, 10, 1, 0),
            (11, 10, 2, 0),
            (13, 10, 3, 0),
            (15, 15, 1, 0),
            (16, 15, 2, 0),
            (18, 15, 3, 0),
            (20, 20, 1, 0),
            (21, 20, 2, 0),
        ],
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn what_becomes_due_meanwhile_is_left_out_or_queued() {
    let check = async |overlap: &str, expected: &[(u64, u64, u32, u32)]| {
        let lattice = Lattice::new(|_| {
            Box::pin(async {
                seconds(25).await;
                Ok(())
            })
        });
        let _hosts = lattice.hosts(2, &[("every", "10s"), ("overlap", overlap)]).await;
        seconds(75).await;
        assert_eq!(lattice.calls(), expected, "{overlap}");
    };
    check("skip", &[(10, 10, 1, 0), (40, 40, 1, 2), (70, 70, 1, 2)]).await;
    check("queue", &[(10, 10, 1, 0), (35, 30, 1, 1), (60, 60, 1, 2)]).await;
}

#[tokio::test(start_paused = true)]
async fn what_was_missed_is_left_out_or_made_up_for_once_after_a_restart() {
    let check = async |missed: &str, expected: &[(u64, u64, u32, u32)]| {
        let lattice = Lattice::quick();
        let pairs = [("every", "60s"), ("missed", missed)];
        let hosts = lattice.hosts(1, &pairs).await;
        seconds(65).await;
        hosts[0].provider.drain(Duration::from_secs(5)).await;
        drop(hosts);
        seconds(215).await;
        let _hosts = lattice.hosts(2, &pairs).await;
        seconds(25).await;
        assert_eq!(lattice.calls(), expected, "{missed}");
    };
    check("skip", &[(60, 60, 1, 0), (300, 300, 1, 3)]).await;
    check("once", &[(60, 60, 1, 0), (280, 240, 1, 2), (300, 300, 1, 0)]).await;
}

#[tokio::test(start_paused = true)]
async fn a_long_firing_is_not_taken_from_its_host() {
    let lattice = Lattice::new(|_| {
        Box::pin(async {
            seconds(100).await;
            Ok(())
        })
    });
    let _hosts = lattice.hosts(3, &[("every", "5m"), ("timeout", "2m")]).await;
    seconds(590).await;
    assert_eq!(lattice.calls(), [(300, 300, 1, 0)]);
}

#[tokio::test(start_paused = true)]
async fn an_actor_that_does_not_answer_is_called_again() {
    let lattice = Lattice::new(|tick| {
        Box::pin(async move { if tick.attempt == 1 { std::future::pending().await } else { Ok(()) } })
    });
    let _hosts = lattice.hosts(2, &[("every", "60s"), ("timeout", "20s")]).await;
    seconds(110).await;
    assert_eq!(lattice.calls(), [(60, 60, 1, 0), (81, 60, 2, 0)]);
}

#[tokio::test(start_paused = true)]
async fn a_host_that_is_lost_in_the_middle_is_replaced() {
    let lattice = Lattice::new(|tick| {
        Box::pin(async move { if tick.attempt == 1 { std::future::pending().await } else { Ok(()) } })
    });
    let pairs = [("every", "60s"), ("timeout", "1h")];
    let first = lattice.hosts(1, &pairs).await;
    seconds(62).await;
    let _second = lattice.hosts(1, &pairs).await;
    drop(first);
    seconds(50).await;
    let calls = lattice.calls();
    assert_eq!((calls.len(), calls[0]), (2, (60, 60, 1, 0)));
    let (at, due, attempt, _) = calls[1];
    assert!((76..=82).contains(&at) && (due, attempt) == (60, 2), "{calls:?}");
}

#[tokio::test(start_paused = true)]
async fn a_host_that_is_cut_off_breaks_off_before_another_takes_over() {
    let running = Arc::new(Mutex::new((0_u32, 0_u32)));
    let counted = Arc::clone(&running);
    struct Inside(Arc<Mutex<(u32, u32)>>);
    impl Drop for Inside {
        fn drop(&mut self) {
            self.0.lock().unwrap().0 -= 1;
        }
    }
    let lattice = Lattice::new(move |_| {
        let counted = Arc::clone(&counted);
        Box::pin(async move {
            {
                let mut counts = counted.lock().unwrap();
                counts.0 += 1;
                counts.1 = counts.1.max(counts.0);
            }
            let _inside = Inside(counted);
            seconds(40).await;
            Ok(())
        })
    });
    let hosts = lattice.hosts(2, &[("every", "2m"), ("timeout", "1m")]).await;
    seconds(121).await;
    let calls = lattice.calls();
    assert_eq!(calls.len(), 1);
    // Which of them has it is not known: cut one after the other until it is taken over.
    hosts[0].cable.is_cut.store(true, Ordering::SeqCst);
    seconds(30).await;
    let was_first = lattice.calls().len() == 2;
    assert_eq!(
        hosts[0].provider.health().await,
        Health::Unhealthy("the lattice's store does not answer, so that nothing fires".into())
    );
    assert_eq!(hosts[1].provider.health().await, Health::Healthy);
    hosts[0].cable.is_cut.store(false, Ordering::SeqCst);
    if !was_first {
        hosts[1].cable.is_cut.store(true, Ordering::SeqCst);
        seconds(30).await;
    }
    seconds(45).await;
    assert!(lattice.calls().len() > usize::from(was_first), "{:?}", lattice.calls());
    assert_eq!(*running.lock().unwrap(), (0, 1), "never two at once");
}

#[tokio::test(start_paused = true)]
async fn nothing_fires_while_the_records_are_away_and_it_goes_on_afterwards() {
    let lattice = Lattice::quick();
    let hosts = lattice.hosts(1, &[("every", "10s")]).await;
    seconds(12).await;
    hosts[0].cable.is_cut.store(true, Ordering::SeqCst);
    seconds(30).await;
    assert_eq!(lattice.calls().len(), 1);
    hosts[0].cable.is_cut.store(false, Ordering::SeqCst);
    seconds(30).await;
    let calls = lattice.calls();
    assert!(calls.len() >= 3 && calls.windows(2).all(|pair| pair[0].1 < pair[1].1), "{calls:?}");
    assert_eq!(hosts[0].provider.health().await, Health::Healthy);
}

#[tokio::test(start_paused = true)]
async fn links_are_timers_of_their_own() {
    let lattice = Lattice::quick();
    let host = lattice.host();
    let (fast, slow) = (timer("fast", &[("every", "10s")]), timer("slow", &[("every", "30s")]));
    host.provider.link_up(&fast).await.unwrap();
    host.provider.link_up(&slow).await.unwrap();
    host.provider.link_up(&fast).await.unwrap();
    seconds(35).await;
    let of = |lattice: &Lattice, name: &str| {
        lattice.ticks.lock().unwrap().iter().filter(|(_, tick)| tick.name == name).count()
    };
    assert_eq!((of(&lattice, "fast"), of(&lattice, "slow")), (3, 1));
    host.provider.link_down(&fast).await;
    seconds(60).await;
    assert_eq!((of(&lattice, "fast"), of(&lattice, "slow")), (3, 3));
    host.provider.link_up(&timer("slow", &[("every", "1m")])).await.unwrap();
    seconds(60).await;
    assert_eq!(of(&lattice, "slow"), 4, "the new schedule holds from when it was put");
    host.provider.link_up(&timer("slow", &[("every", "soon")])).await.unwrap_err();
    seconds(200).await;
    assert_eq!(of(&lattice, "slow"), 4, "a link that failed fires no more");
    let wrong_end = as_target(link("actor", "timer", &["trellis:timer/handler"]), &[("every", "10s")]);
    assert!(host.provider.link_up(&wrong_end).await.unwrap_err().to_string().contains("source"));
}

#[tokio::test(start_paused = true)]
async fn drain_lets_a_firing_finish_and_leaves_what_it_cannot() {
    let lattice = Lattice::new(|_| {
        Box::pin(async {
            seconds(20).await;
            Ok(())
        })
    });
    let hosts = lattice.hosts(1, &[("every", "60s")]).await;
    seconds(61).await;
    let before = Instant::now();
    hosts[0].provider.drain(Duration::from_secs(30)).await;
    let took = before.elapsed().as_secs();
    assert!((18..=20).contains(&took), "{took} s");
    let _others = lattice.hosts(1, &[("every", "60s")]).await;
    seconds(30).await;
    assert_eq!(lattice.calls(), [(60, 60, 1, 0)], "it is known to be over");
}

#[tokio::test(start_paused = true)]
async fn an_actor_that_runs_nowhere_is_called_again() {
    let lattice =
        Lattice::new(|tick| Box::pin(async move { if tick.attempt < 3 { Err(NOWHERE.to_owned()) } else { Ok(()) } }));
    let _hosts = lattice.hosts(2, &[("every", "60s")]).await;
    seconds(110).await;
    assert_eq!(lattice.calls(), [(60, 60, 1, 0), (61, 60, 2, 0), (63, 60, 3, 0)]);
}

#[tokio::test(start_paused = true)]
async fn a_timer_serves_no_calls() {
    let provider = Lattice::quick().host().provider;
    let link = link("actor", "timer", &["trellis:timer/handler"]);
    let error = provider.call(invocation(&link, "trellis:timer/handler@0.1.0", "fire", &())).await.unwrap_err();
    assert_eq!(error.kind, CallErrorKind::Contract);
}
