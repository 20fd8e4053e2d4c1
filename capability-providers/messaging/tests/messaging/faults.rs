//! Servers that die, hang, refuse, or are none.

use std::collections::HashSet;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{Mutex, Semaphore};
use trellis_interfaces::messaging::{BrokerMessage, CONSUMER, Publish};
use trellis_provider_sdk::testing::{Mode, NOISE, Proxy, SmallDisk, invocation};
use trellis_provider_sdk::{CallErrorKind, Context, Health};

use crate::bench::{Backend, Bench, Sender, text};
use crate::server::{Server, free_port};

/// Handles each message and remembers it.
async fn remember(bench: &Bench, pairs: &[(&str, &str)]) -> Arc<Mutex<HashSet<String>>> {
    let handled: Arc<Mutex<HashSet<String>>> = Arc::default();
    let seen = handled.clone();
    bench
        .subscribe("a", pairs, move |message| {
            let seen = seen.clone();
            async move {
                seen.lock().await.insert(text(&message));
                Ok(Ok(()))
            }
        })
        .await;
    handled
}

async fn until_all(handled: &Mutex<HashSet<String>>, sent: &HashSet<String>) {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let missing = sent.difference(&*handled.lock().await).count();
        if missing == 0 {
            return;
        }
        assert!(Instant::now() < deadline, "{missing} of {} are missing", sent.len());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_dies_under_load_loses_nothing_that_jetstream_acknowledged() {
    let mut bench = Bench::start(Backend::JetStream);
    let handled = remember(&bench, &[("subscriptions", "a.*"), ("order_by", "token:2")]).await;
    let sender = bench.sender_of("a.*").await;
    let (publishing, stop) = (sender.clone(), Arc::new(std::sync::atomic::AtomicBool::new(false)));
    let stopped = stop.clone();
    let load = tokio::spawn(async move {
        let (mut sent, mut n) = (HashSet::new(), 0);
        while !stopped.load(std::sync::atomic::Ordering::Relaxed) {
            let body = n.to_string();
            if publishing.try_publish(&format!("a.{}", n % 7), body.as_bytes()).await.is_ok() {
                sent.insert(body);
            }
            n += 1;
        }
        sent
    });
    for _ in 0..2 {
        let before = handled.lock().await.len();
        let deadline = Instant::now() + Duration::from_secs(40);
        while handled.lock().await.len() < before + 50 {
            assert!(Instant::now() < deadline, "it goes on: {}", handled.lock().await.len());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let server = bench.server.as_mut().unwrap();
        server.kill();
        server.start_again();
    }
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    let sent = load.await.unwrap();
    assert!(sent.len() > 100);
    until_all(&handled, &sent).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn core_nats_goes_on_when_the_server_is_back() {
    let mut bench = Bench::start(Backend::Nats);
    let mut collected = bench.collect("a", &[("subscriptions", "a")]).await;
    let sender = bench.sender("sender", &[]).await;
    sender.publish("a", "before").await;
    assert_eq!(collected.bodies(1).await, ["before"]);
    bench.server.as_mut().unwrap().kill();
    let begun = Instant::now();
    let refused = sender.try_publish("a", b"lost").await.expect_err("no server");
    assert!(refused.contains("no nats-server answers") || refused.contains("was lost"), "{refused}");
    assert!(begun.elapsed() < Duration::from_secs(5));
    let refused = sender.request("a", "lost", 4_000).await.expect_err("no server");
    assert!(refused.contains("no nats-server answers"), "{refused}");
    assert!(matches!(bench.provider.health().await, Health::Unhealthy(_)));
    bench.server.as_mut().unwrap().start_again();
    let deadline = Instant::now() + Duration::from_secs(20);
    while collected.waiting() == 0 {
        assert!(Instant::now() < deadline, "nothing arrives");
        let _ = sender.try_publish("a", b"after").await;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(collected.bodies(1).await, ["after"]);
    assert_eq!(bench.provider.health().await, Health::Healthy);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_hangs_ends_calls_by_their_deadline_and_is_seen() {
    for backend in [Backend::Nats, Backend::JetStream] {
        let bench = Bench::start(backend);
        let sender = bench.sender_of("a").await;
        bench.server.as_ref().unwrap().signal("-STOP");
        let message = BrokerMessage { subject: "a".into(), body: "x".into(), reply_to: None };
        if backend == Backend::JetStream {
            let mut call = invocation(&sender.link, CONSUMER, "publish", &Publish { message });
            call.head.context = Context::root(Duration::from_millis(500));
            let begun = Instant::now();
            // The reason comes just before the deadline, or the deadline itself.
            match sender.provider.call(call).await {
                Ok(answer) => {
                    let refused: Result<(), String> = trellis_provider_sdk::testing::value(&answer).unwrap();
                    assert!(refused.expect_err("it hangs").contains("not acknowledged"));
                }
                Err(error) => assert_eq!(error.kind, CallErrorKind::Deadline),
            }
            assert!(begun.elapsed() < Duration::from_secs(2));
        }
        let deadline = Instant::now() + Duration::from_secs(20);
        while bench.provider.health().await == Health::Healthy {
            assert!(Instant::now() < deadline, "nobody notices");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        bench.server.as_ref().unwrap().signal("-CONT");
        while sender.try_publish("a", b"x").await.is_err() {
            assert!(Instant::now() < deadline + Duration::from_secs(20), "it does not recover");
        }
    }
}

/// Publishes until the outcome is `wanted`; each time ends by the deadline of the call.
async fn until_published(sender: &Sender, is_wanted: impl Fn(&Result<(), String>) -> bool) {
    let deadline = Instant::now() + Duration::from_secs(40);
    loop {
        let published = tokio::time::timeout(Duration::from_secs(20), sender.try_publish("a", b"x")).await;
        let published = published.expect("by its deadline");
        if is_wanted(&published) {
            return;
        }
        assert!(Instant::now() < deadline, "{published:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_answers_noise_or_nothing_fails_its_own_calls_and_is_used_again_afterwards() {
    for backend in [Backend::Nats, Backend::JetStream] {
        let bench = Bench::start(backend);
        let proxy = Proxy::to(bench.server.as_ref().unwrap().port()).await;
        let pairs = [("cluster_uris", &*proxy.url("nats")), ("stream_subjects", "a"), ("publish_timeout", "1s")];
        let sender = bench.sender("sender", &pairs).await;
        let neighbour = bench.sender("neighbour", &[("backend", "embedded")]).await;
        for fault in [Mode::Say(NOISE), Mode::Hold] {
            until_published(&sender, Result::is_ok).await;
            proxy.set(fault);
            // What waits only is not lost for one who expects no answer.
            if (backend, fault) != (Backend::Nats, Mode::Hold) {
                until_published(&sender, Result::is_err).await;
            }
            neighbour.publish("elsewhere", "x").await;
            proxy.set(Mode::Pass);
        }
        until_published(&sender, Result::is_ok).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn core_nats_that_is_killed_under_load_refuses_in_time_and_other_links_go_on() {
    let mut bench = Bench::start(Backend::Nats);
    let sender = bench.sender("sender", &[]).await;
    let neighbour = bench.sender("neighbour", &[("backend", "embedded")]).await;
    let stop = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let load: Vec<_> = (0..4)
        .map(|_| {
            let (sender, stop) = (sender.clone(), stop.clone());
            tokio::spawn(async move {
                let mut published = 0;
                while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                    let sent = tokio::time::timeout(Duration::from_secs(20), sender.try_publish("a", b"x")).await;
                    published += u32::from(sent.expect("by its deadline").is_ok());
                }
                published
            })
        })
        .collect();
    for _ in 0..2 {
        until_published(&sender, Result::is_ok).await;
        bench.server.as_mut().unwrap().kill();
        until_published(&sender, Result::is_err).await;
        neighbour.publish("elsewhere", "x").await;
        bench.server.as_mut().unwrap().start_again();
    }
    until_published(&sender, Result::is_ok).await;
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    for task in load {
        assert!(task.await.unwrap() > 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_refuses_messages_until_there_is_room_and_loses_none() {
    let bench = Bench::start(Backend::Embedded);
    let disk = SmallDisk::mount(bench.data.path(), 24);
    // Of another, who makes room later.
    let ballast = bench.data.path().join("ballast");
    std::fs::write(&ballast, vec![0; 12 << 20]).unwrap();
    let (open, handled) = (Arc::new(Semaphore::new(0)), Arc::<Mutex<HashSet<String>>>::default());
    let (gate, seen) = (open.clone(), handled.clone());
    bench
        .subscribe("a", &[("subscriptions", "full.*")], move |message| {
            let (gate, seen) = (gate.clone(), seen.clone());
            async move {
                let _open = gate.acquire().await.expect("it is never closed");
                seen.lock().await.insert(message.subject.clone());
                Ok(Ok(()))
            }
        })
        .await;
    let sender = bench.sender_of("full.*").await;
    let body = vec![b'x'; 256 << 10];
    let mut kept = HashSet::new();
    let refused = loop {
        let subject = format!("full.{}", kept.len());
        match sender.try_publish(&subject, &body).await {
            Ok(()) => assert!(kept.insert(subject)),
            Err(refused) => break refused,
        }
        assert!(kept.len() < 200, "it is never full");
    };
    assert!(!kept.is_empty() && refused.to_lowercase().contains("space"), "{refused}");
    std::fs::remove_file(ballast).unwrap();
    let begun = Instant::now();
    while let Err(refused) = sender.try_publish("full.again", &body).await {
        assert!(begun.elapsed() < Duration::from_secs(40), "{refused}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    kept.insert("full.again".to_owned());
    open.add_permits(Semaphore::MAX_PERMITS);
    until_all(&handled, &kept).await;
    bench.provider.drain(Duration::from_secs(10)).await;
    drop((bench.provider, disk));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_full_refuses_messages_until_there_is_room() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("nats.conf");
    std::fs::write(&config, "jetstream { max_file_store: 2MB, max_memory_store: 2MB }").unwrap();
    let server = Server::start(&["-c", config.to_str().unwrap()]);
    let (bench, url) = (Bench::start(Backend::Embedded), server.url());
    let pairs = [("backend", "jetstream"), ("cluster_uris", url.as_str()), ("stream_subjects", "a")];
    let sender = bench.sender("sender", &pairs).await;
    let neighbour = bench.sender("neighbour", &[]).await;
    let body = vec![b'x'; 256 << 10];
    let mut sent = 0;
    let refused = loop {
        match sender.try_publish("a", &body).await {
            Ok(()) => sent += 1,
            Err(refused) => break refused,
        }
        assert!(sent < 100, "it is never full");
    };
    assert!(sent > 0 && refused.contains("a"), "{refused}");
    neighbour.publish("elsewhere", "x").await;
    let client = async_nats::connect(&url).await.unwrap();
    let stream = async_nats::jetstream::new(client).get_stream("MESSAGES").await.unwrap();
    stream.purge().await.unwrap();
    until_published(&sender, Result::is_ok).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_server_or_refuses_us_fails_the_link_with_the_way_out() {
    let bench = Bench::start(Backend::Embedded);
    for backend in ["jetstream", "nats"] {
        refusals(&bench, backend).await;
    }
}

async fn refusals(bench: &Bench, backend: &str) {
    let try_with = async |url: &str, further: &[(&str, &str)]| {
        let pairs = [&[("subscriptions", "a"), ("backend", backend), ("cluster_uris", url)], further].concat();
        let begun = Instant::now();
        let refused = bench.try_subscribe("a", &pairs, |_| async { Ok(Ok(())) }).await.expect_err(url).to_string();
        assert!(begun.elapsed() < Duration::from_secs(9), "{refused}");
        refused
    };
    let nobody = format!("nats://127.0.0.1:{}", free_port());
    let refused = try_with(&nobody, &[]).await;
    assert!(refused.contains(&nobody[7..]) && refused.contains("cluster_uris"), "{refused}");

    let garbage = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = garbage.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in garbage.incoming().take(3) {
            let mut stream = stream.unwrap();
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n");
            let _ = stream.read(&mut [0; 512]);
        }
    });
    assert!(try_with(&format!("nats://{address}"), &[]).await.contains("no nats-server answers"));

    let guarded = Server::start(&["--user", "ada", "--pass", "right"]);
    let with_password = |password: &str| guarded.url().replace("nats://", &format!("nats://ada:{password}@"));
    let refused = try_with(&with_password("hunter2"), &[]).await;
    assert!(refused.contains("refuses the credentials") && !refused.contains("hunter2"), "{refused}");
    let refused = try_with(&guarded.url(), &[("credentials_file", "/nowhere/nats.creds")]).await;
    assert!(refused.contains("/nowhere/nats.creds"), "{refused}");
    let right = with_password("right");
    let pairs = [("subscriptions", "a"), ("backend", backend), ("cluster_uris", right.as_str())];
    bench.subscribe("a", &pairs, |_| async { Ok(Ok(())) }).await;
    if backend == "nats" {
        return;
    }

    let other =
        [("subscriptions", "a"), ("backend", "jetstream"), ("cluster_uris", right.as_str()), ("stream", "OTHER")];
    let refused = bench.try_subscribe("b", &other, |_| async { Ok(Ok(())) }).await.expect_err("overlaps").to_string();
    assert!(refused.contains("\"stream\""), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_no_stream_keeps_is_refused_and_so_are_requests_for_what_one_keeps() {
    let bench = Bench::start(Backend::JetStream);
    let sender = bench.sender_of("kept.*").await;
    let refused = sender.try_publish("elsewhere", b"x").await.expect_err("no stream");
    assert!(refused.contains("stream_subjects") && refused.contains("elsewhere"), "{refused}");
    let refused = sender.request("kept.x", "?", 1_000).await.expect_err("the stream would answer");
    assert!(refused.contains("MESSAGES"), "{refused}");
}
