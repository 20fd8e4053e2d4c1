//! One suite over the bus in memory, a real nats-server, and an ordinary NATS client through the gateway.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use trellis_lattice::error::ErrorKind;
use trellis_lattice::subject::{QueueGroup, Subject};
use trellis_lattice::transport::memory::MemoryBus;
use trellis_lattice::transport::memory::faults::{Faults, Rates};
use trellis_lattice::transport::nats::{NatsOptions, NatsTransport};
use trellis_lattice::transport::{Message, SharedTransport, Status, Subscription};

use crate::gateway;
use crate::support::{NatsServer, PATIENCE, eventually, soon};

/// Two participants of one broker.
struct Lab {
    name: &'static str,
    one: SharedTransport,
    other: SharedTransport,
    _keeps: Box<dyn std::any::Any>,
}

pub(crate) async fn connect(options: NatsOptions) -> SharedTransport {
    Arc::new(NatsTransport::connect(options).await.expect("it is up"))
}

async fn on_each(check: impl AsyncFn(&Lab)) {
    let bus = MemoryBus::new();
    let server = NatsServer::start().await;
    let (gateway, through) = gateway::start(&bus).await;
    let labs = [
        Lab {
            name: "memory",
            one: Arc::new(bus.endpoint("one")),
            other: Arc::new(bus.endpoint("other")),
            _keeps: Box::new(bus),
        },
        Lab {
            name: "nats",
            one: connect(NatsOptions::new(server.url())).await,
            other: connect(NatsOptions::new(server.url())).await,
            _keeps: Box::new(server),
        },
        Lab {
            name: "gateway",
            one: connect(through.clone()).await,
            other: connect(through).await,
            _keeps: Box::new(gateway),
        },
    ];
    for lab in &labs {
        println!("transport: {}", lab.name);
        check(lab).await;
    }
}

fn subject(text: &str) -> Subject {
    Subject::from_wire(text).expect("valid")
}

pub(crate) fn message(on: &str, payload: &str) -> Message {
    Message::new(subject(on), payload.to_owned())
}

pub(crate) async fn subscribe(transport: &SharedTransport, pattern: &str, group: Option<&str>) -> Subscription {
    let group = group.map(|name| QueueGroup::from_wire(name).expect("valid"));
    transport.subscribe(subject(pattern), group).await.expect("subscribes")
}

async fn next(subscription: &mut Subscription) -> Message {
    soon("a message", subscription.next()).await.expect("the subscription goes on")
}

/// What is waiting, up to a message with the payload `end`.
pub(crate) async fn payloads(subscription: &mut Subscription) -> Vec<String> {
    let mut payloads = Vec::new();
    loop {
        let message = next(subscription).await;
        if message.subject.as_str().starts_with("_INBOX") {
            // What a connection over NATS sends to itself is there for those who listen to everything.
            continue;
        }
        let payload = String::from_utf8(message.payload.to_vec()).expect("text");
        if payload == "end" {
            return payloads;
        }
        payloads.push(payload);
    }
}

#[tokio::test]
async fn a_message_arrives_whole() {
    on_each(async |lab| {
        let mut messages = subscribe(&lab.other, "a.b", None).await;
        let mut sent = message("a.b", "hello").with_reply(subject("answer.here"));
        sent.headers = [("A", "1"), ("A", "2"), ("Traceparent", "00-x y:z-01")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .to_vec();
        lab.one.publish(sent.clone()).await.unwrap();
        assert_eq!(next(&mut messages).await, sent);
        let empty = Message::new(subject("a.b"), Bytes::new());
        lab.one.publish(empty.clone()).await.unwrap();
        assert_eq!(next(&mut messages).await, empty);
    })
    .await;
}

#[tokio::test]
async fn patterns_get_what_they_match_in_order() {
    on_each(async |lab| {
        for (pattern, expected) in [
            ("p.*", vec!["p.a", "p.b"]),
            ("p.>", vec!["p.a", "p.b", "p.a.x"]),
            ("p.a", vec!["p.a"]),
            ("*.b", vec!["p.b", "q.b"]),
            ("*.a.*", vec!["p.a.x"]),
        ] {
            let mut messages = subscribe(&lab.other, pattern, None).await;
            let mut all = subscribe(&lab.other, ">", None).await;
            for on in ["p", "p.a", "p.b", "p.a.x", "q.b"] {
                lab.one.publish(message(on, on)).await.unwrap();
            }
            lab.one.publish(message("last", "end")).await.unwrap();
            assert_eq!(payloads(&mut all).await, ["p", "p.a", "p.b", "p.a.x", "q.b"]);
            for on in expected {
                assert_eq!(next(&mut messages).await.subject.as_str(), on, "{pattern}");
            }
            drop(all);
        }
    })
    .await;
}

#[tokio::test]
async fn each_message_goes_to_one_of_a_queue_group() {
    on_each(async |lab| {
        let mut members = Vec::new();
        for pattern in ["work.*", "work.*", "work.a"] {
            members.push(subscribe(&lab.other, pattern, Some("group")).await);
        }
        let mut witness = subscribe(&lab.other, "work.a", None).await;
        for number in 0..300 {
            lab.one.publish(message("work.a", &number.to_string())).await.unwrap();
        }
        for number in 0..300 {
            assert_eq!(next(&mut witness).await.payload, number.to_string());
        }
        // What came before the answer to this is in the queues of the members.
        lab.other.flush().await.unwrap();
        let mut received = Vec::new();
        for member in &mut members {
            let mut share = 0;
            while received.len() < 300 {
                let Ok(message) = tokio::time::timeout(Duration::from_millis(300), member.next()).await else { break };
                received.push(String::from_utf8(message.unwrap().payload.to_vec()).unwrap().parse::<u32>().unwrap());
                share += 1;
            }
            assert!(share > 0, "a member got nothing");
        }
        received.sort_unstable();
        assert_eq!(received, (0..300).collect::<Vec<_>>());
    })
    .await;
}

#[tokio::test]
async fn a_request_is_answered() {
    on_each(async |lab| {
        let mut questions = subscribe(&lab.other, "ask", None).await;
        let answerer = lab.other.clone();
        let answering = tokio::spawn(async move {
            while let Some(question) = questions.next().await {
                let answer = Message::new(question.reply.expect("a request has one"), question.payload);
                answerer.publish(answer).await.unwrap();
            }
        });
        for number in 0..20 {
            let payload = Bytes::from(number.to_string());
            let answer = lab.one.request(subject("ask"), payload.clone(), PATIENCE).await.unwrap();
            assert_eq!((answer.payload, answer.status), (payload, None));
        }
        answering.abort();
    })
    .await;
}

#[tokio::test]
async fn a_request_to_nobody_fails_at_once_and_one_without_answer_in_time() {
    on_each(async |lab| {
        let nobody = lab.one.request(subject("nobody"), Bytes::new(), PATIENCE).await.unwrap_err();
        assert_eq!(nobody.kind(), ErrorKind::NoResponders, "{nobody}");
        let _silent = subscribe(&lab.other, "silent", None).await;
        let silent = lab.one.request(subject("silent"), Bytes::new(), Duration::from_millis(50)).await.unwrap_err();
        assert_eq!(silent.kind(), ErrorKind::Timeout, "{silent}");
    })
    .await;
}

#[tokio::test]
async fn a_published_question_to_nobody_is_answered_by_the_broker() {
    on_each(async |lab| {
        let mut slots = subscribe(&lab.one, "slots.*", None).await;
        let mut bystander = subscribe(&lab.other, "slots.>", None).await;
        lab.one.publish(message("nobody", "?").with_reply(subject("slots.7"))).await.unwrap();
        let answer = next(&mut slots).await;
        assert_eq!((answer.subject.as_str(), answer.status), ("slots.7", Some(Status::NoResponders)));
        assert!(answer.payload.is_empty());
        lab.one.publish(message("slots.8", "end")).await.unwrap();
        assert_eq!(payloads(&mut bystander).await, [""; 0], "only the one who asked is told");
    })
    .await;
}

#[tokio::test]
async fn a_subscription_is_in_force_when_it_returns_and_over_when_dropped() {
    on_each(async |lab| {
        for round in 0..50 {
            let on = format!("fresh.{round}");
            let messages = subscribe(&lab.one, &on, None).await;
            // The other connection asks: what it hears from the broker shows whether the subscription is known.
            let silent = lab.other.request(subject(&on), Bytes::new(), Duration::from_millis(1)).await.unwrap_err();
            assert_eq!(silent.kind(), ErrorKind::Timeout, "{silent}");
            drop(messages);
            lab.one.flush().await.unwrap();
            eventually("the subscription is over", async || {
                let asked = lab.other.request(subject(&on), Bytes::new(), Duration::from_millis(200)).await;
                asked.unwrap_err().kind() == ErrorKind::NoResponders
            })
            .await;
        }
    })
    .await;
}

#[tokio::test]
async fn the_largest_payload_arrives_and_one_more_byte_is_refused() {
    on_each(async |lab| {
        let limit = lab.one.max_payload_bytes();
        assert_eq!(limit, 1024 * 1024);
        let mut messages = subscribe(&lab.other, "large", None).await;
        let large = Message::new(subject("large"), vec![7; limit]);
        lab.one.publish(large.clone()).await.unwrap();
        assert_eq!(next(&mut messages).await, large);
        let over = lab.one.publish(Message::new(subject("large"), vec![7; limit + 1])).await.unwrap_err();
        assert_eq!(over.kind(), ErrorKind::TooLarge);
        assert!(lab.one.is_connected());
    })
    .await;
}

#[tokio::test]
async fn patterns_cannot_be_published_to_nor_misplaced() {
    on_each(async |lab| {
        for pattern in ["a.*", "a.>", ">", "*"] {
            let error = lab.one.publish(message(pattern, "")).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Malformed, "{pattern}");
        }
        let error = lab.one.subscribe(subject("a.>.b"), None).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Malformed);
        // A star or arrow inside a token is a letter like any other.
        let mut messages = subscribe(&lab.other, "a*.b>", None).await;
        lab.one.publish(message("a*.b>", "end")).await.unwrap();
        assert_eq!(payloads(&mut messages).await, [""; 0]);
    })
    .await;
}

#[tokio::test]
async fn many_publishers_keep_their_order() {
    on_each(async |lab| {
        let mut messages = subscribe(&lab.other, "order.*", None).await;
        let publishers: Vec<_> = (0..4)
            .map(|publisher| {
                let one = lab.one.clone();
                tokio::spawn(async move {
                    for number in 0..500 {
                        let on = format!("order.{publisher}");
                        one.publish(message(&on, &number.to_string())).await.unwrap();
                    }
                })
            })
            .collect();
        let mut expected = [0_u32; 4];
        for _ in 0..2000 {
            let message = next(&mut messages).await;
            let publisher: usize = message.subject.as_str()[6..].parse().unwrap();
            assert_eq!(message.payload, expected[publisher].to_string());
            expected[publisher] += 1;
        }
        for publisher in publishers {
            publisher.await.unwrap();
        }
    })
    .await;
}

#[tokio::test]
async fn a_closed_bus_ends_subscriptions_and_refuses() {
    let bus = MemoryBus::new();
    let one = bus.endpoint("one");
    let one: SharedTransport = Arc::new(one);
    let mut messages = subscribe(&one, "a", None).await;
    bus.close();
    assert_eq!(soon("the end", messages.next()).await, None);
    assert_eq!(one.publish(message("a", "")).await.unwrap_err().kind(), ErrorKind::Disconnected);
    assert!(!one.is_connected());
}

async fn faulty(rates: Rates) -> (Faults, SharedTransport, SharedTransport) {
    let faults = Faults::new(42, rates);
    let bus = MemoryBus::with_faults(faults.clone());
    (faults, Arc::new(bus.endpoint("one")), Arc::new(bus.endpoint("other")))
}

/// The payloads that arrive of 1,000 messages.
async fn thousand(rates: Rates) -> Vec<String> {
    let (faults, one, other) = faulty(rates).await;
    let mut messages = subscribe(&other, "a", None).await;
    for number in 0..1000 {
        one.publish(message("a", &number.to_string())).await.expect("taken");
    }
    // Under way messages keep their order, so the last one comes last.
    faults.set_rates(Rates::default());
    one.publish(message("a", "end")).await.expect("taken");
    payloads(&mut messages).await
}

#[tokio::test(start_paused = true)]
async fn faults_follow_from_the_seed() {
    let all: Vec<_> = (0..1000).map(|number: u32| number.to_string()).collect();
    assert_eq!(thousand(Rates::default()).await, all);

    let lossy = Rates { drop: 0.1, ..Rates::default() };
    let kept = thousand(lossy.clone()).await;
    assert!((850..950).contains(&kept.len()), "{}", kept.len());
    assert_eq!(thousand(lossy).await, kept, "the same seed has the same faults");

    let mut doubled = thousand(Rates { duplicate: 0.2, ..Rates::default() }).await;
    assert!((1150..1250).contains(&doubled.len()), "{}", doubled.len());
    doubled.dedup();
    assert_eq!(doubled, all);

    let delay = Duration::from_millis(1)..Duration::from_millis(500);
    assert_eq!(thousand(Rates { delay, ..Rates::default() }).await, all, "a delay keeps the order");
}

#[tokio::test]
async fn a_partition_cuts_two_endpoints_off_until_it_heals() {
    let (faults, one, other) = faulty(Rates::default()).await;
    let (mut own, mut theirs) = (subscribe(&one, "a", None).await, subscribe(&other, "a", None).await);
    faults.partition("one", "other");
    one.publish(message("a", "lost")).await.unwrap();
    faults.heal("other", "one");
    one.publish(message("a", "end")).await.unwrap();
    assert_eq!(payloads(&mut theirs).await, [""; 0]);
    assert_eq!(payloads(&mut own).await, ["lost"]);
}
