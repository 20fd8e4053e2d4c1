//! Links and configs: many writers, conflicts, and providers that refuse.

use std::time::Duration;

use futures::future::join_all;
use trellis_lattice::control::Client;
use trellis_lattice::id::HostId;
use trellis_lattice::message::inventory::{LinkState, ProviderLink};

use crate::cluster::{Cluster, eventually, link, provider};

#[tokio::test]
async fn concurrent_writers_lose_no_link() {
    let cluster = Cluster::new();
    let (_a, _b) = (cluster.host("a").await, cluster.host("b").await);
    let client = cluster.client();
    let links: Vec<_> = (0..40)
        .map(|n| link(&format!("actor{}", n % 8), "test:echo/echo", "echo"))
        .zip(0..)
        .map(|(mut link, n)| {
            link.name = format!("link{n}").parse().expect("valid");
            link
        })
        .collect();
    let outcomes = join_all(links.iter().map(|link| client.put_link(link))).await;
    assert!(outcomes.iter().all(Result::is_ok), "{outcomes:?}");
    let stored = client.links().await.expect("listed");
    assert!(links.iter().all(|link| stored.contains(link)) && stored.len() == links.len(), "{stored:?}");
}

#[tokio::test]
async fn of_links_that_exclude_each_other_at_most_one_stays() {
    let cluster = Cluster::new();
    let (_a, _b) = (cluster.host("a").await, cluster.host("b").await);
    let client = cluster.client();
    for round in 0..10 {
        let source = format!("actor{round}");
        let rivals: Vec<_> = (0..6).map(|n| link(&source, "test:echo/echo", &format!("echo{n}"))).collect();
        let outcomes = join_all(rivals.iter().map(|link| client.put_link(link))).await;
        let stored = client.links().await.expect("listed");
        let stayed = stored.iter().filter(|link| link.source_id.as_str() == source).count();
        let succeeded = outcomes.iter().filter(|outcome| outcome.is_ok()).count();
        assert!(stayed <= 1 && succeeded == stayed, "{stayed} of {outcomes:?}");
    }
    let first = link("actor", "test:echo/echo", "echo1");
    client.put_link(&first).await.expect("put");
    client.put_link(&first).await.expect("the same again is fine");
    let error = client.put_link(&link("actor", "test:echo/echo", "echo2")).await.expect_err("taken").to_string();
    assert!(error.contains("already leads test:echo/echo to echo1"), "{error}");
}

#[tokio::test]
async fn a_link_needs_its_configs() {
    let cluster = Cluster::new();
    let _a = cluster.host("a").await;
    let client = cluster.client();
    let mut wanting = link("actor", "test:echo/echo", "echo");
    wanting.target_config = vec!["absent".parse().expect("valid")];
    let mut events = cluster.events().await;
    let error = client.put_link(&wanting).await.expect_err("refused").to_string();
    assert!(error.contains("no such config: absent"), "{error}");
    let event = events.next("linkdef_set_failed").await;
    assert_eq!(event["source_id"], "actor");
    assert!(event["error"].as_str().is_some_and(|error| error.contains("absent")), "{event}");
}

#[tokio::test]
async fn a_link_whose_provider_cannot_read_its_config_is_not_put_whoever_is_asked() {
    let cluster = Cluster::new();
    let (a, b) = (cluster.host("a").await, cluster.host("b").await);
    let client = cluster.client();
    client.start_provider(&provider(b.id(), "echo", "echo")).await.expect("starts");
    for (host, name) in [(&a, "one"), (&b, "two")] {
        let mut linked = link(name, "test:echo/echo", "echo");
        linked.target_config = vec![name.parse().expect("valid")];
        client
            .put_config(&linked.target_config[0], &[("greeting".to_owned(), "wrong".to_owned())].into())
            .await
            .expect("put");
        let through = client.clone().through(host.id().clone());
        let refused = eventually(|| async {
            // Until presence has told everyone who runs the provider.
            through.put_link(&linked).await.err().map(|error| error.to_string()).ok_or("it was put".to_owned())
        })
        .await;
        for part in ["provider echo", "\"greeting\" is \"wrong\"", "expected a greeting", "\"hello\""] {
            assert!(refused.contains(part), "{part} in {refused}");
        }
        client
            .put_config(&linked.target_config[0], &[("greeting".to_owned(), "ah".to_owned())].into())
            .await
            .expect("put");
        through.put_link(&linked).await.expect("put");
    }
}

#[tokio::test]
async fn a_link_that_the_provider_refuses_is_told_and_tried_again() {
    let cluster = Cluster::new();
    let a = cluster.host("a").await;
    let client = cluster.client();
    let config = "greet".parse().expect("valid");
    client.start_provider(&provider(a.id(), "echo", "echo")).await.expect("starts");
    client.start_provider(&provider(a.id(), "probe", "probe")).await.expect("starts");
    client.put_config(&config, &[("greeting".to_owned(), "refuse".to_owned())].into()).await.expect("put");
    let mut events = cluster.events().await;
    let mut refused = link("probe", "test:echo/echo", "echo");
    refused.target_config = vec![config.clone()];
    client.put_link(&refused).await.expect("put");
    let event = events.next("linkdef_set_failed").await;
    assert_eq!(event["error"], "the port is in use");
    assert_eq!(events.next("provider_links_changed").await["provider_id"], "echo");
    let failed = standing(&client, a.id(), "echo").await;
    assert_eq!((failed.state, failed.reason.as_deref()), (LinkState::Failed, Some("the port is in use")));
    assert_eq!(failed.fingerprint, Some(refused.fingerprint(&[("greeting".to_owned(), "refuse".to_owned())].into())));
    client.put_config(&config, &[("greeting".to_owned(), "ah ".to_owned())].into()).await.expect("put");
    let expected = |outcome: &Result<String, _>| outcome.as_deref().is_ok_and(|text| text == "ah hello");
    cluster.call_until(("probe", "test:echo/echo"), expected).await.expect("answers");
    let up = standing(&client, a.id(), "echo").await;
    assert_eq!((up.state, up.reason), (LinkState::Up, None), "what recovers clears by itself");
    assert_ne!(up.fingerprint, failed.fingerprint);
}

/// The one link of a provider, as its host says that it stands.
async fn standing(client: &Client, host: &HostId, provider: &str) -> ProviderLink {
    let inventory = client.inventory(host).await.expect("answered");
    let provider = inventory.providers.iter().find(|entry| entry.id.as_str() == provider).expect("it runs");
    let links = provider.links.as_deref().expect("hosts of ours say it");
    assert_eq!(links.len(), 1, "{links:?}");
    links[0].clone()
}

#[tokio::test]
async fn a_config_is_gone_when_it_is_deleted() {
    let cluster = Cluster::new();
    let a = cluster.host("a").await;
    let client = cluster.client();
    let name = "c".parse().expect("valid");
    client.put_config(&name, &[("k".to_owned(), "v".to_owned())].into()).await.expect("put");
    assert_eq!(client.config(&name).await.expect("answered"), Some([("k".to_owned(), "v".to_owned())].into()));
    client.delete_config(&name).await.expect("deleted");
    client.delete_config(&name).await.expect("deleted again");
    assert_eq!(client.config(&name).await.expect("answered"), None);
    let mut wanting = provider(a.id(), "echo", "echo");
    wanting.config = vec![name];
    let error = eventually(|| async {
        client.start_provider(&wanting).await.err().map(|error| error.to_string()).ok_or("it started".to_owned())
    });
    let error = tokio::time::timeout(Duration::from_secs(20), error).await.expect("in time");
    assert!(error.contains("no such config: c"), "{error}");
}
