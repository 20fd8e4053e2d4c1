//! What a link limits.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::stream;
use http_body::Frame;
use http_body_util::StreamBody;
use tokio::sync::{Semaphore, mpsc};
use trellis_provider_sdk::testing::{as_source, invocation};
use trellis_provider_sdk::{Body, CallError, CallErrorKind};

use crate::support::{Actor, World, link_of};

#[tokio::test(flavor = "multi_thread")]
async fn an_object_over_the_limit_is_refused_and_leaves_what_was_there() {
    for world in [World::folder(), World::s3()] {
        let actor = world.actor("a", &[("max_object_size", "6MiB")]).await;
        actor.create("c").await.unwrap();
        let most = vec![7; 6 << 20];
        actor.put("o", &most).await.unwrap();
        let error = actor.put("o", &vec![8; (6 << 20) + 1]).await.unwrap_err();
        assert!(error.contains("6291456 bytes"), "{error}");
        assert!(actor.get("o").await.unwrap() == most);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_that_may_read_only_reads_only() {
    let world = World::folder();
    let writer = world.actor("w", &[]).await;
    writer.create("c").await.unwrap();
    writer.put("o", b"1").await.unwrap();
    let reader = world.actor("r", &[("read_only", "true")]).await;
    assert_eq!(reader.get("o").await, Ok(Bytes::from_static(b"1")));
    assert_eq!(reader.list(5).await, ["o"]);
    for result in [
        reader.create("d").await.map(drop),
        reader.put("o", b"2").await,
        reader.delete(&["o"]).await,
        reader.clear("c").await,
        reader.delete_container("c").await,
        reader.copy(("c", "o"), ("c", "p")).await,
        reader.rename(("c", "o"), ("c", "p")).await,
    ] {
        assert_eq!(result, Err("access denied: the link may only read".to_owned()));
    }
    assert_eq!(writer.get("o").await, Ok(Bytes::from_static(b"1")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_does_not_come_ends_by_the_deadline() {
    for world in [World::folder(), World::s3()] {
        let mut actor = world.actor("a", &[]).await;
        actor.create("c").await.unwrap();
        actor.budget = Duration::from_millis(200);
        let silent = futures::stream::pending::<Result<http_body::Frame<Bytes>, CallError>>();
        let error = actor.write("c", "o", Body::stream(StreamBody::new(silent))).await.unwrap_err();
        assert_eq!(error.kind, CallErrorKind::Deadline, "{error}");
        actor.budget = Duration::from_secs(20);
        assert_eq!(actor.has("o").await, Ok(false));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_without_a_link_has_no_target() {
    let world = World::folder();
    let call = async |link: &str| {
        let answer =
            world.provider.call(invocation(&link_of(link), "wasi:blobstore/blobstore", "container-exists", &("c",)));
        answer.await.map(drop).map_err(|error| error.kind)
    };
    assert_eq!(call("a").await, Err(CallErrorKind::NoTarget));
    world.link("a", &[]).await.unwrap();
    assert_eq!(call("a").await, Ok(()));
    let wrong = world.link("a", &[("root", "relative")]).await.unwrap_err().to_string();
    assert!(wrong.contains("\"root\"") && wrong.contains("/srv/blobs"), "{wrong}");
    assert_eq!(call("a").await, Err(CallErrorKind::NoTarget), "the old config does not go on");
    let source = as_source(link_of("a"), &[]);
    assert!(world.provider.link_up(&source).await.unwrap_err().to_string().contains("target"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_function_that_is_not_there_is_a_contract_error() {
    let world = World::folder();
    let actor = world.actor("a", &[]).await;
    let error = actor.send::<()>("format-disk", &("c",), Body::Empty).await.unwrap_err();
    assert_eq!(error.kind, CallErrorKind::Contract);
    let error = actor.send::<()>("clear", &(1, 2), Body::Empty).await.unwrap_err();
    assert_eq!(error.kind, CallErrorKind::Contract);
}

#[tokio::test(flavor = "multi_thread")]
async fn eight_objects_are_written_to_a_server_at_once_and_more_wait_within_their_deadlines() {
    let world = World::s3();
    let actor = world.actor("a", &[]).await;
    actor.create("c").await.unwrap();
    let (begins, mut begun) = mpsc::unbounded_channel();
    let finish = Arc::new(Semaphore::new(0));
    let write = |n: usize, actor: &Actor| {
        let (actor, begins, finish) = (actor.clone(), begins.clone(), finish.clone());
        let frame = stream::once(async move {
            begins.send(n).unwrap();
            finish.acquire().await.unwrap().forget();
            Ok::<_, CallError>(Frame::data(Bytes::from_static(b"1")))
        });
        tokio::spawn(async move { actor.write("c", &n.to_string(), Body::stream(StreamBody::new(frame))).await })
    };
    let held: Vec<_> = (0..8).map(|n| write(n, &actor)).collect();
    for _ in 0..8 {
        begun.recv().await.unwrap();
    }
    let mut hasty = actor.clone();
    hasty.budget = Duration::from_secs(1);
    let error = write(8, &hasty).await.unwrap().unwrap_err();
    assert_eq!(error.kind, CallErrorKind::Deadline, "{error}");
    assert!(begun.try_recv().is_err(), "it was not its turn");
    let last = write(9, &actor);
    finish.add_permits(9);
    for written in held.into_iter().chain([last]) {
        written.await.unwrap().unwrap().unwrap();
    }
    assert_eq!(begun.recv().await, Some(9));
    assert_eq!(actor.list(20).await, ["0", "1", "2", "3", "4", "5", "6", "7", "9"]);
}
