//! Changes while things run: new code under load, links at both ends, and long starts that hold up nobody.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::StreamExt as _;
use trellis_lattice::control::Until;
use trellis_lattice::error::CallErrorKind;
use trellis_lattice::message::command::{DeleteLink, UpdateComponent};
use trellis_lattice::message::presence::{Running, State};
use trellis_lattice::subject::{self, Subject};

use crate::cluster::{Cluster, PATIENCE, eventually, link, provider, scale};
use crate::{guests, rogue};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_update_fails_no_call() {
    let cluster = Arc::new(Cluster::new());
    let host = cluster.host("a").await;
    let client = cluster.client();
    let files =
        [cluster.actor("one", &guests::answering("one"), None), cluster.actor("two", &guests::answering("two"), None)];
    client.scale(&scale(host.id(), "echo", &files[0], 2)).await.expect("starts");
    client.start_provider(&provider(host.id(), "probe", "probe")).await.expect("starts");
    client.put_link(&link("probe", "test:echo/echo", "echo")).await.expect("put");
    cluster.call_until(("probe", "test:echo/echo"), Result::is_ok).await.expect("answers");

    let (is_over, calls) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    // More callers than instances, so that some always wait in the queue.
    let callers: Vec<_> = (0..6)
        .map(|_| {
            let (cluster, is_over, calls) = (Arc::clone(&cluster), Arc::clone(&is_over), Arc::clone(&calls));
            tokio::spawn(async move {
                let mut answers = Vec::new();
                while !is_over.load(Ordering::Relaxed) {
                    answers.push(cluster.call("probe", "test:echo/echo", "x").await);
                    calls.fetch_add(1, Ordering::Relaxed);
                    tokio::task::yield_now().await;
                }
                answers
            })
        })
        .collect();
    for round in 1..=20 {
        let before = calls.load(Ordering::Relaxed);
        let update = UpdateComponent {
            component_id: "echo".parse().expect("valid"),
            new_component_ref: files[round % 2].display().to_string(),
            host_id: host.id().clone(),
            annotations: None,
        };
        client.update(&update).await.expect("updated");
        let goes_on = async {
            while calls.load(Ordering::Relaxed) < before + 20 {
                tokio::task::yield_now().await
            }
        };
        tokio::time::timeout(PATIENCE, goes_on).await.expect("calls go on");
    }
    is_over.store(true, Ordering::Relaxed);
    let mut seen = std::collections::BTreeMap::<_, usize>::new();
    for caller in callers {
        for answer in caller.await.expect("ran") {
            *seen.entry(format!("{answer:?}")).or_default() += 1;
        }
    }
    assert_eq!(seen.keys().map(String::as_str).collect::<Vec<_>>(), ["Ok(\"one\")", "Ok(\"two\")"], "{seen:?}");
}

#[tokio::test]
async fn fewer_and_more_instances_are_a_matter_of_one_command() {
    let cluster = Cluster::new();
    let host = cluster.host("a").await;
    let client = cluster.client();
    let file = cluster.actor("echo", &guests::echo(), None);
    for count in [4, 1, 100] {
        client.scale(&scale(host.id(), "echo", &file, count)).await.expect("scaled");
        let inventory = client.inventory(host.id()).await.expect("answers");
        assert_eq!(inventory.components[0].max_instances, count);
    }
}

/// How soon a link that is put or deleted has to count, at both ends.
const LINK_EFFECT: Duration = Duration::from_secs(1);

/// How soon a host has to answer while it starts something large.
const ANSWER: Duration = Duration::from_millis(50);

/// A host says that it is there every second; that it said nothing for so long is a lock or a task in the way. On a
/// machine that is busy with other things it is half of the whole start.
const LONGEST_SILENCE: Duration = Duration::from_millis(2_500);

/// The middle one, so that a machine that was busy once does not count. The last one is shown.
fn median(what: &str, mut times: Vec<Duration>) -> Duration {
    times.sort();
    let (middle, worst) = (times[times.len() / 2], times[times.len() - 1]);
    println!("{what}: median {middle:?}, worst {worst:?} of {}", times.len());
    middle
}

#[tokio::test]
async fn a_link_that_comes_or_goes_counts_at_both_ends_within_a_second() {
    let cluster = Cluster::new();
    let (a, b) = (cluster.host("a").await, cluster.host("b").await);
    let client = cluster.client();
    let file = cluster.actor("echo", &guests::echo(), None);
    client.scale(&scale(b.id(), "echo", &file, 4)).await.expect("starts");
    client.start_provider(&provider(a.id(), "probe", "probe")).await.expect("starts");
    // Sends over the link whether it is there or not: only the gate of b is in its way.
    let rogue = rogue::host(&cluster).await;
    rogue.announce(State::Ready, vec![Running { id: "probe".parse().expect("valid"), exports: Vec::new() }]);
    rogue::seen(&rogue).await;
    let linked = link("probe", "test:echo/echo", "echo");
    let unlinked = DeleteLink {
        source_id: linked.source_id.clone(),
        name: linked.name.clone(),
        wit_namespace: linked.wit_namespace.clone(),
        wit_package: linked.wit_package.clone(),
    };
    let probe = ("probe", "test:echo/echo");
    let until = async |passes: bool| {
        let begun = Instant::now();
        let caller = async {
            let last = cluster.call_until(probe, |answer| answer.is_ok() == passes).await;
            (begun.elapsed(), last.err().map(|error| error.kind))
        };
        let gate = async {
            eventually(|| async {
                // A call that comes before its link is held for a moment: when it began is what counts.
                let elapsed = begun.elapsed();
                let outcome = rogue.call(rogue::invocation("probe", "echo")).await;
                if outcome.is_ok() != passes {
                    return Err(format!("{outcome:?}"));
                }
                Ok((if passes { begun.elapsed() } else { elapsed }, outcome.err().map(|error| error.kind)))
            })
            .await
        };
        tokio::join!(caller, gate)
    };
    let (mut caller, mut gate) = ([vec![], vec![]], [vec![], vec![]]);
    for _ in 0..5 {
        client.put_link(&linked).await.expect("put");
        let ((at_caller, _), (at_gate, _)) = until(true).await;
        caller[0].push(at_caller);
        gate[0].push(at_gate);
        client.delete_link(&unlinked).await.expect("deleted");
        let ((at_caller, no_target), (at_gate, denied)) = until(false).await;
        assert_eq!((no_target, denied), (Some(CallErrorKind::NoTarget), Some(CallErrorKind::Denied)));
        caller[1].push(at_caller);
        gate[1].push(at_gate);
    }
    for (end, [put, deleted]) in [("caller", caller), ("receiver", gate)] {
        assert!(median(&format!("link put, at the {end}"), put) < LINK_EFFECT);
        assert!(median(&format!("link deleted, at the {end}"), deleted) < LINK_EFFECT);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_start_that_takes_long_holds_up_nobody() {
    const MIB: usize = 1 << 20;
    let cluster = Cluster::new();
    let host = cluster.host("a").await;
    let client = cluster.client();
    let file = cluster.actor("large", &guests::large(2 * MIB, 14 * MIB), None);
    assert!(std::fs::metadata(&file).expect("written").len() > 15 << 20);
    let presence = subject::presence(&Cluster::lattice());
    let mut presence = cluster.transport("ear").subscribe(presence, None).await.expect("subscribed");
    let mut events = cluster.events().await;

    client.clone().waiting(Until::Taken).scale(&scale(host.id(), "large", &file, 1)).await.expect("taken");
    // Both are asked until the event that ends the start, and no longer.
    let raw = cluster.transport("raw");
    let ping = Subject::from_wire("wasmbus.ctl.v1.test.host.ping").expect("valid");
    let answers = async {
        let mut times = [vec![], vec![]];
        loop {
            let asked = Instant::now();
            let inventory = client.inventory(host.id()).await.expect("answers");
            if !inventory.components.is_empty() {
                return times;
            }
            times[0].push(asked.elapsed());
            let asked = Instant::now();
            raw.request(ping.clone(), Bytes::new(), PATIENCE).await.expect("answers");
            times[1].push(asked.elapsed());
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    let beats = async {
        let (mut last, mut silences) = (Instant::now(), vec![]);
        let started = events.next("component_scaled");
        tokio::pin!(started);
        loop {
            let is_over = tokio::select! {
                _ = &mut started => true,
                beat = presence.next() => beat.is_none(),
            };
            silences.push(last.elapsed());
            last = Instant::now();
            if is_over {
                return silences;
            }
        }
    };
    let ([inventories, pings], silences) = tokio::join!(answers, beats);
    assert!(
        inventories.len() >= 50 && silences.len() >= 2,
        "{} answers in {} silences",
        inventories.len(),
        silences.len()
    );
    assert!(median("inventory during the start", inventories) <= ANSWER);
    assert!(median("ping during the start", pings) <= ANSWER);
    let (longest, whole) = (silences.iter().max().expect("some"), silences.iter().sum::<Duration>());
    println!("longest silence during the start: {longest:?} of {whole:?}");
    assert!(*longest < LONGEST_SILENCE.max(whole / 2), "{silences:?}");
}
