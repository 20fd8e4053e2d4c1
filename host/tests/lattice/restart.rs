//! A host that restarts takes up what it ran.

use std::time::Duration;

use trellis_lattice::identity::key::{Key, KeyKind};

use crate::cluster::{Cluster, eventually, link, provider, scale};
use crate::guests;

#[tokio::test]
async fn a_restarted_host_runs_again_what_it_ran_also_when_the_files_are_gone() {
    let cluster = Cluster::new();
    let key = Key::generate(KeyKind::Host);
    let host = cluster.host_with(cluster.config("a"), key.clone()).await;
    let client = cluster.client();
    let echo = cluster.actor("echo", &guests::echo(), None);
    client.scale(&scale(host.id(), "echo", &echo, 7)).await.expect("starts");
    client.scale(&scale(host.id(), "gone", &echo, 1)).await.expect("starts");
    client.scale(&scale(host.id(), "gone", &echo, 0)).await.expect("stops");
    client.start_provider(&provider(host.id(), "probe", "probe")).await.expect("starts");
    client.put_link(&link("probe", "test:echo/echo", "echo")).await.expect("put");
    let before = client.inventory(host.id()).await.expect("answers");
    host.stop(Duration::from_secs(1)).await;
    std::fs::remove_file(&echo).expect("removed");

    let host = cluster.host_with(cluster.config("a"), key).await;
    let after = eventually(|| async {
        let now = client.inventory(host.id()).await.map_err(|error| error.to_string())?;
        if now.components.len() + now.providers.len() >= 2 { Ok(now) } else { Err(format!("{now:?}")) }
    })
    .await;
    assert_eq!((&after.components, &after.providers), (&before.components, &before.providers));
    assert_eq!(cluster.call_until(("probe", "test:echo/echo"), Result::is_ok).await.as_deref(), Ok("hello"));
}

#[tokio::test]
async fn a_host_that_is_told_to_stop_drains_and_says_goodbye() {
    let cluster = Cluster::new();
    let host = cluster.host("a").await;
    let client = cluster.client();
    let mut events = cluster.events().await;
    let id = host.id().clone();
    let told = tokio::spawn(async move { client.stop_host(&id, Duration::from_millis(1_500)).await });
    let drain = tokio::time::timeout(Duration::from_secs(20), host.stopped()).await.expect("told");
    assert_eq!(drain, Duration::from_millis(1_500));
    host.stop(drain).await;
    assert_eq!(events.next("host_stopped").await["labels"]["zone"], "a");
    told.await.expect("runs").expect("the client saw it stop");
}
