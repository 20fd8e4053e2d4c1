//! What actors rely on, whatever the backend of their link: one suite over all of them.

use std::collections::BTreeSet;

use trellis_interfaces::keyvalue::{Error, Swapped, Value};
use trellis_provider_sdk::{CallErrorKind, LinkError};

use crate::support::{Actor, Kind, Store, bytes};

macro_rules! on_every_backend {
    ($($test:ident),* $(,)?) => {
        on_every_backend!(@ embedded Embedded $($test)*);
        on_every_backend!(@ redis Redis $($test)*);
        on_every_backend!(@ nats Nats $($test)*);
    };
    (@ $module:ident $kind:ident $($test:ident)*) => {
        mod $module {
            use crate::support::{Kind, Store};

            $(
                #[tokio::test(flavor = "multi_thread")]
                async fn $test() {
                    super::$test(Store::start(Kind::$kind).await).await;
                }
            )*
        }
    };
}

on_every_backend! {
    what_is_set_is_there_until_it_is_deleted,
    keys_and_buckets_may_be_any_text,
    concurrent_increments_lose_nothing,
    an_increment_that_cannot_be_changes_nothing,
    numbers_have_a_sign_in_the_second_draft,
    a_swap_is_made_only_on_what_was_seen,
    of_concurrent_swaps_one_wins,
    links_see_their_own_prefix_only,
    three_actors_with_three_links_reach_their_own_nine_cells,
    listing_page_by_page_misses_no_key_although_others_go,
    a_page_of_keys_fits_a_frame,
    batches_keep_the_order_of_their_keys,
    what_is_too_large_is_refused_and_changes_nothing,
    wrong_links_and_wrong_calls_are_refused_with_the_reason,
}

async fn what_is_set_is_there_until_it_is_deleted(store: Store) {
    let actor = store.actor("a", &[]).await;
    assert_eq!(actor.get("k").await, Ok(None));
    assert_eq!(actor.open().await, Ok(()));
    for value in ["one", "", "two"] {
        actor.set("k", value.as_bytes()).await.unwrap();
        assert_eq!(actor.get("k").await, Ok(bytes(value)));
        assert_eq!(actor.exists("k").await, Ok(true));
    }
    let binary: Vec<u8> = (0..=255).collect();
    actor.set("k", &binary).await.unwrap();
    assert_eq!(actor.get("k").await, Ok(Some(Value::from(binary))));
    for _ in 0..2 {
        assert_eq!(actor.delete("k").await, Ok(()));
        assert_eq!(actor.exists("k").await, Ok(false));
        assert_eq!(actor.get("k").await, Ok(None));
    }
    actor.set("k", b"again").await.unwrap();
    assert_eq!(actor.get("k").await, Ok(bytes("again")));
}

async fn keys_and_buckets_may_be_any_text(store: Store) {
    let actor = store.actor("a", &[]).await;
    let names = [
        "",
        "a",
        "a.b",
        "a:b",
        "a b",
        "*",
        ">",
        "a*",
        "[a]",
        "\\",
        "ä\u{1F980}",
        "\r\nPUB x",
        "=",
        "=2E",
        "$SYS",
        "%3A",
    ];
    for bucket in names {
        let actor = actor.with_bucket(&format!("x{bucket}"));
        for key in names {
            actor.set(key, format!("{bucket} {key}").as_bytes()).await.unwrap();
        }
    }
    for bucket in names {
        let actor = actor.with_bucket(&format!("x{bucket}"));
        for key in names {
            assert_eq!(actor.get(key).await, Ok(bytes(&format!("{bucket} {key}"))), "{bucket:?} {key:?}");
        }
        let listed: BTreeSet<String> = actor.list_all().await.into_iter().collect();
        assert_eq!(listed, names.iter().map(ToString::to_string).collect(), "{bucket:?}");
    }
}

async fn concurrent_increments_lose_nothing(store: Store) {
    let (one, other) = (store.actor("one", &[]).await, store.actor("other", &[]).await);
    let tasks = (0..32).map(|n| {
        let actor = if n % 2 == 0 { one.clone() } else { other.clone() };
        tokio::spawn(async move {
            let mut seen = Vec::new();
            for _ in 0..20 {
                seen.push(actor.increment("n", 1).await.unwrap());
            }
            seen
        })
    });
    let mut seen = Vec::new();
    for task in tasks.collect::<Vec<_>>() {
        seen.extend(task.await.unwrap());
    }
    seen.sort_unstable();
    assert_eq!(seen, (1..=32 * 20).collect::<Vec<u64>>(), "each number comes once");
    assert_eq!(one.get("n").await, Ok(bytes("640")), "as text");
}

async fn an_increment_that_cannot_be_changes_nothing(store: Store) {
    let actor = store.actor("a", &[]).await;
    for value in ["ten", "", "-1", "18446744073709551615"] {
        actor.set("k", value.as_bytes()).await.unwrap();
        let refused = actor.increment("k", 1).await;
        assert!(matches!(&refused, Err(Error::Other(text)) if text.contains("\"k\"")), "{value:?}: {refused:?}");
        assert_eq!(actor.get("k").await, Ok(bytes(value)));
    }
    actor.set("k", b"41").await.unwrap();
    assert_eq!(actor.increment("k", 1).await, Ok(42));
    assert_eq!(actor.increment("fresh", 7).await, Ok(7));
    actor.set("k", b"9007199254740993").await.unwrap();
    assert_eq!(actor.increment("k", 1).await, Ok(9_007_199_254_740_994), "not by way of a float");
}

async fn numbers_have_a_sign_in_the_second_draft(store: Store) {
    let actor = store.actor("a", &[]).await;
    assert_eq!(actor.increment_by("k", -3).await, Ok(-3));
    assert_eq!(actor.increment_by("k", 5).await, Ok(2));
    assert_eq!(actor.get("k").await, Ok(bytes("2")));
    actor.set("k", i64::MAX.to_string().as_bytes()).await.unwrap();
    assert!(matches!(actor.increment_by("k", 1).await, Err(Error::Other(text)) if text.contains("\"k\"")));
    assert_eq!(actor.get("k").await, Ok(bytes(&i64::MAX.to_string())));
}

async fn a_swap_is_made_only_on_what_was_seen(store: Store) {
    let actor = store.actor("a", &[]).await;
    assert_eq!(actor.snapshot("k").await, Ok(None));
    assert_eq!(actor.swap("k", None, b"first").await, Ok(Swapped::Done));
    let seen = actor.snapshot("k").await.unwrap().expect("it is there");
    assert_eq!(&seen.value[..], b"first");
    let Ok(Swapped::Stale(Some(now))) = actor.swap("k", None, b"second").await else { panic!("something is there") };
    assert_eq!(now, seen, "what is there comes back, to try again with");
    assert_eq!(actor.swap("k", Some(&now), b"second").await, Ok(Swapped::Done));
    let Ok(Swapped::Stale(Some(now))) = actor.swap("k", Some(&seen), b"third").await else { panic!("it was changed") };
    assert_eq!(&now.value[..], b"second");
    actor.delete("k").await.unwrap();
    assert_eq!(actor.swap("k", Some(&now), b"third").await, Ok(Swapped::Stale(None)));
    assert_eq!(actor.get("k").await, Ok(None));
    assert_eq!(actor.snapshot("k").await, Ok(None));
    assert_eq!(actor.swap("k", None, b"").await, Ok(Swapped::Done), "what was deleted is not there");
    let empty = actor.snapshot("k").await.unwrap().expect("an empty value is one");
    assert!(matches!(actor.swap("k", None, b"x").await, Ok(Swapped::Stale(Some(_)))));
    assert_eq!(actor.swap("k", Some(&empty), b"x").await, Ok(Swapped::Done));
}

async fn of_concurrent_swaps_one_wins(store: Store) {
    let actor = store.actor("a", &[]).await;
    let tasks = (0..16).map(|n: u32| {
        let actor = actor.clone();
        tokio::spawn(async move {
            for _ in 0..10 {
                let mut seen = actor.snapshot("k").await.unwrap();
                loop {
                    let mut text = seen.as_ref().map(|seen| seen.value.to_vec()).unwrap_or_default();
                    text.extend(format!("{n} ").bytes());
                    match actor.swap("k", seen.as_ref(), &text).await.unwrap() {
                        Swapped::Done => break,
                        Swapped::Stale(now) => seen = now,
                    }
                }
            }
        })
    });
    for task in tasks.collect::<Vec<_>>() {
        task.await.unwrap();
    }
    let text = actor.get("k").await.unwrap().unwrap();
    let mut words: Vec<u32> =
        std::str::from_utf8(&text).unwrap().split_whitespace().map(|word| word.parse().unwrap()).collect();
    words.sort_unstable();
    assert_eq!(words, (0..16).flat_map(|n| [n; 10]).collect::<Vec<_>>(), "none is lost");
}

async fn links_see_their_own_prefix_only(store: Store) {
    let shared = store.actor("shared", &[]).await;
    let also_shared = store.actor("also-shared", &[]).await;
    let orders = store.actor("orders", &[("prefix", "orders")]).await;
    let pinned = store.actor("pinned", &[("bucket", "other")]).await;
    shared.set("k", b"shared").await.unwrap();
    assert_eq!(also_shared.get("k").await, Ok(bytes("shared")));
    assert_eq!(orders.get("k").await, Ok(None));
    assert_eq!(orders.list(None).await.keys, Vec::<String>::new());
    orders.set("k", b"orders").await.unwrap();
    assert_eq!(shared.get("k").await, Ok(bytes("shared")));
    assert_eq!(pinned.get("k").await, Err(Error::NoSuchStore));
    let stranger = Actor { link: Actor::link_of("stranger"), ..shared.clone() };
    let refused = stranger.try_call::<()>(("wasi:keyvalue/store@0.2.0-draft", "get"), &("b", "k"), BUDGET).await;
    assert_eq!(refused.expect_err("no link").kind, CallErrorKind::NoTarget);
    store.provider.link_down(&Actor::active("shared", &[])).await;
    let gone = shared.try_call::<()>(("wasi:keyvalue/store@0.2.0-draft", "get"), &("b", "k"), BUDGET).await;
    assert_eq!(gone.expect_err("link is gone").kind, CallErrorKind::NoTarget);
}

const BUDGET: std::time::Duration = std::time::Duration::from_secs(10);

/// Each actor names each bucket that there is, by every spelling: only its own answer.
async fn three_actors_with_three_links_reach_their_own_nine_cells(store: Store) {
    let mut actors = Vec::new();
    for (name, prefix) in [("a", "p"), ("b", "p/q"), ("c", "p.q")] {
        actors.push((prefix, store.actor(name, &[("prefix", prefix)]).await));
    }
    for (prefix, actor) in &actors {
        for bucket in ["one", "two", "three"] {
            actor.with_bucket(bucket).set("k", format!("{prefix} {bucket}").as_bytes()).await.unwrap();
        }
    }
    for (own, actor) in &actors {
        for (other, _) in &actors {
            for bucket in ["one", "two", "three"] {
                let spellings = ["/", ":", ".", "\u{1}", "=2E", "%3A"].map(|by| format!("{other}{by}{bucket}"));
                let ups = ["../", "..:", ".", ":", "*"].map(|up| format!("{up}{other}/{bucket}"));
                for spelling in spellings.iter().chain(&ups) {
                    let found = actor.with_bucket(spelling).get("k").await;
                    assert!(matches!(found, Ok(None)), "{own} reaches {spelling:?}: {found:?}");
                }
            }
        }
        for bucket in ["one", "two", "three"] {
            let actor = actor.with_bucket(bucket);
            assert_eq!(actor.get("k").await, Ok(bytes(&format!("{own} {bucket}"))));
            assert_eq!(actor.list_all().await, ["k"]);
        }
    }
}

async fn listing_page_by_page_misses_no_key_although_others_go(store: Store) {
    let actor = store.actor("a", &[]).await;
    let name = |n: usize| format!("key-{n}");
    for chunk in (0..2_500).collect::<Vec<_>>().chunks(500) {
        let key_values = chunk.iter().map(|&n| (name(n), Value::from_static(b"v"))).collect();
        actor.set_many(key_values).await.unwrap();
    }
    let (mut listed, mut cursor, mut pages) = (BTreeSet::new(), None, 0);
    loop {
        let page = actor.list(cursor).await;
        // A caller that empties a bucket deletes what it was shown before it asks for more.
        actor.delete_many(page.keys.clone()).await.unwrap();
        listed.extend(page.keys);
        (cursor, pages) = (page.cursor, pages + 1);
        if cursor.is_none() {
            break;
        }
    }
    assert!(pages > 1);
    assert_eq!(listed, (0..2_500).map(name).collect::<BTreeSet<_>>());
    assert_eq!(actor.list_all().await, Vec::<String>::new());
    assert_eq!(actor.exists("key-0").await, Ok(false));
}

async fn a_page_of_keys_fits_a_frame(store: Store) {
    let actor = store.actor("a", &[]).await;
    let key_values = (0..1_000).map(|n| (format!("{n:01000}"), Value::new())).collect();
    actor.set_many(key_values).await.unwrap();
    let (mut cursor, mut count) = (None, 0);
    loop {
        let page = actor.list(cursor).await;
        assert!(page.keys.iter().map(String::len).sum::<usize>() < 500 << 10);
        count += page.keys.len();
        cursor = page.cursor;
        if cursor.is_none() {
            break;
        }
    }
    assert_eq!(count, 1_000);
}

async fn batches_keep_the_order_of_their_keys(store: Store) {
    let actor = store.actor("a", &[]).await;
    let pairs = [("x", "0"), ("y", "2"), ("x", "1")];
    let key_values = pairs.map(|(key, value)| (key.to_owned(), Value::from_static(value.as_bytes()))).to_vec();
    actor.set_many(key_values).await.unwrap();
    let expected = vec![Some(("y".to_owned(), "2".into())), None, Some(("x".to_owned(), "1".into()))];
    assert_eq!(actor.get_many(&["y", "none", "x"]).await, Ok(expected), "of one key the last value counts");
    actor.delete_many(["y", "none"].map(str::to_owned).to_vec()).await.unwrap();
    assert_eq!(actor.get_many(&["y", "x"]).await, Ok(vec![None, Some(("x".to_owned(), "1".into()))]));
    assert_eq!(actor.get_many(&[]).await, Ok(Vec::new()));
    actor.set_many(Vec::new()).await.unwrap();
    actor.delete_many(Vec::new()).await.unwrap();
}

async fn what_is_too_large_is_refused_and_changes_nothing(store: Store) {
    let actor = store.actor("a", &[]).await;
    // The messages of a nats-server have 1 MiB.
    let largest = if store.kind == Kind::Nats { 1_000 << 10 } else { 8 << 20 };
    let large = vec![7; largest];
    actor.set("k", &large).await.unwrap();
    assert_eq!(actor.get("k").await.unwrap().map(|value| value.len()), Some(largest));
    for too_large in [largest + (30 << 10), (8 << 20) + 1] {
        let over = actor.set("k", &vec![8; too_large]).await;
        assert!(matches!(&over, Err(Error::Other(text)) if text.contains("limit")) || too_large < 8 << 20, "{over:?}");
    }
    let over = actor.set("k", &vec![7; (8 << 20) + 1]).await;
    assert!(matches!(over, Err(Error::Other(text)) if text.contains("8388608")));
    assert_eq!(actor.get("k").await.unwrap().map(|value| value.len()), Some(largest));
    let long = "k".repeat(1_025);
    assert!(matches!(actor.set(&long, b"v").await, Err(Error::Other(text)) if text.contains("1024")));
    let longest = "k".repeat(1_024);
    actor.set(&longest, b"v").await.unwrap();
    assert_eq!(actor.list(None).await.keys.len(), 2);
    let keys: Vec<String> = (0..(8 << 20) / largest).map(|n| format!("more-{n}")).collect();
    for key in &keys {
        actor.set(key, &large).await.unwrap();
    }
    let mut names: Vec<&str> = keys.iter().map(String::as_str).collect();
    names.push("k");
    assert!(matches!(actor.get_many(&names).await, Err(Error::Other(_))), "an answer has a limit as well");
}

async fn wrong_links_and_wrong_calls_are_refused_with_the_reason(store: Store) {
    let actor = store.actor("a", &[]).await;
    let wrong = store.with_config(&[("prefix", "a b")], |pairs| Actor::active("a", pairs));
    let error = store.provider.link_up(&wrong).await.expect_err("config");
    assert!(matches!(&error, LinkError::Config { key, .. } if key == "prefix"), "{error}");
    let down = actor.try_call::<()>(("wasi:keyvalue/store@0.2.0-draft", "get"), &("b", "k"), BUDGET).await;
    assert_eq!(down.expect_err("the link is down now").kind, CallErrorKind::NoTarget);
    let actor = store.actor("a", &[]).await;
    for (interface, function) in [
        ("wasi:keyvalue/store@0.2.0-draft", "drop"),
        ("wasi:keyvalue/atomics@0.2.0-draft", "get"),
        ("wasi:keyvalue/atomics@0.2.0-draft", "swap"),
        ("wasi:keyvalue/atomics@0.2.0-draft2", "get"),
        ("wasi:keyvalue/batch@0.2.0-draft", "x"),
        ("wasi:keyvalue/watcher", "on-set"),
    ] {
        let wrong = actor.try_call::<()>((interface, function), &"x", BUDGET).await.expect_err(function);
        assert_eq!(wrong.kind, CallErrorKind::Contract, "{wrong}");
    }
    let malformed = actor.try_call::<()>(("wasi:keyvalue/store@0.2.0-draft", "get"), &("b", 7), BUDGET).await;
    assert_eq!(malformed.expect_err("no key").kind, CallErrorKind::Contract);
}
