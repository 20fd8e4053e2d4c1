//! An S3 server that is away, slow, or not what it should be.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use trellis_provider_sdk::testing::{Mode, NOISE, Proxy};
use trellis_provider_sdk::{Body, CallErrorKind};

use crate::support::{SECRET, Server, World, until};

/// Far more than the calls have that are to end by their deadline.
const IN_TIME: Duration = Duration::from_secs(20);

/// Accepts connections and does this with them; where it listens.
async fn listen<F>(serve: impl Fn(TcpStream) -> F + Send + 'static) -> SocketAddr
where
    F: Future<Output = std::io::Result<()>> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            tokio::spawn(serve(socket));
        }
    });
    address
}

/// Between client and `server`; after so many bytes of answers on a connection nothing more comes.
async fn stalling(server: SocketAddr, after_bytes: u64) -> SocketAddr {
    listen(move |mut client| async move {
        let mut server = TcpStream::connect(server).await?;
        let (mut from_client, mut to_client) = client.split();
        let (from_server, mut to_server) = server.split();
        let answers = async {
            copy(&mut from_server.take(after_bytes), &mut to_client).await?;
            std::future::pending::<std::io::Result<u64>>().await
        };
        tokio::try_join!(copy(&mut from_client, &mut to_server), answers).map(drop)
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_fail_while_the_server_is_away_and_work_when_it_is_back() {
    let mut world = World::s3();
    let actor = world.actor("a", &[]).await;
    actor.create("c").await.unwrap();
    actor.put("o", b"kept").await.unwrap();
    world.server.as_mut().unwrap().kill();

    let begun = Instant::now();
    let error = actor.read("c", "o", 0, 9).await.unwrap_err();
    assert_eq!(error.kind, CallErrorKind::Provider, "{error}");
    assert!(error.message.contains("cannot be reached") && error.message.contains("http://127.0.0.1"), "{error}");
    assert!(actor.write("c", "p", Body::from(Bytes::from_static(b"1"))).await.is_err());
    assert!(begun.elapsed() < Duration::from_secs(20));
    let unreachable = world.link("b", &[]).await.unwrap_err().to_string();
    assert!(unreachable.contains("cannot be reached") || unreachable.contains("did not answer"), "{unreachable}");

    world.server.as_mut().unwrap().restart();
    until("the object is read again", async || match actor.read("c", "o", 0, 9).await {
        Ok(read) => {
            assert_eq!(read, Ok(Bytes::from_static(b"kept")));
            Ok(())
        }
        Err(error) => Err(error.to_string()),
    })
    .await;
    world.link("b", &[]).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_dies_under_load_loses_no_object_that_was_answered() {
    let mut world = World::s3();
    let actor = world.actor("a", &[]).await;
    actor.create("c").await.unwrap();
    let writers: Vec<_> = (0..4)
        .map(|writer| {
            let actor = actor.clone();
            tokio::spawn(async move {
                let mut answered = Vec::new();
                for number in 0..12 {
                    let name = format!("{writer}/{number}");
                    let bytes = vec![writer as u8; 6 << 20];
                    if matches!(actor.write("c", &name, crate::support::body(&bytes)).await, Ok(Ok(()))) {
                        answered.push(name);
                    }
                }
                answered
            })
        })
        .collect();
    until("some are written", async || {
        let listed = actor.page(None, 10).await.unwrap().names.len();
        if listed > 2 { Ok(()) } else { Err(listed.to_string()) }
    })
    .await;
    let server = world.server.as_mut().unwrap();
    server.kill();
    until("a call notices", async || match actor.read("c", "0/0", 0, 9).await {
        Err(_) => Ok(()),
        Ok(read) => Err(format!("{read:?}")),
    })
    .await;
    server.restart();
    let mut answered = Vec::new();
    for writer in writers {
        answered.extend(writer.await.unwrap());
    }
    assert!(answered.len() > 10, "it went on afterwards: {answered:?}");
    for name in answered {
        assert_eq!(actor.get(&name).await.unwrap().len(), 6 << 20, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_credentials_fail_the_link_and_name_the_key_but_not_its_secret() {
    let world = World::s3();
    for wrong in [("secret_access_key", "wrong-secret-1234"), ("access_key_id", "AKIDOTHER")] {
        let error = world.link("a", &[wrong]).await.unwrap_err().to_string();
        assert!(error.contains("access_key_id"), "{error}");
        assert!(!error.contains("wrong-secret") && !error.contains(SECRET), "{error}");
    }
    let error = world.link("a", &[("bucket", "other-bucket")]).await.unwrap_err().to_string();
    assert!(error.contains("\"other-bucket\""), "{error}");
    world.link("a", &[]).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_says_nothing_fails_calls_by_their_deadline_and_leaves_other_links_alone() {
    let world = World::s3();
    let well = world.actor("well", &[]).await;
    well.create("c").await.unwrap();
    well.put("o", &vec![5; 2 << 20]).await.unwrap();
    let slow = stalling(world.server.as_ref().unwrap().address(), 1 << 20).await;
    let mut actor = world.actor("slow", &[("endpoint", &format!("http://{slow}"))]).await;
    actor.budget = Duration::from_millis(700);
    let begun = Instant::now();
    let error = actor.read("c", "o", 0, u64::MAX).await.unwrap_err();
    assert_eq!(error.kind, CallErrorKind::Deadline, "in the middle of the object: {error}");
    assert!(begun.elapsed() < Duration::from_secs(5));
    assert_eq!(well.get("o").await.unwrap().len(), 2 << 20);

    let mute = listen(|socket| async move {
        let _held = socket;
        std::future::pending().await
    })
    .await;
    let error = world.link("mute", &[("endpoint", &format!("http://{mute}"))]).await.unwrap_err().to_string();
    assert!(error.contains("did not answer in 5 s"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_answers_garbage_is_named() {
    for garbage in
        ["\0\0\0\0garbage", "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n<List><<<", "HTTP/1.1 500 No\r\n\r\n"]
    {
        let world = World::s3();
        let address = listen(move |mut socket| async move {
            let asked_bytes = socket.read(&mut [0; 4_096]).await?;
            assert!(asked_bytes > 0);
            socket.write_all(garbage.as_bytes()).await
        })
        .await;
        let url = format!("http://{address}");
        let error = world.link("a", &[("endpoint", &url)]).await.unwrap_err().to_string();
        assert!(error.contains(&url), "{garbage:?}: {error}");
    }
}

/// The answer of a server that has no room left.
const FULL: &[u8] = b"HTTP/1.1 507 Insufficient Storage\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_full_or_begins_to_answer_garbage_fails_calls_and_is_used_again_afterwards() {
    let world = World::s3();
    let well = world.actor("well", &[]).await;
    well.create("c").await.unwrap();
    let proxy = Proxy::to(world.server.as_ref().unwrap().address().port()).await;
    let mut actor = world.actor("a", &[("endpoint", &proxy.url("http"))]).await;
    actor.budget = Duration::from_secs(5);
    for answer in [FULL, NOISE] {
        actor.put("o", b"kept").await.unwrap();
        proxy.set(Mode::Say(answer));
        let written = timeout(IN_TIME, actor.write("c", "o", Body::from(Bytes::from_static(b"lost"))));
        let error = written.await.expect("by its deadline").unwrap_err();
        assert!(matches!(error.kind, CallErrorKind::Provider | CallErrorKind::Deadline), "{error}");
        let error = timeout(IN_TIME, actor.read("c", "o", 0, 9)).await.expect("by its deadline").unwrap_err();
        assert!(matches!(error.kind, CallErrorKind::Provider | CallErrorKind::Deadline), "{error}");
        well.put("p", b"elsewhere").await.unwrap();
        proxy.set(Mode::Pass);
        until("it is used again", async || match actor.read("c", "o", 0, 9).await {
            Ok(read) => {
                assert_eq!(read, Ok(Bytes::from_static(b"kept")), "what failed changed nothing");
                Ok(())
            }
            Err(error) => Err(error.to_string()),
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_is_taken_back_fails_calls_until_it_is_right_again() {
    let mut world = World::s3();
    let actor = world.actor("a", &[]).await;
    let folder = world.data.path().to_str().unwrap().to_owned();
    let other = world.actor("other", &[("backend", "fs"), ("root", &folder)]).await;
    actor.create("c").await.unwrap();
    other.create("c").await.unwrap();
    actor.put("o", b"kept").await.unwrap();
    world.server.as_mut().unwrap().restart_with("another-secret-9e1b");
    until("it is told", async || match actor.read("c", "o", 0, 9).await {
        Err(error) if error.message.contains("refuses the access key") => {
            assert!(!error.message.contains(SECRET), "{error}");
            Ok(())
        }
        other => Err(format!("{other:?}")),
    })
    .await;
    other.put("o", b"elsewhere").await.unwrap();
    world.server.as_mut().unwrap().restart_with(SECRET);
    until("it is read again", async || actor.read("c", "o", 0, 9).await.map(drop).map_err(|error| error.to_string()))
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_others_put_into_the_bucket_is_there() {
    let world = World::s3();
    let actor = world.actor("a", &[]).await;
    // A bucket that was filled without a word about containers.
    let server: &Server = world.server.as_ref().unwrap();
    server.fill("photos/2026/a.jpg", b"jpeg");
    assert_eq!(actor.exists("photos").await, Ok(true));
    assert_eq!(actor.get_in("photos", "2026/a.jpg").await, Ok(Bytes::from_static(b"jpeg")));
    actor.put_in("photos", "b.jpg", b"1").await.unwrap();
    actor.delete_container("photos").await.unwrap();
    assert_eq!(actor.exists("photos").await, Ok(false));
}
