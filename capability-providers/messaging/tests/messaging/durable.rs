//! What durable brokers promise: at least once, in order where asked for, and nothing lost.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::{Mutex, watch};
use trellis_interfaces::messaging::{BrokerMessage, Publish};
use trellis_provider_sdk::CallError;

use crate::bench::{Backend, Bench, text};
use crate::conformance::until;

/// Makes each a test on each durable broker.
macro_rules! on_durable {
    ($($test:ident),+ $(,)?) => {
        on_durable!(@ embedded Embedded: $($test),+);
        on_durable!(@ jetstream JetStream: $($test),+);
    };
    (@ $module:ident $backend:ident: $($test:ident),+) => {
        mod $module {
            $(
                #[tokio::test(flavor = "multi_thread")]
                async fn $test() {
                    super::$test(crate::bench::Backend::$backend).await;
                }
            )+
        }
    };
}

on_durable!(
    a_message_that_failed_comes_again_and_those_behind_it_wait,
    a_message_that_fails_too_often_goes_where_dead_letters_go,
    an_absent_handler_costs_no_message,
    what_came_while_nobody_was_there_is_handled_later,
    what_is_handled_during_a_drain_does_not_come_again,
    an_expected_answer_is_told_with_the_message,
);

async fn a_message_that_failed_comes_again_and_those_behind_it_wait(backend: Backend) {
    let bench = Bench::start(backend);
    let tries: Arc<Mutex<Vec<(String, Instant)>>> = Arc::default();
    let seen = tries.clone();
    let pairs = [("subscriptions", "a.*"), ("order_by", "token:2"), ("backoff", "100ms")];
    bench
        .subscribe("a", &pairs, move |message| {
            let seen = seen.clone();
            async move {
                let mut seen = seen.lock().await;
                seen.push((text(&message), Instant::now()));
                let first = seen.iter().filter(|(body, _)| body == "1").count();
                if text(&message) == "1" && first < 4 { Ok(Err("not yet".into())) } else { Ok(Ok(())) }
            }
        })
        .await;
    let sender = bench.sender_of("a.*").await;
    for (subject, body) in [("a.x", "1"), ("a.x", "2"), ("a.y", "other")] {
        sender.publish(subject, body).await;
    }
    let count = tries.clone();
    until("all were handled", || count.try_lock().is_ok_and(|tries| tries.len() == 6)).await;
    let tries = tries.lock().await;
    let of_x: Vec<_> = tries.iter().filter(|(body, _)| body != "other").collect();
    assert_eq!(of_x.iter().map(|(body, _)| body.as_str()).collect::<Vec<_>>(), ["1", "1", "1", "1", "2"]);
    assert!(tries.iter().position(|(body, _)| body == "other").unwrap() < 5, "another key does not wait");
    for (pair, least) in of_x.windows(2).zip([100, 200, 400]) {
        assert!(pair[1].1 - pair[0].1 >= Duration::from_millis(least), "the pauses grow");
    }
}

async fn a_message_that_fails_too_often_goes_where_dead_letters_go(backend: Backend) {
    let bench = Bench::start(backend);
    let mut dead = bench.collect("undertaker", &[("subscriptions", "dead.*")]).await;
    let tries = Arc::new(AtomicUsize::new(0));
    let (seen, (tx, mut handled)) = (tries.clone(), tokio::sync::mpsc::unbounded_channel());
    let pairs = [
        ("subscriptions", "a"),
        ("backoff", "10ms"),
        ("dead_letter", "dead.a"),
        ("max_deliver", "3"),
        ("max_in_flight", "1"),
    ];
    bench
        .subscribe("a", &pairs, move |message| {
            let (seen, tx) = (seen.clone(), tx.clone());
            async move {
                match text(&message).as_str() {
                    "poison" => {
                        let n = seen.fetch_add(1, Ordering::SeqCst);
                        if n.is_multiple_of(2) { Ok(Err("no".into())) } else { Err(CallError::trap("trapped")) }
                    }
                    _ => {
                        tx.send(text(&message)).unwrap();
                        Ok(Ok(()))
                    }
                }
            }
        })
        .await;
    let sender = bench.sender_of("a,dead.*").await;
    for body in ["poison", "food"] {
        sender.publish("a", body).await;
    }
    let message = dead.next().await;
    assert_eq!((message.subject.as_str(), text(&message).as_str()), ("dead.a", "poison"));
    assert_eq!(handled.recv().await.as_deref(), Some("food"), "the next one has its turn");
    assert_eq!(tries.load(Ordering::SeqCst), 3);
}

async fn an_absent_handler_costs_no_message(backend: Backend) {
    let bench = Bench::start(backend);
    let tries = Arc::new(AtomicUsize::new(0));
    let seen = tries.clone();
    let pairs = [
        ("subscriptions", "a"),
        ("backoff", "10ms"),
        ("max_backoff", "20ms"),
        ("dead_letter", "d"),
        ("max_deliver", "1"),
    ];
    bench
        .subscribe("a", &pairs, move |_| {
            let n = seen.fetch_add(1, Ordering::SeqCst);
            async move {
                match n {
                    0..10 if n.is_multiple_of(2) => Err(CallError::no_target("nobody runs it")),
                    0..10 => Err(CallError::overloaded("no room", Duration::from_millis(1))),
                    _ => Ok(Ok(())),
                }
            }
        })
        .await;
    let mut dead = bench.collect("dead", &[("subscriptions", "d")]).await;
    bench.sender_of("a").await.publish("a", "x").await;
    until("it was handled", || tries.load(Ordering::SeqCst) == 11).await;
    bench.sender_of("a").await.publish("d", "marker").await;
    assert_eq!(dead.bodies(1).await, ["marker"], "it was not given up");
}

async fn what_came_while_nobody_was_there_is_handled_later(backend: Backend) {
    let mut bench = Bench::start(backend);
    let pairs = [("subscriptions", "a"), ("order_by", "subject"), ("max_in_flight", "4")];
    // The first three are never done: the provider is stopped while they are being handled.
    let begun = Arc::new(AtomicUsize::new(0));
    let seen = begun.clone();
    bench
        .subscribe("a", &pairs, move |_| {
            seen.fetch_add(1, Ordering::SeqCst);
            std::future::pending()
        })
        .await;
    let sender = bench.sender_of("a").await;
    for n in 0..10 {
        sender.publish("a", &n.to_string()).await;
    }
    until("the first is being handled", || begun.load(Ordering::SeqCst) == 1).await;
    bench.provider.link_down(&crate::bench::handler_link("a", &pairs)).await;
    bench.restart().await;
    let sender = bench.sender_of("a").await;
    sender.publish("a", "10").await;
    let mut collected = bench.collect("a", &pairs).await;
    let mut bodies: Vec<usize> = Vec::new();
    while bodies.len() < 11 {
        let n = text(&collected.next().await).parse().unwrap();
        // Once more is allowed, out of order is not.
        if !bodies.contains(&n) {
            bodies.push(n);
        }
    }
    assert_eq!(bodies, (0..11).collect::<Vec<_>>(), "all, and in their order");
    bench.restart().await;
    let mut again = bench.collect("a", &pairs).await;
    bench.sender_of("a").await.publish("a", "last").await;
    assert_eq!(again.bodies(1).await, ["last"], "what was handled is done");
}

async fn what_is_handled_during_a_drain_does_not_come_again(backend: Backend) {
    const LINKS: usize = 40;
    // With an order, what comes again comes before all that follows.
    let pairs = |subject| [("subscriptions", subject), ("order_by", "subject")];
    let mut bench = Bench::start(backend);
    let (begun, gate) = (Arc::new(AtomicUsize::new(0)), watch::Sender::new(false));
    let subjects: Vec<String> = (0..LINKS).map(|n| format!("a.{n}")).collect();
    for (n, subject) in subjects.iter().enumerate() {
        let (begun, gate) = (begun.clone(), gate.subscribe());
        let handler = move |_| {
            begun.fetch_add(1, Ordering::SeqCst);
            let mut gate = gate.clone();
            async move {
                gate.wait_for(|is_open| *is_open).await.expect("the test opens it");
                Ok(Ok(()))
            }
        };
        bench.subscribe(&format!("a{n}"), &pairs(subject), handler).await;
    }
    let sender = bench.sender_of("a.*").await;
    for subject in &subjects {
        sender.publish(subject, "before").await;
    }
    until("all are being handled", || begun.load(Ordering::SeqCst) == LINKS).await;
    // All are done at once, and each connection goes as soon as its message is done.
    gate.send_replace(true);
    bench.restart().await;
    let mut collected = Vec::new();
    for (n, subject) in subjects.iter().enumerate() {
        collected.push(bench.collect(&format!("a{n}"), &pairs(subject)).await);
    }
    let sender = bench.sender_of("a.*").await;
    for (subject, collected) in subjects.iter().zip(&mut collected) {
        sender.publish(subject, "after").await;
        assert_eq!(collected.bodies(1).await, ["after"], "what was handled on {subject} is done");
    }
}

async fn an_expected_answer_is_told_with_the_message(backend: Backend) {
    let bench = Bench::start(backend);
    let mut collected = bench.collect("a", &[("subscriptions", "a")]).await;
    let sender = bench.sender_of("a").await;
    let message = BrokerMessage { subject: "a".into(), body: "x".into(), reply_to: Some("answers.here".into()) };
    sender.call::<()>("publish", &Publish { message: message.clone() }).await.unwrap().unwrap();
    assert_eq!(collected.next().await, message);
}
