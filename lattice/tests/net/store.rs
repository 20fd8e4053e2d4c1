//! One suite over the stores in memory, in a file and on JetStream of a real nats-server.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use futures::StreamExt;
use tempfile::TempDir;
use trellis_lattice::error::ErrorKind;
use trellis_lattice::id::LatticeName;
use trellis_lattice::store::embedded::EmbeddedStore;
use trellis_lattice::store::jetstream::JetStreamStore;
use trellis_lattice::store::memory::MemoryStore;
use trellis_lattice::store::{Change, Expect, Key, MAX_VALUE_BYTES, Record, Revision, SharedStore, Watch};
use trellis_lattice::transport::nats::{NatsOptions, NatsTransport};

use crate::support::{NatsServer, eventually, soon};

/// A store and what keeps it.
struct Lab {
    name: &'static str,
    store: SharedStore,
    /// The same one; on JetStream over a connection of its own.
    other: SharedStore,
    _folder: Option<TempDir>,
    _server: Option<NatsServer>,
}

fn lattice() -> LatticeName {
    LatticeName::parse("default").expect("valid")
}

async fn connect(server: &NatsServer) -> NatsTransport {
    NatsTransport::connect(NatsOptions::new(server.url())).await.expect("it is up")
}

async fn on_each(check: impl AsyncFn(&Lab)) {
    let folder = tempfile::tempdir().expect("a folder");
    let memory: SharedStore = Arc::new(MemoryStore::new());
    let embedded: SharedStore = Arc::new(EmbeddedStore::open(folder.path().join("store")).await.expect("opens"));
    let server = NatsServer::with_jetstream().await;
    let open = async || JetStreamStore::open(&connect(&server).await, &lattice()).await.expect("opens");
    let (jetstream, other): (SharedStore, SharedStore) = (Arc::new(open().await), Arc::new(open().await));
    let labs = [
        Lab { name: "memory", store: memory.clone(), other: memory, _folder: None, _server: None },
        Lab { name: "embedded", store: embedded.clone(), other: embedded, _folder: Some(folder), _server: None },
        Lab { name: "jetstream", store: jetstream, other, _folder: None, _server: Some(server) },
    ];
    for lab in &labs {
        println!("store: {}", lab.name);
        check(lab).await;
    }
}

fn key(text: &str) -> Key {
    Key::parse(text).expect("valid")
}

async fn next(watch: &mut Watch) -> Change {
    soon("a change", watch.next()).await.expect("the watch goes on")
}

#[tokio::test]
async fn what_is_put_is_got_until_it_is_deleted() {
    on_each(async |lab| {
        let (store, key) = (&lab.store, key("link.a/b=c_d-e"));
        assert_eq!(store.get(&key).await.unwrap(), None);
        let first = store.put(&key, Bytes::from_static(b"1"), Expect::Absent).await.unwrap();
        let second = store.put(&key, Bytes::new(), Expect::Any).await.unwrap();
        assert!(second > first && first > Revision(0));
        let found = store.get(&key).await.unwrap();
        assert_eq!(found, Some(Record { key: key.clone(), value: Bytes::new(), revision: second }));
        store.delete(&key, Expect::Any).await.unwrap();
        store.delete(&key, Expect::Any).await.unwrap();
        assert_eq!(store.get(&key).await.unwrap(), None);
        let again = store.put(&key, Bytes::from_static(b"2"), Expect::Absent).await.unwrap();
        assert!(again > second);
    })
    .await;
}

#[tokio::test]
async fn what_is_not_as_expected_is_a_conflict_and_changes_nothing() {
    on_each(async |lab| {
        let (store, key, value) = (&lab.store, key("a"), Bytes::from_static(b"1"));
        let kind_of = |error: trellis_lattice::error::Error| error.kind();
        let at = |number| Expect::At(Revision(number));
        assert_eq!(store.put(&key, value.clone(), at(1)).await.map_err(kind_of), Err(ErrorKind::Conflict));
        assert_eq!(store.delete(&key, at(1)).await.map_err(kind_of), Err(ErrorKind::Conflict));
        store.delete(&key, Expect::Absent).await.unwrap();
        let Revision(first) = store.put(&key, value.clone(), Expect::Absent).await.unwrap();
        for expect in [Expect::Absent, at(first + 1)] {
            assert_eq!(store.put(&key, value.clone(), expect).await.map_err(kind_of), Err(ErrorKind::Conflict));
            assert_eq!(store.delete(&key, expect).await.map_err(kind_of), Err(ErrorKind::Conflict));
        }
        let second = store.put(&key, value.clone(), at(first)).await.unwrap();
        assert_eq!(store.delete(&key, at(first)).await.map_err(kind_of), Err(ErrorKind::Conflict));
        assert_eq!(store.get(&key).await.unwrap().map(|record| record.revision), Some(second));
        store.delete(&key, Expect::At(second)).await.unwrap();
        assert_eq!(store.put(&key, value.clone(), Expect::At(second)).await.map_err(kind_of), Err(ErrorKind::Conflict));
        assert_eq!(store.get(&key).await.unwrap(), None);
    })
    .await;
}

#[tokio::test]
async fn a_list_is_sorted_and_holds_the_prefix_only() {
    on_each(async |lab| {
        for text in ["b.2", "a.1", "b.10", "b.1", "bb.1", "b.gone"] {
            lab.store.put(&key(text), Bytes::from(text.to_owned()), Expect::Absent).await.unwrap();
        }
        lab.store.delete(&key("b.gone"), Expect::Any).await.unwrap();
        for (prefix, expected) in [
            ("b.", vec!["b.1", "b.10", "b.2"]),
            ("b.1", vec!["b.1", "b.10"]),
            ("", vec!["a.1", "b.1", "b.10", "b.2", "bb.1"]),
            ("z", vec![]),
        ] {
            let listed = lab.store.list(prefix).await.unwrap();
            let keys: Vec<_> = listed.iter().map(|record| record.key.as_str()).collect();
            assert_eq!(keys, expected, "{prefix:?}");
            assert!(listed.iter().all(|record| record.value == record.key.as_str().as_bytes()));
        }
    })
    .await;
}

#[tokio::test]
async fn a_value_of_the_largest_size_fits_and_one_more_byte_does_not() {
    on_each(async |lab| {
        let value = Bytes::from(vec![7; MAX_VALUE_BYTES]);
        lab.store.put(&key("large"), value.clone(), Expect::Any).await.unwrap();
        assert_eq!(lab.store.get(&key("large")).await.unwrap().map(|record| record.value), Some(value));
        let over = lab.store.put(&key("over"), Bytes::from(vec![7; MAX_VALUE_BYTES + 1]), Expect::Any).await;
        assert_eq!(over.map_err(|error| error.kind()), Err(ErrorKind::TooLarge));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_writers_by_compare_and_swap_lose_nothing() {
    const WRITERS: u64 = 4;
    const ROUNDS: u64 = 10;
    async fn count_up(store: SharedStore) {
        let mut done = 0;
        while done < ROUNDS {
            let present = store.get(&key("count")).await.unwrap();
            let (count, expect) = present.map_or((0, Expect::Absent), |record| {
                (String::from_utf8_lossy(&record.value).parse::<u64>().unwrap(), Expect::At(record.revision))
            });
            match store.put(&key("count"), Bytes::from((count + 1).to_string()), expect).await {
                Ok(_) => done += 1,
                Err(error) => assert_eq!(error.kind(), ErrorKind::Conflict, "{error}"),
            }
        }
    }
    on_each(async |lab| {
        let writers: Vec<_> = (0..WRITERS).map(|_| tokio::spawn(count_up(lab.store.clone()))).collect();
        for writer in writers {
            soon("a writer", writer).await.unwrap();
        }
        let count = lab.store.get(&key("count")).await.unwrap().unwrap().value;
        assert_eq!(count, (WRITERS * ROUNDS).to_string());
    })
    .await;
}

/// As rival writers do: each puts its own, looks who else is there, and withdraws it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_list_ends_while_its_keys_come_and_go() {
    const WRITERS: usize = 6;
    const ROUNDS: usize = 40;
    async fn come_and_go(store: SharedStore, name: Key, prefix: String) {
        let is_there = async || store.list(&prefix).await.unwrap().iter().any(|record| record.key == name);
        assert!(!is_there().await, "nobody put it");
        let revision = store.put(&name, Bytes::from_static(b"1"), Expect::Absent).await.unwrap();
        assert!(is_there().await, "it was put");
        store.delete(&name, Expect::At(revision)).await.unwrap();
        assert!(!is_there().await, "it was deleted");
    }
    on_each(async |lab| {
        let stores = [lab.store.clone(), lab.other.clone()];
        for round in 0..ROUNDS {
            let prefix = format!("busy{round}.");
            let writers = (0..WRITERS).map(|n| {
                tokio::spawn(come_and_go(stores[n % 2].clone(), key(&format!("{prefix}{n}")), prefix.clone()))
            });
            for writer in writers.collect::<Vec<_>>() {
                writer.await.unwrap();
            }
        }
    })
    .await;
}

#[tokio::test]
async fn a_watch_tells_what_is_there_then_ready_then_news() {
    on_each(async |lab| {
        let store = &lab.store;
        let put = async |text: &str, value: &'static str| {
            let revision = store.put(&key(text), Bytes::from_static(value.as_bytes()), Expect::Any).await.unwrap();
            Change::Put(Record { key: key(text), value: Bytes::from_static(value.as_bytes()), revision })
        };
        let there = put("w.a", "1").await;
        put("w.gone", "1").await;
        store.delete(&key("w.gone"), Expect::Any).await.unwrap();
        put("other.a", "1").await;
        let mut watch = store.watch("w.").await.unwrap();
        let mut empty = store.watch("empty.").await.unwrap();
        assert_eq!(next(&mut watch).await, there);
        assert_eq!(next(&mut watch).await, Change::Ready);
        assert_eq!(next(&mut empty).await, Change::Ready);
        let (changed, _, new) = (put("w.a", "2").await, put("other.a", "2").await, put("w.b", "1").await);
        assert_eq!(next(&mut watch).await, changed);
        assert_eq!(next(&mut watch).await, new);
        store.delete(&key("w.a"), Expect::Any).await.unwrap();
        store.delete(&key("w.a"), Expect::Any).await.unwrap();
        let last = put("w.c", "1").await;
        assert_eq!(next(&mut watch).await, Change::Delete(key("w.a")));
        assert_eq!(next(&mut watch).await, last);
    })
    .await;
}

#[tokio::test]
async fn a_slow_watcher_ends_with_the_last_values() {
    on_each(async |lab| {
        let mut watch = lab.store.watch("s.").await.unwrap();
        let mut expected = BTreeMap::new();
        for round in 0..400 {
            let (key, value) = (key(&format!("s.{}", round % 7)), Bytes::from(round.to_string()));
            lab.store.put(&key, value.clone(), Expect::Any).await.unwrap();
            expected.insert(key, value);
        }
        lab.store.delete(&key("s.3"), Expect::Any).await.unwrap();
        expected.remove(&key("s.3"));
        let mut seen = BTreeMap::new();
        while seen != expected {
            match next(&mut watch).await {
                Change::Put(record) => drop(seen.insert(record.key, record.value)),
                Change::Delete(key) => drop(seen.remove(&key)),
                Change::Restart => seen.clear(),
                Change::Ready => {}
            }
        }
    })
    .await;
}

#[tokio::test]
async fn a_file_keeps_records_and_revisions() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    let store: SharedStore = Arc::new(EmbeddedStore::open(&path).await.unwrap());
    let before = store.put(&key("a"), Bytes::from_static(b"1"), Expect::Any).await.unwrap();
    store.put(&key("b"), Bytes::from_static(b"1"), Expect::Any).await.unwrap();
    store.delete(&key("b"), Expect::Any).await.unwrap();
    drop(store);
    let store: SharedStore = Arc::new(EmbeddedStore::open(&path).await.unwrap());
    assert_eq!(store.list("").await.unwrap().len(), 1);
    assert_eq!(store.get(&key("a")).await.unwrap().unwrap().revision, before);
    let after = store.put(&key("c"), Bytes::from_static(b"1"), Expect::Absent).await.unwrap();
    assert!(after.0 >= before.0 + 3, "the revisions of what was deleted are not used again: {after:?}");
}

#[tokio::test]
async fn a_file_that_is_held_or_no_store_is_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    let held = EmbeddedStore::open(&path).await.unwrap();
    let locked = EmbeddedStore::open(&path).await.unwrap_err();
    assert_eq!(locked.kind(), ErrorKind::Locked);
    assert!(locked.to_string().contains(path.to_str().unwrap()) && locked.to_string().contains("another process"));
    drop(held);
    EmbeddedStore::open(&path).await.expect("it is free again");

    let text = folder.path().join("text");
    std::fs::write(&text, "this is no store, but a text that somebody has left here\n".repeat(200)).unwrap();
    let error = EmbeddedStore::open(&text).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Malformed, "{error}");
    assert!(std::fs::read_to_string(&text).unwrap().starts_with("this is no store"));

    let error = EmbeddedStore::open(folder.path().join("no/such/folder")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Io);
}

#[tokio::test]
async fn a_server_without_jetstream_is_told_apart() {
    let server = NatsServer::start().await;
    let error = JetStreamStore::open(&connect(&server).await, &lattice()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NoResponders);
    assert!(error.to_string().contains("start it with `-js`"), "{error}");
}

/// Servers tell those who come second in more than one way, depending on how close it was.
#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_may_be_made_by_many_at_once() {
    let server = NatsServer::with_jetstream().await;
    let transports: Vec<_> = futures::future::join_all((0..16).map(|_| connect(&server))).await;
    for round in 0..400 {
        let lattice = LatticeName::parse(&format!("lattice{round}")).unwrap();
        let opened = transports.iter().map(|transport| JetStreamStore::open(transport, &lattice));
        let failed: Vec<_> = futures::future::join_all(opened).await.into_iter().filter_map(Result::err).collect();
        assert!(failed.is_empty(), "{failed:?}");
    }
}

#[tokio::test]
async fn a_bucket_is_shared_by_all_that_open_it() {
    let server = NatsServer::with_jetstream().await;
    let one: SharedStore = Arc::new(JetStreamStore::open(&connect(&server).await, &lattice()).await.unwrap());
    let other: SharedStore = Arc::new(JetStreamStore::open(&connect(&server).await, &lattice()).await.unwrap());
    let mut watch = other.watch("").await.unwrap();
    assert_eq!(next(&mut watch).await, Change::Ready);
    let revision = one.put(&key("a"), Bytes::from_static(b"1"), Expect::Absent).await.unwrap();
    let record = Record { key: key("a"), value: Bytes::from_static(b"1"), revision };
    assert_eq!(next(&mut watch).await, Change::Put(record.clone()));
    assert_eq!(other.get(&key("a")).await.unwrap(), Some(record));
}

#[tokio::test]
async fn a_watch_starts_again_when_the_server_comes_back() {
    let mut server = NatsServer::with_jetstream().await;
    let store: SharedStore = Arc::new(JetStreamStore::open(&connect(&server).await, &lattice()).await.unwrap());
    store.put(&key("a"), Bytes::from_static(b"1"), Expect::Any).await.unwrap();
    let mut watch = store.watch("").await.unwrap();
    assert!(matches!(next(&mut watch).await, Change::Put(_)));
    assert_eq!(next(&mut watch).await, Change::Ready);
    server.kill();
    server.restart().await;
    assert_eq!(next(&mut watch).await, Change::Restart);
    assert!(matches!(next(&mut watch).await, Change::Put(_)));
    assert_eq!(next(&mut watch).await, Change::Ready);
    eventually("the store takes writes again", async || {
        store.put(&key("b"), Bytes::from_static(b"1"), Expect::Any).await.is_ok()
    })
    .await;
    assert!(matches!(next(&mut watch).await, Change::Put(record) if record.key == key("b")));
}
