//! The catalog over stores: what survives what, and what is believed.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use trellis_lattice::id::LatticeName;
use trellis_lattice::identity::key::{Key, KeyKind};
use trellis_lattice::store::embedded::EmbeddedStore;
use trellis_lattice::store::memory::MemoryStore;
use trellis_lattice::store::{Expect, SharedStore, Store};
use trellis_wadm::catalog::{Catalog, Change, Deed, Effect, Place, RefusalKind, Stamp};
use trellis_wadm::intent::{AppIntent, AppName};
use trellis_wadm::manifest::{Format, Manifest, parse};

fn manifest(name: &str, version: &str, image: &str) -> Manifest {
    let text = format!(
        "apiVersion: core.oam.dev/v1beta1\nkind: Application\nmetadata: {{ name: {name}, annotations: {{ version: {version} }} }}\n\
         spec: {{ components: [{{ name: web, type: component, properties: {{ image: '{image}' }} }}] }}\n"
    );
    parse(text.as_bytes(), Format::Yaml).expect("valid")
}

fn place(own: SharedStore, mirror: Option<&MemoryStore>, key: &Key, believes: &[&Key]) -> Place {
    Place {
        lattice: LatticeName::parse("default").expect("valid"),
        own,
        mirror: mirror.map(|store| Arc::new(store.clone()) as SharedStore),
        key: key.clone(),
        believes: believes.iter().map(|key| key.public()).collect::<BTreeSet<_>>(),
    }
}

async fn open(own: &MemoryStore, mirror: Option<&MemoryStore>, key: &Key, believes: &[&Key]) -> Catalog {
    Catalog::open(place(Arc::new(own.clone()), mirror, key, believes)).await.expect("opens")
}

fn shop() -> AppName {
    AppName::parse("shop").expect("valid")
}

fn me() -> Stamp {
    Stamp::now("me")
}

async fn deploy(catalog: &Catalog, version: &str, image: &str) {
    catalog.put(&manifest("shop", version, image), me()).await.expect("put");
    let change = Change::Deploy { version: Some(version.to_owned()) };
    catalog.change(shop(), change, me()).await.expect("deployed");
}

/// The deployed version and the generation.
fn wanted(catalog: &Catalog) -> (Option<String>, u64) {
    match catalog.intent().apps.get("shop") {
        Some(AppIntent::Deployed(deployed)) => (Some(deployed.version.clone()), deployed.generation),
        Some(AppIntent::Undeployed { generation }) => (None, *generation),
        None => (None, 0),
    }
}

/// Waits until `condition` holds of the catalog.
async fn until(catalog: &Catalog, what: &str, condition: impl Fn(&Catalog) -> bool) {
    let mut changed = catalog.changed();
    let wait = async {
        while !condition(catalog) {
            changed.changed().await.expect("the catalog is open");
        }
    };
    let waited = tokio::time::timeout(Duration::from_secs(10), wait).await;
    assert!(waited.is_ok(), "{what}, but {:?}", wanted(catalog));
}

/// Waits until the record of the shop in `store` is another one than `before`.
async fn rewritten(store: &MemoryStore, before: Option<&[u8]>) -> Vec<u8> {
    let key = trellis_lattice::store::Key::parse("wadm/app/shop").expect("valid");
    let deadline = tokio::time::Instant::now() + Duration::from_secs(10);
    loop {
        if let Some(record) = store.get(&key).await.expect("readable")
            && Some(&*record.value) != before
        {
            return record.value.to_vec();
        }
        assert!(tokio::time::Instant::now() < deadline, "the record is written again");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn keys(store: &MemoryStore) -> Vec<String> {
    store.list("wadm/").await.expect("readable").iter().map(|record| record.key.as_str().to_owned()).collect()
}

#[tokio::test]
async fn what_was_deployed_is_there_after_a_restart_on_the_same_disk() {
    let folder = tempfile::tempdir().expect("a folder");
    let key = Key::generate(KeyKind::Account);
    let open = async |file: &Path| {
        let own = EmbeddedStore::open(file).await.expect("opens");
        Catalog::open(place(Arc::new(own), None, &key, &[])).await.expect("opens")
    };
    let file = folder.path().join("wadm.redb");
    let catalog = open(&file).await;
    deploy(&catalog, "v1", "file://1.wasm").await;
    let before = (catalog.intent(), catalog.apps());
    drop(catalog);
    // The file is free when the task is gone.
    let again = loop {
        match EmbeddedStore::open(&file).await {
            Ok(own) => break Catalog::open(place(Arc::new(own), None, &key, &[])).await.expect("opens"),
            Err(_) => tokio::task::yield_now().await,
        }
    };
    assert_eq!((again.intent(), again.apps()), before);
    assert_eq!(wanted(&again), (Some("v1".to_owned()), 1));
}

#[tokio::test]
async fn versions_are_put_deployed_rolled_back_and_deleted_and_it_is_written_down() {
    let (own, key) = (MemoryStore::new(), Key::generate(KeyKind::Account));
    let catalog = open(&own, None, &key, &[]).await;
    let put = async |version: &str, image: &str| catalog.put(&manifest("shop", version, image), me()).await;
    assert_eq!(put("v1", "file://1.wasm").await.expect("new").effect, Effect::Created);
    assert_eq!(put("v1", "file://1.wasm").await.expect("the same").effect, Effect::None);
    assert_eq!(put("v1", "file://2.wasm").await.expect_err("other content").kind(), RefusalKind::Conflict);
    assert_eq!(put("v2", "file://2.wasm").await.expect("new").effect, Effect::Recorded);
    assert_eq!(wanted(&catalog), (None, 0), "nothing is deployed yet, so nothing is touched");

    let change = async |change| catalog.change(shop(), change, me()).await.map(|outcome| outcome.version);
    assert_eq!(change(Change::Deploy { version: Some("v1".into()) }).await, Ok(Some("v1".into())));
    assert_eq!(change(Change::Deploy { version: None }).await, Ok(Some("v2".into())));
    let back = Change::RollBack { to: None, from_generation: None };
    assert_eq!(change(back).await, Ok(Some("v1".into())));
    assert_eq!(wanted(&catalog), (Some("v1".into()), 3));
    change(Change::Delete { version: None }).await.expect("deleted");
    assert_eq!(wanted(&catalog), (None, 4), "the tombstone says that nothing is wanted");
    assert!(catalog.app("shop").is_none());
    let deeds: Vec<Deed> = catalog.apps()["shop"].history.iter().map(|event| event.what).collect();
    assert_eq!(deeds, [Deed::Put, Deed::Put, Deed::Deploy, Deed::Deploy, Deed::Rollback, Deed::Delete]);
    assert_eq!(keys(&own).await, ["wadm/app/shop"], "manifests go with the versions");
}

#[tokio::test]
async fn an_empty_or_lost_mirror_is_filled_again_and_takes_nothing_away() {
    let (own, key) = (MemoryStore::new(), Key::generate(KeyKind::Account));
    let mirror = MemoryStore::new();
    let catalog = open(&own, Some(&mirror), &key, &[]).await;
    deploy(&catalog, "v1", "file://1.wasm").await;
    rewritten(&mirror, None).await;
    for name in keys(&mirror).await {
        let name = trellis_lattice::store::Key::parse(&name).expect("valid");
        mirror.delete(&name, Expect::Any).await.expect("deleted");
    }
    rewritten(&mirror, None).await;
    assert_eq!(keys(&mirror).await, keys(&own).await, "manifests too");
    assert_eq!(wanted(&catalog), (Some("v1".into()), 1));

    let other_lattice = MemoryStore::new();
    drop(catalog);
    let catalog = open(&own, Some(&other_lattice), &key, &[]).await;
    assert_eq!(wanted(&catalog), (Some("v1".into()), 1));
    rewritten(&other_lattice, None).await;
}

#[tokio::test]
async fn a_mirror_from_the_past_or_from_a_wrong_hand_is_not_believed() {
    let (own, mirror, key) = (MemoryStore::new(), MemoryStore::new(), Key::generate(KeyKind::Account));
    let catalog = open(&own, Some(&mirror), &key, &[]).await;
    let name = trellis_lattice::store::Key::parse("wadm/app/shop").expect("valid");
    deploy(&catalog, "v1", "file://1.wasm").await;
    let old = rewritten(&mirror, None).await;
    deploy(&catalog, "v2", "file://2.wasm").await;
    let now = rewritten(&mirror, Some(&old)).await;
    let forged = String::from_utf8(now.clone()).expect("text").replace("v2", "v1").into_bytes();
    for wrong in [old, forged, b"{}".to_vec()] {
        mirror.put(&name, wrong.clone().into(), Expect::Any).await.expect("written");
        assert_eq!(rewritten(&mirror, Some(&wrong)).await.len(), now.len());
        assert_eq!(wanted(&catalog), (Some("v2".into()), 2));
    }
}

#[tokio::test]
async fn two_wadms_see_each_others_changes_and_lose_none() {
    let (one, two) = (Key::generate(KeyKind::Account), Key::generate(KeyKind::Account));
    let (disk_one, disk_two, mirror) = (MemoryStore::new(), MemoryStore::new(), MemoryStore::new());
    let a = open(&disk_one, Some(&mirror), &one, &[&two]).await;
    let b = open(&disk_two, Some(&mirror), &two, &[&one]).await;
    deploy(&a, "v1", "file://1.wasm").await;
    until(&b, "the other sees it", |b| wanted(b) == (Some("v1".into()), 1)).await;
    let put = async |catalog: &Catalog, from: u32| {
        for i in 0..10 {
            let version = format!("x{}", from + i);
            catalog.put(&manifest("shop", &version, "file://x.wasm"), me()).await.expect("put");
        }
    };
    tokio::join!(put(&a, 0), put(&b, 100));
    let have_all = |catalog: &Catalog| catalog.app("shop").is_some_and(|app| app.versions.len() == 21);
    until(&a, "all versions of both", have_all).await;
    until(&b, "all versions of both", have_all).await;
    // The second has taken over everything, so that the first is not needed any more.
    drop(a);
    let change = Change::RollBack { to: Some("x3".into()), from_generation: Some(1) };
    b.change(shop(), change, me()).await.expect("rolled back");
    assert_eq!(wanted(&b), (Some("x3".into()), 2));
}

#[tokio::test]
async fn what_two_wadms_did_while_cut_off_comes_together_in_the_same_way_at_both() {
    let (one, two) = (Key::generate(KeyKind::Account), Key::generate(KeyKind::Account));
    let (disk_one, disk_two) = (MemoryStore::new(), MemoryStore::new());
    let a = open(&disk_one, None, &one, &[]).await;
    let b = open(&disk_two, None, &two, &[]).await;
    deploy(&a, "a1", "file://1.wasm").await;
    deploy(&b, "b1", "file://2.wasm").await;
    b.change(shop(), Change::Deploy { version: None }, me()).await.expect("deployed");
    drop((a, b));
    let mirror = MemoryStore::new();
    let a = open(&disk_one, Some(&mirror), &one, &[&two]).await;
    let b = open(&disk_two, Some(&mirror), &two, &[&one]).await;
    until(&a, "the higher revision", |a| wanted(a) == (Some("b1".into()), 2)).await;
    until(&b, "the higher revision", |b| wanted(b) == (Some("b1".into()), 2)).await;
}

#[tokio::test]
async fn a_record_of_an_unknown_wadm_is_left_alone_and_not_fought_over() {
    let (one, two) = (Key::generate(KeyKind::Account), Key::generate(KeyKind::Account));
    let mirror = MemoryStore::new();
    let a = open(&MemoryStore::new(), Some(&mirror), &one, &[]).await;
    deploy(&a, "v1", "file://1.wasm").await;
    rewritten(&mirror, None).await;
    let b = open(&MemoryStore::new(), Some(&mirror), &two, &[]).await;
    let other = manifest("other", "v1", "file://o.wasm");
    b.put(&other, me()).await.expect("put");
    assert!(b.app("shop").is_none(), "a stranger's application is not ours");
    assert_eq!(wanted(&b), (None, 0));
    assert_eq!(wanted(&a), (Some("v1".into()), 1));
}

#[tokio::test]
async fn what_another_wadm_did_is_there_as_soon_as_it_is_asked_for() {
    let (lattice, keys) = (MemoryStore::new(), [(); 2].map(|()| Key::generate(KeyKind::User)));
    let one = open(&MemoryStore::new(), Some(&lattice), &keys[0], &[&keys[1]]).await;
    let other = open(&MemoryStore::new(), Some(&lattice), &keys[1], &[&keys[0]]).await;
    for version in ["v1", "v2", "v3"] {
        deploy(&one, version, &format!("web:{version}")).await;
        other.look_up(&shop()).await;
        assert_eq!(wanted(&other), wanted(&one));
    }
}
