//! What is particular to the embedded queue.

use std::time::Duration;

use tokio::time::timeout;
use trellis_provider_sdk::LinkError;
use trellis_provider_sdk::testing::as_target;

use crate::bench::{Backend, Bench, Collected, Sender, handler_link, text};

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_loses_nothing_that_was_acknowledged() {
    let bench = Bench::start(Backend::Embedded);
    bench.subscribe("a", &[("subscriptions", "a")], |_| std::future::pending()).await;
    let sender = bench.sender("sender", &[]).await;
    for n in 0..20 {
        sender.publish("a", &n.to_string()).await;
    }
    // A copy of the file at this moment is what a crash would leave.
    let mut after = Bench::start(Backend::Embedded);
    after.data = tempfile::tempdir().unwrap();
    std::fs::copy(bench.data.path().join("messaging.redb"), after.data.path().join("messaging.redb")).unwrap();
    after.restart().await;
    let mut collected = after.collect("a", &[("subscriptions", "a"), ("order_by", "subject")]).await;
    assert_eq!(collected.bodies(20).await, (0..20).map(|n| n.to_string()).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_with_transforms_gives_its_file_to_the_one_that_takes_its_place() {
    let old = Bench::start_with(Backend::Embedded, &[("transform", "orders.* -> audit.$1")]);
    let mut audit = old.collect("audit", &[("subscriptions", "audit.*")]).await;
    let sender = old.sender("sender", &[]).await;
    until_transformed(&sender, &mut audit, "first").await;
    let new = old.beside(&[("transform", "orders.* -> audit.$1")]);
    let to_audit = handler_link("audit", &[("subscriptions", "audit.*")]);
    let from_sender = as_target(sender.link.clone(), &[]);
    let held = new.link_up(&to_audit).await.expect_err("the old one has the file");
    assert!(matches!(held, LinkError::Held(_)), "{held}");
    for link in [&to_audit, &from_sender] {
        old.provider.link_down(link).await;
    }
    for link in [&to_audit, &from_sender] {
        new.link_up(link).await.expect("the file is free");
    }
    let of_new = Sender { provider: new.clone(), ..sender.clone() };
    until_transformed(&of_new, &mut audit, "second").await;

    // It does not work, and the old one goes on.
    new.drain(Duration::from_secs(5)).await;
    drop((of_new, new));
    for link in [&to_audit, &from_sender] {
        old.provider.link_up(link).await.expect("the file is free");
    }
    until_transformed(&sender, &mut audit, "third").await;
    old.provider.drain(Duration::from_secs(5)).await;
}

/// Sends `body` until it has come by way of the transform, which may not be established yet.
async fn until_transformed(sender: &Sender, audit: &mut Collected, body: &str) {
    loop {
        sender.publish("orders.1", body).await;
        if let Ok(message) = timeout(Duration::from_millis(200), audit.next()).await
            && text(&message) == body
        {
            return;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_queue_refuses_and_says_whose_it_is() {
    let bench = Bench::start_with(Backend::Embedded, &[("max_messages", "5")]);
    bench.subscribe("slow", &[("subscriptions", "a")], |_| std::future::pending()).await;
    let mut other = bench.collect("other", &[("subscriptions", "b")]).await;
    let sender = bench.sender("sender", &[]).await;
    for _ in 0..5 {
        sender.publish("a", "x").await;
    }
    let refused = sender.try_publish("a", b"x").await.expect_err("it is full");
    assert!(refused.contains("slow") && refused.contains("full"), "{refused}");
    sender.publish("b", "y").await;
    assert_eq!(other.bodies(1).await, ["y"], "other queues are as they were");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_another_holds_fails_the_link_and_is_named() {
    let bench = Bench::start(Backend::Embedded);
    bench.subscribe("a", &[("subscriptions", "a")], |_| async { Ok(Ok(())) }).await;
    let mut second = Bench::start(Backend::Embedded);
    let own = std::mem::replace(&mut second.data, tempfile::tempdir().unwrap());
    drop(own);
    std::fs::remove_dir(second.data.path()).unwrap();
    std::os::unix::fs::symlink(bench.data.path(), second.data.path()).unwrap();
    second.restart().await;
    let link = handler_link("a", &[("subscriptions", "a")]);
    let error = second.provider.link_up(&link).await.expect_err("locked");
    assert!(matches!(error, LinkError::Held(_)), "{error:?}");
    let error = error.to_string();
    assert!(error.contains("messaging.redb") && error.contains("locked by another process"), "{error}");
    bench.provider.link_down(&link).await;
    second.provider.link_up(&link).await.expect("the file went with the last link");
    assert!(matches!(bench.provider.link_up(&link).await, Err(LinkError::Held(_))));
    second.provider.drain(Duration::from_secs(10)).await;
    bench.provider.link_up(&link).await.expect("the file is free now");
    std::fs::remove_file(second.data.path()).unwrap();
}
