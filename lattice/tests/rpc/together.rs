//! What is sent at the same time travels together.

use futures::future::join_all;
use futures::{FutureExt as _, StreamExt as _};
use trellis_lattice::subject::{inbox, reply_slots};
use trellis_lattice::transport::{Subscription, Transport as _};
use trellis_lattice::wire::bundle::is_bundle;
use trellis_lattice::wire::{Kind, Prefix};

use crate::scene::Scene;
use crate::support::call;

const CALLS: usize = 64;

/// On one thread, so that who runs when is the same every time.
#[tokio::test]
async fn calls_that_are_made_at_once_are_one_message_and_so_are_their_answers() {
    let scene = Scene::set().await;
    let lattice = &scene.member.authority.lattice;
    let spy = scene.bus.endpoint("spy");
    let mut calls = spy.subscribe(inbox(lattice, &scene.served_by.peer), None).await.unwrap();
    let mut answers = spy.subscribe(reply_slots(lattice, scene.caller.id()), None).await.unwrap();
    let burst = || async {
        join_all((0..CALLS).map(|_| async { scene.caller.call(call("echo", "")).await.unwrap() })).await;
    };
    burst().await;
    let first = (messages(&mut calls), messages(&mut answers));
    assert_eq!(first, (2, 2), "the first call could not know that it is not alone");
    for _ in 0..3 {
        burst().await;
        assert_eq!((messages(&mut calls), messages(&mut answers)), (1, 1));
    }
    scene.caller.call(call("echo", "")).await.unwrap();
    assert_eq!((messages(&mut calls), messages(&mut answers)), (1, 1));
}

/// How many messages with calls or answers came.
fn messages(seen: &mut Subscription) -> usize {
    std::iter::from_fn(|| seen.next().now_or_never().flatten())
        .filter(|message| {
            let kind = || Prefix::read(&message.payload).unwrap().0.kind;
            is_bundle(&message.payload) || matches!(kind(), Kind::Call | Kind::Reply)
        })
        .count()
}

/// On a worker of the kind that hosts have, where whoever is woken runs next: what waits to be sent is looked at again
/// before it goes.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn answers_that_are_made_one_after_the_other_are_few_messages() {
    let seen = tokio::spawn(async {
        let scene = Scene::set().await;
        let spy = scene.bus.endpoint("spy");
        let slots = reply_slots(&scene.member.authority.lattice, scene.caller.id());
        let mut answers = spy.subscribe(slots, None).await.unwrap();
        for _ in 0..5 {
            join_all((0..CALLS).map(|_| async { scene.caller.call(call("echo", "")).await.unwrap() })).await;
        }
        messages(&mut answers)
    });
    let seen = seen.await.unwrap();
    assert!(seen <= 20, "{seen} messages with {} answers", 5 * CALLS);
}
