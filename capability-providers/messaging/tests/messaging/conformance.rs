//! What is the same on every broker.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::{Mutex, Semaphore};
use trellis_interfaces::messaging::{BrokerMessage, CONSUMER, Publish, Request};
use trellis_provider_sdk::testing::{as_source, invocation, link};
use trellis_provider_sdk::{CallErrorKind, Context};

use crate::bench::{Backend, Bench, handler_link, text};

/// Makes each a test on each broker.
macro_rules! on_each {
    ($($test:ident),+ $(,)?) => {
        on_each!(@ embedded Embedded: $($test),+);
        on_each!(@ nats Nats: $($test),+);
        on_each!(@ jetstream JetStream: $($test),+);
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

on_each!(
    patterns_choose_what_is_handed_over,
    a_group_shares_and_others_get_all,
    a_request_is_answered,
    what_nobody_answers_fails_by_its_time,
    subjects_that_are_not_allowed_are_refused,
    no_more_are_handled_at_once_than_allowed,
    those_with_one_key_are_handled_in_order,
    bodies_of_any_size_up_to_the_limit,
    without_a_link_nothing_goes,
    a_subject_is_transformed_without_code,
    a_link_that_changes_hands_over_what_it_says_now,
);

async fn patterns_choose_what_is_handed_over(backend: Backend) {
    let bench = Bench::start(backend);
    let mut collected = bench.collect("a", &[("subscriptions", "orders.*.new, pay.>")]).await;
    let sender = bench.sender_of("orders.>,pay.>,pay,other").await;
    let subjects = ["orders.1.new", "orders.new", "orders.1.old", "pay", "pay.x", "pay.x.y", "other", "orders.2.new"];
    for subject in subjects {
        sender.publish(subject, subject).await;
    }
    let mut bodies = collected.bodies(4).await;
    bodies.sort_unstable();
    assert_eq!(bodies, ["orders.1.new", "orders.2.new", "pay.x", "pay.x.y"]);
    assert_eq!(collected.waiting(), 0);
}

async fn a_group_shares_and_others_get_all(backend: Backend) {
    let bench = Bench::start(backend);
    let shared = [("subscriptions", "a.*"), ("queue_group", "workers")];
    let (counts, mut all) =
        (Arc::new(Mutex::new(HashMap::new())), bench.collect("all", &[("subscriptions", "a.*")]).await);
    for name in ["one", "two"] {
        let counts = counts.clone();
        bench
            .subscribe(name, &shared, move |message| {
                let counts = counts.clone();
                async move {
                    *counts.lock().await.entry(text(&message)).or_insert(0) += 1;
                    Ok(Ok(()))
                }
            })
            .await;
    }
    let sender = bench.sender_of("a.*").await;
    for n in 0..40 {
        sender.publish("a.b", &n.to_string()).await;
    }
    let mut bodies: Vec<u32> = all.bodies(40).await.iter().map(|body| body.parse().unwrap()).collect();
    bodies.sort_unstable();
    assert_eq!(bodies, (0..40).collect::<Vec<_>>());
    let deadline = Instant::now() + Duration::from_secs(20);
    while counts.lock().await.len() < 40 {
        assert!(Instant::now() < deadline, "{:?}", counts.lock().await);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(counts.lock().await.values().all(|&count| count == 1), "each message to one of the group");
}

async fn a_request_is_answered(backend: Backend) {
    let bench = Bench::start(backend);
    let answerer = bench.sender("answerer", &[]).await;
    let pairs = [&[("subscriptions", "ask.*"), ("order_by", "subject")][..], &bench.for_requests()].concat();
    bench
        .subscribe("handler", &pairs, move |message| {
            let answerer = answerer.clone();
            async move {
                let reply_to = message.reply_to.clone().expect("an answer is expected");
                answerer.publish(&reply_to, &format!("you said {}", text(&message))).await;
                Ok(Ok(()))
            }
        })
        .await;
    let sender = bench.sender("sender", &[("publish", "ask.*")]).await;
    let requests = (0..50).map(|n| {
        let sender = sender.clone();
        tokio::spawn(async move { sender.request("ask.me", &n.to_string(), 10_000).await })
    });
    for (n, request) in requests.collect::<Vec<_>>().into_iter().enumerate() {
        assert_eq!(text(&request.await.unwrap().unwrap()), format!("you said {n}"));
    }
}

async fn what_nobody_answers_fails_by_its_time(backend: Backend) {
    let bench = Bench::start(backend);
    let sender = bench.sender("sender", &[]).await;
    let begun = Instant::now();
    let refused = sender.request("ask.me", "?", 8_000).await.expect_err("nobody is subscribed");
    assert!(refused.contains("nobody is subscribed to \"ask.me\""), "{refused}");
    assert!(begun.elapsed() < Duration::from_secs(4), "at once");

    let pairs = [&[("subscriptions", "ask.*")][..], &bench.for_requests()].concat();
    let mut asked = bench.collect("silent", &pairs).await;
    let refused = sender.request("ask.me", "?", 100).await.expect_err("nobody answers");
    assert!(refused.contains("100ms"), "{refused}");
    assert_eq!(text(&asked.next().await), "?");

    let request = Request { subject: "ask.me".into(), body: "?".into(), timeout_ms: 60_000 };
    let mut call = invocation(&sender.link, CONSUMER, "request", &request);
    call.head.context = Context::root(Duration::from_millis(100));
    let late = sender.provider.call(call).await.expect_err("the caller's time is over");
    assert_eq!(late.kind, CallErrorKind::Deadline);
}

async fn subjects_that_are_not_allowed_are_refused(backend: Backend) {
    let bench = Bench::start(backend);
    let sender = bench.sender("sender", &[("publish", "mine.>"), ("stream_subjects", "mine.>")]).await;
    for bad in [
        "",
        "mine.*",
        "mine.>",
        "mine..x",
        "mine.a b",
        "mine.x\r\nPUB y",
        "$JS.API.INFO",
        "wasmbus.ctl.v1.x",
        "other.x",
    ] {
        let refused = sender.try_publish(bad, b"x").await.expect_err(bad);
        assert!(refused.contains("subject"), "{refused}");
        assert!(sender.request(bad, "x", 1_000).await.expect_err(bad).contains("subject"));
    }
    let message = BrokerMessage { subject: "mine.x".into(), body: "x".into(), reply_to: Some("wasmbus.x".into()) };
    let refused = sender.call::<()>("publish", &Publish { message }).await.unwrap().expect_err("a reserved reply");
    assert!(refused.contains("reserved"), "{refused}");
    sender.publish("mine.x", "x").await;
}

async fn no_more_are_handled_at_once_than_allowed(backend: Backend) {
    let bench = Bench::start(backend);
    let (running, most, gate) =
        (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)), Arc::new(Semaphore::new(0)));
    let done = Arc::new(AtomicUsize::new(0));
    let (seen, opened, over) = (most.clone(), gate.clone(), done.clone());
    bench
        .subscribe("slow", &[("subscriptions", "a"), ("max_in_flight", "3")], move |_| {
            let (running, seen, opened, over) = (running.clone(), seen.clone(), opened.clone(), over.clone());
            async move {
                seen.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                opened.acquire().await.expect("open").forget();
                running.fetch_sub(1, Ordering::SeqCst);
                over.fetch_add(1, Ordering::SeqCst);
                Ok(Ok(()))
            }
        })
        .await;
    let sender = bench.sender_of("a").await;
    for n in 0..20 {
        sender.publish("a", &n.to_string()).await;
    }
    until("three are handled at once", || most.load(Ordering::SeqCst) == 3).await;
    gate.add_permits(100);
    until("all are handled", || done.load(Ordering::SeqCst) == 20).await;
    assert_eq!(most.load(Ordering::SeqCst), 3);
}

async fn those_with_one_key_are_handled_in_order(backend: Backend) {
    let bench = Bench::start(backend);
    let handled: Arc<Mutex<HashMap<String, Vec<usize>>>> = Arc::default();
    let seen = handled.clone();
    bench
        .subscribe("ordered", &[("subscriptions", "a.*"), ("order_by", "token:2")], move |message| {
            let seen = seen.clone();
            async move {
                let n: usize = text(&message).parse().unwrap();
                // The first ones are the slowest: without order the later ones would overtake them.
                tokio::time::sleep(Duration::from_millis(20 - n as u64 / 2)).await;
                seen.lock().await.entry(message.subject).or_default().push(n);
                Ok(Ok(()))
            }
        })
        .await;
    let sender = bench.sender_of("a.*").await;
    for n in 0..40 {
        sender.publish(&format!("a.{}", n % 5), &n.to_string()).await;
    }
    let deadline = Instant::now() + Duration::from_secs(30);
    while handled.lock().await.values().map(Vec::len).sum::<usize>() < 40 {
        assert!(Instant::now() < deadline, "{:?}", handled.lock().await);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    for (subject, order) in handled.lock().await.iter() {
        assert!(order.is_sorted(), "{subject}: {order:?}");
    }
}

async fn bodies_of_any_size_up_to_the_limit(backend: Backend) {
    let bench = Bench::start(backend);
    let mut collected = bench.collect("a", &[("subscriptions", "a")]).await;
    let sender = bench.sender_of("a").await;
    for size in [0, 1, 900 << 10] {
        sender.try_publish("a", &vec![7; size]).await.unwrap();
        assert_eq!(collected.next().await.body, vec![7; size]);
    }
    let refused = sender.try_publish("a", &vec![7; (1 << 20) + 1]).await.expect_err("too large");
    assert!(refused.contains("1048577") && refused.contains("1048576"), "{refused}");
}

async fn without_a_link_nothing_goes(backend: Backend) {
    let bench = Bench::start(backend);
    let sender = bench.sender("sender", &[]).await;
    let stranger = link("stranger", "messaging", &["wasmcloud:messaging/consumer"]);
    let message = BrokerMessage { subject: "a".into(), body: "x".into(), reply_to: None };
    let publish = Publish { message };
    let refused = bench.provider.call(invocation(&stranger, CONSUMER, "publish", &publish)).await.expect_err("no link");
    assert_eq!(refused.kind, CallErrorKind::NoTarget);
    for (interface, function) in [(CONSUMER, "subscribe"), ("wasmcloud:messaging/handler@0.2.0", "publish")] {
        let wrong = bench.provider.call(invocation(&sender.link, interface, function, &publish)).await;
        assert_eq!(wrong.expect_err("is not served").kind, CallErrorKind::Contract);
    }
    let wrong = bench.provider.call(invocation(&sender.link, CONSUMER, "publish", &7)).await.expect_err("no message");
    assert_eq!(wrong.kind, CallErrorKind::Contract);
    let wrong = as_source(link("messaging", "a", &["wasmcloud:messaging/consumer"]), &[("subscriptions", "a")]);
    assert!(bench.provider.link_up(&wrong).await.is_err(), "a handler is called by `handler`");
}

async fn a_subject_is_transformed_without_code(backend: Backend) {
    let bench = Bench::start_with(backend, &[("transform", "orders.*.created -> audit.$1")]);
    let mut audit = bench.collect("audit", &[("subscriptions", "audit.*")]).await;
    let sender = bench.sender_of("orders.>").await;
    // Transforms need no link, hence nobody waits for them to be there.
    let deadline = Instant::now() + Duration::from_secs(20);
    while audit.waiting() == 0 {
        assert!(Instant::now() < deadline, "nothing was transformed");
        sender.publish("orders.7.paid", "paid").await;
        sender.publish("orders.7.created", "created").await;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let message = audit.next().await;
    assert_eq!((message.subject.as_str(), text(&message).as_str()), ("audit.7", "created"));
}

async fn a_link_that_changes_hands_over_what_it_says_now(backend: Backend) {
    let bench = Bench::start(backend);
    let sender = bench.sender_of("a,b").await;
    let mut before = bench.collect("a", &[("subscriptions", "a")]).await;
    sender.publish("a", "1").await;
    assert_eq!(before.bodies(1).await, ["1"]);
    let mut after = bench.collect("a", &[("subscriptions", "b")]).await;
    sender.publish("a", "2").await;
    sender.publish("b", "3").await;
    assert_eq!(after.bodies(1).await, ["3"]);
    bench.provider.link_down(&handler_link("a", &[])).await;
    bench.provider.link_down(&handler_link("a", &[])).await;
    let refused = bench.try_subscribe("a", &[("subscriptions", "b..")], |_| async { Ok(Ok(())) }).await;
    assert!(refused.expect_err("no pattern").to_string().contains("subscriptions"));
    assert_eq!(after.waiting(), 0);
}

pub(crate) async fn until(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(40);
    while !condition() {
        assert!(Instant::now() < deadline, "not in time: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
