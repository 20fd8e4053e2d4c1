//! What holds on a folder and on an S3 server alike.

use std::collections::BTreeSet;
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use trellis_provider_sdk::CallError;

use crate::support::{Actor, World, frames};

macro_rules! on_both {
    ($($test:ident),* $(,)?) => {
        mod on_a_folder {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $test() {
                super::$test(super::World::folder()).await;
            })*
        }
        mod on_s3 {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $test() {
                super::$test(super::World::s3()).await;
            })*
        }
    };
}

on_both!(
    objects_come_back_as_they_were,
    a_piece_of_an_object_is_what_was_asked_for,
    names_come_in_pages_once_each,
    names_of_every_kind_are_kept,
    names_that_lead_elsewhere_are_refused,
    containers_come_and_go,
    objects_are_copied_and_moved,
    what_is_deleted_is_gone,
    an_object_that_breaks_off_leaves_what_was_there,
    links_see_their_own_prefix_and_container,
);

/// An actor with the container `c`.
async fn actor(world: &World) -> Actor {
    let actor = world.actor("a", &[]).await;
    actor.create("c").await.unwrap();
    actor
}

/// Bytes that are not the same anywhere.
fn some(length: usize) -> Vec<u8> {
    let mut state = 0x2545_f491_u32;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state.to_le_bytes()[0]
    };
    (0..length).map(|_| next()).collect()
}

async fn objects_come_back_as_they_were(world: World) {
    let actor = actor(&world).await;
    for length in [0, 1, 300_000, 5 << 20, (11 << 20) + 7, 3] {
        let bytes = some(length);
        actor.put("a/b", &bytes).await.unwrap();
        assert!(actor.get("a/b").await.unwrap() == bytes, "{length} bytes");
        let info = actor.info("a/b").await.unwrap();
        assert_eq!((info.name.as_str(), info.container.as_str(), info.size), ("a/b", "c", length as u64));
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        assert!(info.created_at <= now + 1 && info.created_at + 60 > now, "{info:?}");
    }
    assert_eq!(actor.list(10).await, ["a/b"]);
    for absent in ["b", "a/c", "lost/a/b"] {
        let error = format!("there is no object {absent:?}");
        assert_eq!(actor.get(absent).await, Err(error.clone()));
        assert_eq!(actor.info(absent).await, Err(error));
        assert_eq!(actor.has(absent).await, Ok(false));
    }
    assert_eq!(actor.has("a/b").await, Ok(true));
}

async fn a_piece_of_an_object_is_what_was_asked_for(world: World) {
    let actor = actor(&world).await;
    let bytes = some(600_000);
    actor.put("o", &bytes).await.unwrap();
    actor.put("empty", b"").await.unwrap();
    for (start, end) in [(0, 0), (0, 599_999), (0, u64::MAX), (7, 300_000), (599_999, 599_999), (599_990, 700_000)] {
        let expected = &bytes[start as usize..=(end.min(599_999) as usize)];
        assert!(actor.get_piece("o", start, end).await.unwrap() == expected, "{start}..={end}");
    }
    for (object, start, end) in [("o", 600_000, 600_001), ("o", 900_000, u64::MAX), ("empty", 0, 0), ("empty", 3, 9)] {
        assert_eq!(actor.get_piece(object, start, end).await, Ok(Bytes::new()), "{object} {start}..={end}");
    }
    assert!(actor.get_piece("o", 2, 1).await.unwrap_err().contains("before it starts"));
}

async fn names_come_in_pages_once_each(world: World) {
    let actor = actor(&world).await;
    actor.create("d").await.unwrap();
    assert!(actor.list(5).await.is_empty());
    let mut names = BTreeSet::new();
    for number in 0..23 {
        let name = format!("{}/{number}", ["x", "x/y", "z", "z.z"][number % 4]);
        actor.put(&name, b"1").await.unwrap();
        names.insert(name);
    }
    actor.put_in("d", "other", b"1").await.unwrap();
    for limit in [1, 5, 23, 1_000] {
        let listed = actor.list(limit).await;
        assert_eq!(listed.len(), names.len(), "{limit}: {listed:?}");
        assert_eq!(BTreeSet::from_iter(listed), names);
    }
    let first = actor.page(None, 10).await.unwrap();
    let last = first.names.last().unwrap().as_str();
    actor.delete(&[last]).await.unwrap();
    let rest = actor.page(first.cursor.as_deref(), 1_000).await.unwrap();
    assert_eq!(first.names.len() + rest.names.len(), names.len(), "a name that is gone loses no other");
}

async fn names_of_every_kind_are_kept(world: World) {
    let actor = actor(&world).await;
    let names = "a b|ä/ö|100%|%2e%2e|a%2Fb|x?y#z|...|.hidden/x|a+b|a&b=c|a*|~|-rf|a\\b|日本|'\"<>|[{^`}]";
    let names: Vec<&str> = names.split('|').collect();
    for name in &names {
        actor.put(name, name.as_bytes()).await.unwrap_or_else(|error| panic!("{name}: {error}"));
    }
    for name in &names {
        assert_eq!(actor.get(name).await, Ok(Bytes::copy_from_slice(name.as_bytes())), "{name}");
    }
    assert_eq!(BTreeSet::from_iter(actor.list(7).await), names.iter().map(ToString::to_string).collect());
    actor.delete(&names).await.unwrap();
    assert!(actor.list(7).await.is_empty());
}

async fn names_that_lead_elsewhere_are_refused(world: World) {
    let actor = actor(&world).await;
    actor.create("d").await.unwrap();
    actor.put_in("d", "secret", b"1").await.unwrap();
    let long = "x".repeat(1_025);
    for name in ["", ".", "..", "../d/secret", "a/../../d/secret", "/d", "//", "a//b", "a/", "a\0", "a\nb", &long] {
        let refused = |error: String| assert!(error.starts_with("object name"), "{name}: {error}");
        refused(actor.put(name, b"1").await.unwrap_err());
        refused(actor.get(name).await.unwrap_err());
        refused(actor.has(name).await.unwrap_err());
        refused(actor.info(name).await.unwrap_err());
        refused(actor.delete(&["fine", name]).await.unwrap_err());
        refused(actor.copy(("c", name), ("c", "x")).await.unwrap_err());
        refused(actor.rename(("d", "secret"), ("d", name)).await.unwrap_err());
    }
    for name in ["", ".", "..", "../d", "c/../d", "/", "a/b", ".staging", ".containers", "a\0"] {
        assert!(actor.create(name).await.unwrap_err().starts_with("container name"), "{name}");
        assert!(actor.put_in(name, "o", b"1").await.is_err(), "{name}");
        assert!(actor.delete_container(name).await.is_err(), "{name}");
        assert_eq!(actor.exists(name).await, Ok(false), "{name}");
    }
    assert_eq!(actor.get_in("d", "secret").await, Ok(Bytes::from_static(b"1")));
}

async fn containers_come_and_go(world: World) {
    let actor = world.actor("a", &[]).await;
    let absent = Err("there is no container \"c\"".to_owned());
    assert_eq!(actor.exists("c").await, Ok(false));
    assert_eq!(actor.open("c").await.map(drop), absent);
    assert_eq!(actor.put("o", b"1").await, absent);
    assert_eq!(actor.get("o").await.map(drop), absent);
    assert_eq!(actor.has("o").await.map(drop), absent);
    assert_eq!(actor.page(None, 5).await.map(drop), absent);
    assert_eq!(actor.clear("c").await, absent);
    assert_eq!(actor.delete_container("c").await, Ok(()));

    let created = actor.create("c").await.unwrap();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    assert!(created.name == "c" && created.created_at + 60 > now, "{created:?}");
    actor.put("o", b"1").await.unwrap();
    actor.put("p/q", b"1").await.unwrap();
    assert_eq!(actor.create("c").await.unwrap(), created, "what is there stays");
    assert_eq!((actor.open("c").await, actor.container_info("c").await), (Ok(created.clone()), Ok(created)));
    assert_eq!(actor.list(5).await.len(), 2);

    actor.clear("c").await.unwrap();
    assert!(actor.list(5).await.is_empty());
    assert_eq!(actor.exists("c").await, Ok(true), "an empty container is one");
    actor.put("o", b"2").await.unwrap();
    actor.delete_container("c").await.unwrap();
    assert_eq!(actor.exists("c").await, Ok(false));
    actor.create("c").await.unwrap();
    assert!(actor.list(5).await.is_empty(), "a new one is empty");
}

async fn objects_are_copied_and_moved(world: World) {
    let actor = actor(&world).await;
    actor.create("d").await.unwrap();
    actor.put("o", b"one").await.unwrap();
    actor.put("x/y", b"old").await.unwrap();
    actor.copy(("c", "o"), ("c", "x/y")).await.unwrap();
    actor.copy(("c", "o"), ("d", "deep/er")).await.unwrap();
    actor.copy(("c", "o"), ("c", "o")).await.unwrap();
    for (container, object) in [("c", "o"), ("c", "x/y"), ("d", "deep/er")] {
        assert_eq!(actor.get_in(container, object).await, Ok(Bytes::from_static(b"one")), "{container}/{object}");
    }
    actor.put("o", b"two").await.unwrap();
    actor.rename(("c", "o"), ("d", "deep/er")).await.unwrap();
    assert_eq!(actor.get_in("d", "deep/er").await, Ok(Bytes::from_static(b"two")));
    assert_eq!(actor.has("o").await, Ok(false));
    actor.rename(("d", "deep/er"), ("d", "deep/er")).await.unwrap();
    assert_eq!(actor.get_in("d", "deep/er").await, Ok(Bytes::from_static(b"two")), "onto itself");
    for result in [
        actor.copy(("c", "lost"), ("c", "x")).await,
        actor.rename(("c", "lost"), ("c", "x")).await,
        actor.rename(("c", "lost"), ("c", "lost")).await,
    ] {
        assert_eq!(result, Err("there is no object \"lost\"".to_owned()));
    }
    for result in [actor.copy(("c", "x/y"), ("e", "x")).await, actor.rename(("c", "x/y"), ("e", "x")).await] {
        assert_eq!(result, Err("there is no container \"e\"".to_owned()));
    }
    assert_eq!(actor.list(5).await, ["x/y"]);
}

async fn what_is_deleted_is_gone(world: World) {
    let actor = actor(&world).await;
    for name in ["a/b/c", "a/b/d", "e", "f"] {
        actor.put(name, b"1").await.unwrap();
    }
    actor.delete(&["a/b/c", "lost", "a/lost", "e"]).await.unwrap();
    actor.delete(&["a/b/c"]).await.unwrap();
    actor.delete(&[]).await.unwrap();
    assert_eq!(BTreeSet::from_iter(actor.list(5).await), BTreeSet::from(["a/b/d".to_owned(), "f".to_owned()]));
    assert_eq!(actor.delete(&["a/b/d", "f"]).await, Ok(()));
    assert!(actor.list(5).await.is_empty());
}

async fn an_object_that_breaks_off_leaves_what_was_there(world: World) {
    let actor = actor(&world).await;
    actor.put("o", b"whole").await.unwrap();
    for length in [10, 6 << 20] {
        let broken = frames(vec![Ok(Bytes::from(some(length))), Err(CallError::provider("cut"))]);
        let error = actor.write("c", "o", broken).await.unwrap_err();
        assert_eq!(error.message, "cut");
        let broken = frames(vec![Ok(Bytes::from(some(length))), Err(CallError::provider("cut"))]);
        assert!(actor.write("c", "new", broken).await.is_err());
    }
    assert_eq!(actor.get("o").await, Ok(Bytes::from_static(b"whole")));
    assert_eq!(actor.list(5).await, ["o"]);
}

async fn links_see_their_own_prefix_and_container(world: World) {
    let ours = world.actor("ours", &[("prefix", "ours")]).await;
    let theirs = world.actor("theirs", &[("prefix", "theirs")]).await;
    let narrow = world.actor("narrow", &[("prefix", "ours"), ("container", "c")]).await;
    ours.create("c").await.unwrap();
    ours.create("d").await.unwrap();
    ours.put("o", b"ours").await.unwrap();
    assert_eq!(theirs.exists("c").await, Ok(false));
    theirs.create("c").await.unwrap();
    assert!(theirs.list(5).await.is_empty());
    assert_eq!(narrow.get("o").await, Ok(Bytes::from_static(b"ours")));
    assert_eq!(narrow.exists("d").await, Ok(false));
    assert!(narrow.create("e").await.is_err());
    assert!(narrow.copy(("c", "o"), ("d", "o")).await.is_err());
    theirs.delete_container("c").await.unwrap();
    assert_eq!(ours.list(5).await, ["o"]);
}
