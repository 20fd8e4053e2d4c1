//! Changes while things run: new code under load, links at both ends, and long starts that hold up nobody.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use futures::StreamExt as _;
use trellis_lattice::control::Until;
use trellis_lattice::error::CallErrorKind;
use trellis_lattice::message::command::{DeleteLink, UpdateComponent};
use trellis_lattice::subject;

use crate::cluster::{Cluster, PATIENCE, link, provider, scale};
use crate::guests;

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

#[tokio::test]
async fn a_link_that_comes_or_goes_counts_at_both_ends() {
    let cluster = Cluster::new();
    let (a, b) = (cluster.host("a").await, cluster.host("b").await);
    let client = cluster.client();
    let file = cluster.actor("echo", &guests::echo(), None);
    client.scale(&scale(b.id(), "echo", &file, 4)).await.expect("starts");
    client.start_provider(&provider(a.id(), "probe", "probe")).await.expect("starts");
    let linked = link("probe", "test:echo/echo", "echo");
    let unlinked = DeleteLink {
        source_id: linked.source_id.clone(),
        name: linked.name.clone(),
        wit_namespace: linked.wit_namespace.clone(),
        wit_package: linked.wit_package.clone(),
    };
    for _ in 0..3 {
        client.put_link(&linked).await.expect("put");
        cluster.call_until(("probe", "test:echo/echo"), Result::is_ok).await.expect("it is there");
        client.delete_link(&unlinked).await.expect("deleted");
        let gone = cluster.call_until(("probe", "test:echo/echo"), Result::is_err).await.expect_err("it is gone");
        assert!(matches!(gone.kind, CallErrorKind::NoTarget | CallErrorKind::Denied), "{gone:?}");
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
    let (mut answers, mut beats) = (0, 0);
    let started = events.next("component_scaled");
    tokio::pin!(started);
    // Whatever is counted here came before the event that ends the start.
    loop {
        tokio::select! {
            biased;
            event = &mut started => {
                assert_eq!(event["component_id"], "large");
                break;
            }
            Some(_) = presence.next() => beats += 1,
            inventory = client.inventory(host.id()) => {
                assert!(inventory.expect("answers").components.is_empty());
                answers += 1;
            }
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert!(answers >= 50 && beats >= 1, "{answers} inventories and {beats} presences during the start");
}
