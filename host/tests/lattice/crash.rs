//! Provider processes that crash, hang, flood or fork, and what their callers see of it.

use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use trellis_host::config::Restarts;
use trellis_lattice::error::CallErrorKind;
use trellis_lattice::message::inventory::ProviderEntry;
use trellis_provider_sdk::Context;

use crate::cluster::{call, eventually};
use crate::process::{ECHO, Stage, gone, start};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_is_killed_is_started_again_and_has_its_links() {
    let stage = Stage::set(Some("hi, ")).await;
    let before = stage.pid().await;
    kill_process(before, Signal::KILL).expect("killed");
    let told = stage.until("hello", Result::is_ok).await.expect("answers");
    assert_eq!(told, "hi, hello");
    assert_ne!(stage.pid().await, before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_during_a_crash_fails_at_once_and_says_why() {
    let stage = Stage::set(None).await;
    let error = stage.tell("crash").await.expect_err("crashed");
    assert_eq!(error.kind, CallErrorKind::UnknownOutcome, "{error:?}");
    let told = stage.until("hello", |told| told.as_ref().is_err_and(|e| e.message.contains("signal: 6"))).await;
    assert_eq!(told.expect_err("waits").kind, CallErrorKind::NoTarget);
    stage.until("hello", Result::is_ok).await.expect("is back");
    let error = stage.tell("panic").await.expect_err("panicked");
    assert_eq!(error.kind, CallErrorKind::Provider, "a panic fails one call: {error:?}");
    assert_eq!(stage.tell("hello").await.expect("answers"), "hello");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_crashes_again_and_again_is_given_up_and_the_inventory_says_so() {
    let wait = Duration::from_millis(5);
    let restarts = Restarts { first_wait: wait, last_wait: wait, max_failures: 3, ..Restarts::default() };
    let stage = Stage::with(restarts, None).await;
    let (client, host) = (&stage.client, stage.host.id());
    let told = stage.until("crash", |told| told.as_ref().is_err_and(|e| e.message.contains("given up"))).await;
    let error = told.expect_err("nobody is there");
    assert!(error.kind == CallErrorKind::NoTarget && error.message.contains("3 times in a row"), "{error:?}");
    let is_given_up = |reason: &Option<String>| reason.as_ref().is_some_and(|reason| reason.contains("given up"));
    let links = |entry: &ProviderEntry| entry.links.clone().unwrap_or_default();
    let all_say_so = |entry: &ProviderEntry| links(entry).iter().all(|link| is_given_up(&link.reason));
    stage.until_shown(|entry| is_given_up(&entry.unhealthy) && !links(entry).is_empty() && all_say_so(entry)).await;
    client.stop_provider(host, &"proc".parse().expect("valid")).await.expect("stops");
    client.start_provider(&start(host, &[])).await.expect("starts anew");
    stage.until("hello", Result::is_ok).await.expect("is back");
    stage.until_shown(|entry| entry.unhealthy.is_none()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_link_that_is_not_taken_again_shows_as_failed() {
    let stage = Stage::set(Some("once")).await;
    kill_process(stage.pid().await, Signal::KILL).expect("killed");
    eventually(|| async {
        let inventory = stage.client.inventory(stage.host.id()).await.map_err(|error| error.to_string())?;
        let links = format!("{:?}", inventory.providers);
        if links.contains("the port is in use") { Ok(()) } else { Err(links) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_hangs_is_killed_and_started_again() {
    let stage = Stage::set(None).await;
    let before = stage.pid().await;
    let mut call = call("probe", ECHO, "stop");
    call.context = Context::root(Duration::from_millis(300));
    let error = stage.cluster.probe("probe").call(call).await.expect_err("hangs");
    assert_eq!(error.kind, CallErrorKind::Deadline, "{error:?}");
    gone(before).await;
    stage.until("hello", Result::is_ok).await.expect("is back");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_that_are_never_answered_and_floods_of_output_disturb_nobody() {
    let stage = Stage::set(None).await;
    let flood = stage.tell("flood");
    let others = async {
        for _ in 0..20 {
            let mut call = call("probe", ECHO, "never");
            call.context = Context::root(Duration::from_millis(50));
            let error = stage.cluster.probe("probe").call(call).await.expect_err("never");
            assert_eq!(error.kind, CallErrorKind::Deadline, "{error:?}");
            assert_eq!(stage.tell("hello").await.expect("answers"), "hello");
        }
    };
    let (flooded, ()) = tokio::join!(flood, others);
    assert_eq!(flooded.expect("ends"), "flooded");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_process_has_started_ends_with_it() {
    let stage = Stage::set(None).await;
    let child = stage.tell("fork").await.expect("forked");
    let (parent, child) = (stage.pid().await, Pid::from_raw(child.parse().expect("a number")).expect("a process"));
    stage.client.stop_provider(stage.host.id(), &"proc".parse().expect("valid")).await.expect("stops");
    gone(parent).await;
    gone(child).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_that_goes_takes_its_processes_along() {
    let stage = Stage::set(None).await;
    let pid = stage.pid().await;
    drop(stage.host);
    gone(pid).await;
}
