//! Policies of links: named ones that many links share, breakers, concurrency, and what is usual for a target.

use std::time::Duration;

use futures::future::select_all;
use trellis_host::host::Host;
use trellis_lattice::control::Client;
use trellis_lattice::error::{CallError, CallErrorKind};
use trellis_lattice::message::command::StringMap;
use trellis_lattice::message::inventory::{HostInventory, LinkTraffic};

use crate::cluster::{Cluster, eventually, link, provider};

const ECHO: &str = "test:echo/echo";

fn config(pairs: &[(&str, &str)]) -> StringMap {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

/// A host with the probe `probe`, whose link to `echo` names the configs `names` at its source's side.
async fn linked(cluster: &Cluster, names: &[&str]) -> (Host, Client) {
    let (host, client) = (cluster.host("a").await, cluster.client());
    client.start_provider(&provider(host.id(), "probe", "probe")).await.expect("starts");
    let mut linked = link("probe", ECHO, "echo");
    linked.source_config = names.iter().map(|name| name.parse().expect("valid")).collect();
    client.put_link(&linked).await.expect("put");
    (host, client)
}

fn is_open(outcome: &Result<String, CallError>) -> bool {
    outcome.as_ref().is_err_and(|error| error.kind == CallErrorKind::BreakerOpen && error.retry_after.is_some())
}

fn is_untried(outcome: &Result<String, CallError>) -> bool {
    outcome.as_ref().is_err_and(|error| error.kind == CallErrorKind::NoTarget)
}

#[tokio::test]
async fn a_policy_is_one_for_all_links_that_name_it_and_they_follow_it() {
    let cluster = Cluster::new();
    let client = cluster.client();
    let _first = cluster.host("first").await;
    let policy = "POLICY_careful".parse().expect("valid");
    client.put_config(&policy, &config(&[("breaker_failures", "3"), ("breaker_pause", "1h")])).await.expect("put");
    let (host, client) = linked(&cluster, &["POLICY_careful"]).await;
    client.start_provider(&provider(host.id(), "other", "probe")).await.expect("starts");
    let mut other = link("other", ECHO, "echo");
    other.source_config = vec![policy.clone()];
    client.put_link(&other).await.expect("put");

    cluster.call_until(("probe", ECHO), is_open).await.expect_err("nobody runs it");
    let error = cluster.call("other", ECHO, "hello").await.expect_err("nobody runs it");
    assert_eq!(error.kind, CallErrorKind::NoTarget, "each link has a breaker of its own: {error}");
    cluster.call_until(("other", ECHO), is_open).await.expect_err("nobody runs it");

    let lenient = config(&[("breaker_failures", "1000000"), ("breaker_pause", "1s")]);
    client.put_config(&policy, &lenient).await.expect("put");
    for source in ["probe", "other"] {
        cluster.call_until((source, ECHO), is_untried).await.expect_err("tried again, as the policy says now");
    }
}

#[tokio::test]
async fn a_policy_that_is_wrong_is_refused_with_all_that_is_wrong() {
    let cluster = Cluster::new();
    let (_host, client) = linked(&cluster, &[]).await;
    let policy = "POLICY_careless".parse().expect("valid");
    let wrong = config(&[("timeout", "5"), ("retrys", "2"), ("retry_on", "denied"), ("breaker_failures", "3")]);
    let error = client.put_config(&policy, &wrong).await.expect_err("refused").to_string();
    for part in [
        "policy careless",
        "\"timeout\" is \"5\"",
        "\"retrys\" is not known",
        "\"retry_on\" is",
        "\"breaker_pause\" is missing",
    ] {
        assert!(error.contains(part), "{part} in {error}");
    }
    assert_eq!(client.config(&policy).await.expect("answered"), None);
    let mut wanting = link("probe", "test:other/other", "echo");
    wanting.source_config = vec![policy.clone()];
    let error = client.put_link(&wanting).await.expect_err("refused").to_string();
    assert!(error.contains("no such config: POLICY_careless"), "{error}");
    client.put_config(&policy, &config(&[("retries", "1")])).await.expect("put");
    (wanting.source_config, wanting.target_config) = (Vec::new(), vec![policy]);
    let error = client.put_link(&wanting).await.expect_err("refused").to_string();
    assert!(error.contains("policy careless at its target's side"), "{error}");
}

/// The calls in flight that the host tells, as soon as they are `expected`.
async fn until_in_flight(client: &Client, host: &Host, expected: u32) -> LinkTraffic {
    eventually(|| async {
        let HostInventory { mut traffic, .. } = client.inventory(host.id()).await.expect("answers");
        match traffic.pop().filter(|traffic| traffic.in_flight == expected) {
            Some(traffic) => Ok(traffic),
            None => Err(format!("{traffic:?}")),
        }
    })
    .await
}

#[tokio::test]
async fn calls_beyond_the_concurrency_of_a_link_wait_a_moment_and_are_refused() {
    let cluster = Cluster::new();
    let first = cluster.host("first").await;
    let client = cluster.client();
    let policy = config(&[("concurrency", "2"), ("concurrency_wait", "50ms")]);
    client.put_config(&"POLICY_two".parse().expect("valid"), &policy).await.expect("put");
    let (host, _) = linked(&cluster, &["POLICY_two"]).await;
    client.start_provider(&provider(first.id(), "echo", "echo")).await.expect("starts");
    cluster.call_until(("probe", ECHO), Result::is_ok).await.expect("echoes");

    let hanging = || Box::pin(cluster.call("probe", ECHO, "hang"));
    let mut hanging = vec![hanging(), hanging(), hanging()];
    let (outcome, _, rest) = select_all(std::mem::take(&mut hanging)).await;
    let error = outcome.expect_err("one too many");
    assert_eq!(error.kind, CallErrorKind::Overloaded, "{error}");
    assert!(error.message.starts_with("link default of probe has 2 calls in flight"), "{error}");
    assert_eq!(error.retry_after, Some(Duration::from_millis(100)));
    let told = tokio::select! {
        told = until_in_flight(&client, &host, 2) => told,
        (outcome, _, _) = select_all(rest) => panic!("they hang: {outcome:?}"),
    };
    assert_eq!((told.source_id.as_str(), told.target.as_str(), told.limit), ("probe", "echo", Some(2)));
    cluster.call("probe", ECHO, "hello").await.expect("callers that leave make room");
}

#[tokio::test]
async fn a_provider_that_goes_to_a_server_is_guarded_where_it_runs_unless_its_link_says_otherwise() {
    let cluster = Cluster::new();
    let (here, client) = linked(&cluster, &[]).await;
    let there = cluster.host("b").await;
    client.put_config(&"server".parse().expect("valid"), &config(&[("greeting", "server ")])).await.expect("put");
    client.start_provider(&provider(there.id(), "echo", "echo")).await.expect("starts");
    let mut linked = link("probe", ECHO, "echo");
    linked.target_config = vec!["server".parse().expect("valid")];
    client.put_link(&linked).await.expect("put");
    let is_server = |outcome: &Result<String, CallError>| outcome.as_deref().is_ok_and(|text| text == "server hello");
    cluster.call_until(("probe", ECHO), is_server).await.expect("answers");

    let failing = || {
        eventually(|| async {
            let outcome = cluster.call("probe", ECHO, "too late").await;
            if is_open(&outcome) { Ok(()) } else { Err(format!("{outcome:?}")) }
        })
    };
    failing().await;
    let breakers = |host: &Host| {
        let (client, id) = (client.clone(), host.id().clone());
        async move { client.inventory(&id).await.expect("answers").breakers.len() }
    };
    assert_eq!((breakers(&here).await, breakers(&there).await), (0, 1));
    cluster.call_until(("probe", ECHO), is_server).await.expect("closes by itself");

    linked.source_config = vec!["own".parse().expect("valid")];
    client.put_config(&linked.source_config[0], &config(&[("timeout", "10s")])).await.expect("put");
    client.put_link(&linked).await.expect("put");
    eventually(|| async {
        for _ in 0..40 {
            let error = cluster.call("probe", ECHO, "too late").await.expect_err("too late");
            if error.kind != CallErrorKind::Deadline {
                return Err(error.to_string());
            }
        }
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn a_breaker_opens_at_a_target_that_is_gone_and_closes_when_it_is_back() {
    let cluster = Cluster::new();
    let a = cluster.host("a").await;
    let client = cluster.client();
    let config = "careful".parse().expect("valid");
    let settings = [("timeout", "5s"), ("retries", "1"), ("breaker_failures", "3"), ("breaker_pause", "400ms")];
    let settings = settings.map(|(key, value)| (key.to_owned(), value.to_owned()));
    client.put_config(&config, &settings.clone().into()).await.expect("put");
    client.start_provider(&provider(a.id(), "probe", "probe")).await.expect("starts");
    let mut guarded = link("probe", "test:echo/echo", "echo");
    guarded.source_config = vec![config.clone()];
    client.put_link(&guarded).await.expect("put");

    let is_open = |outcome: &Result<String, CallError>| {
        outcome.as_ref().is_err_and(|error| {
            error.kind == CallErrorKind::BreakerOpen
                && error.retry_after.is_some_and(|after| after <= Duration::from_millis(400))
                && error.message.starts_with("breaker of link default of probe is open, retry in ")
        })
    };
    cluster.call_until(("probe", "test:echo/echo"), is_open).await.expect_err("nobody runs it");
    let breakers = || async { client.inventory(a.id()).await.expect("answers").breakers };
    let shown = breakers().await;
    assert!(
        shown.len() == 1 && shown[0].source_id == guarded.source_id && shown[0].target == guarded.target,
        "{shown:?}"
    );
    client.start_provider(&provider(a.id(), "echo", "echo")).await.expect("starts");
    cluster.call_until(("probe", "test:echo/echo"), Result::is_ok).await.expect("half open, then closed");
    for _ in 0..5 {
        cluster.call("probe", "test:echo/echo", "hello").await.expect("closed");
    }
    assert_eq!(breakers().await, [], "a closed one is not told");

    let wrong = [settings.as_slice(), &[("retries".to_owned(), "many".to_owned())]].concat();
    let error = client.put_config(&config, &wrong.into_iter().collect()).await.expect_err("refused").to_string();
    assert!(error.contains("link default of probe") && error.contains("\"retries\" is \"many\""), "{error}");
    let other = "wrong".parse().expect("valid");
    client.put_config(&other, &[("timeout".to_owned(), "5".to_owned())].into()).await.expect("nothing uses it");
    guarded.source_config.push(other);
    let error = client.put_link(&guarded).await.expect_err("refused").to_string();
    assert!(error.contains("\"timeout\" is \"5\"") && error.contains("30s"), "{error}");
}
