//! What a host remembers of what it was told: whose commands count, and its labels.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use trellis_lattice::identity::key::{Key, KeyKind};
use trellis_lattice::message::command::{DeleteLink, HostLabel};
use trellis_lattice::message::fence::Terms;
use trellis_lattice::message::lease::{LEASE_KEY, Lease, LeaseState};
use trellis_lattice::store::Expect;

use crate::cluster::{Cluster, eventually, link, provider, scale};
use crate::guests;

fn lease(token: u64) -> Bytes {
    let state = LeaseState::Held;
    Lease { holder: "w".to_owned(), token, duration_ms: 1_000, renewal: 1, state }.encode().into()
}

#[tokio::test]
async fn commands_of_a_wadm_that_was_replaced_are_refused() {
    let cluster = Cluster::new();
    let host = cluster.host("a").await;
    let file = cluster.actor("echo", &guests::echo(), None);
    let (old, new) = (cluster.client().with_fence(4), cluster.client().with_fence(5));
    old.scale(&scale(host.id(), "echo", &file, 1)).await.expect("nobody else is there");
    new.scale(&scale(host.id(), "echo", &file, 2)).await.expect("takes over");
    let config = "c".parse().expect("valid");
    new.put_config(&config, &[("fence".to_owned(), "wooden".to_owned())].into()).await.expect("put");
    let wanted = link("probe", "test:echo/echo", "echo");
    let unwanted = DeleteLink {
        source_id: wanted.source_id.clone(),
        name: wanted.name.clone(),
        wit_namespace: wanted.wit_namespace.clone(),
        wit_package: wanted.wit_package.clone(),
    };
    for refused in [
        old.scale(&scale(host.id(), "echo", &file, 9)).await,
        old.start_provider(&provider(host.id(), "probe", "probe")).await,
        old.put_link(&wanted).await,
        old.delete_link(&unwanted).await,
        old.put_config(&config, &Default::default()).await,
        old.delete_config(&config).await,
    ] {
        let error = refused.expect_err("it was replaced").to_string();
        assert!(error.contains("token 4") && error.contains("knows 5"), "{error}");
    }
    let stored = cluster.client().config(&config).await.expect("answered").expect("there");
    assert_eq!(stored, [("fence".to_owned(), "wooden".to_owned())].into());
    let inventory = cluster.client().inventory(host.id()).await.expect("answers");
    assert_eq!((inventory.components[0].max_instances, inventory.fence), (2, Some(5)));
    cluster.client().scale(&scale(host.id(), "echo", &file, 3)).await.expect("people carry no token");
}

#[tokio::test]
async fn commands_that_come_too_late_are_refused() {
    let cluster = Cluster::new();
    let host = cluster.host("a").await;
    let file = cluster.actor("echo", &guests::echo(), None);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_millis() as u64;
    let [late, timely] =
        [now - 1, now + 60_000].map(|last| cluster.client().on_terms(Terms { token: None, not_after_ms: Some(last) }));
    let config = "c".parse().expect("valid");
    for refused in [
        late.scale(&scale(host.id(), "echo", &file, 1)).await,
        late.start_provider(&provider(host.id(), "probe", "probe")).await,
        late.put_link(&link("probe", "test:echo/echo", "echo")).await,
        late.put_config(&config, &Default::default()).await,
        late.delete_config(&config).await,
    ] {
        let error = refused.expect_err("it is late").to_string();
        assert!(error.contains("too late"), "{error}");
    }
    timely.scale(&scale(host.id(), "echo", &file, 1)).await.expect("it is in time");
    timely.put_config(&config, &Default::default()).await.expect("it is in time");
    assert_eq!(cluster.client().config(&config).await.expect("answered"), Some(Default::default()));
}

#[tokio::test]
async fn the_lease_is_followed_and_outlives_a_restart() {
    let cluster = Cluster::new();
    let key = Key::generate(KeyKind::Host);
    let host = cluster.host_with(cluster.config("a"), key.clone()).await;
    let lease_key = trellis_lattice::store::Key::parse(LEASE_KEY).expect("valid");
    cluster.store.put(&lease_key, lease(7), Expect::Absent).await.expect("put");
    let client = cluster.client();
    eventually(|| async {
        let fence = client.inventory(host.id()).await.map_err(|error| error.to_string())?.fence;
        if fence == Some(7) { Ok(()) } else { Err(format!("{fence:?}")) }
    })
    .await;
    host.stop(Duration::ZERO).await;
    cluster.store.delete(&lease_key, Expect::Any).await.expect("the store lost it");
    let host = cluster.host_with(cluster.config("a"), key).await;
    let stale = cluster.client().with_fence(6);
    let error = stale.start_provider(&provider(host.id(), "echo", "echo")).await.expect_err("it was replaced");
    assert!(error.to_string().contains("knows 7"), "{error}");
}

#[tokio::test]
async fn labels_outlive_a_restart() {
    let cluster = Cluster::new();
    let key = Key::generate(KeyKind::Host);
    let host = cluster.host_with(cluster.config("a"), key.clone()).await;
    let client = cluster.client();
    let label = HostLabel { key: "trellis.dev/cordoned".to_owned(), value: "new disk".to_owned() };
    client.put_label(host.id(), &label).await.expect("put");
    client.delete_label(host.id(), "zone").await.expect("deleted");
    let before = client.inventory(host.id()).await.expect("answers").labels;
    host.stop(Duration::ZERO).await;
    let host = cluster.host_with(cluster.config("a"), key).await;
    let after = client.inventory(host.id()).await.expect("answers").labels;
    assert_eq!(after, before);
    assert_eq!((after.get("trellis.dev/cordoned"), after.get("zone")), (Some(&label.value), None));
}

#[tokio::test]
async fn a_host_says_what_it_has_room_for() {
    let cluster = Cluster::new();
    let host = cluster.host("a").await;
    let inventory = cluster.client().inventory(host.id()).await.expect("answers");
    let capacity = inventory.capacity.expect("is said");
    assert!(capacity.memory_bytes > 0 && capacity.cpu_millis >= 1_000, "{capacity:?}");
    assert_eq!((capacity.max_instances, inventory.fence), (64, None));
}
