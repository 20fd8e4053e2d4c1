//! Many messages through a durable broker: none lost, memory flat. `TRELLIS_MESSAGES=100000` for more of them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::bench::{Backend, Bench, text};

const BODY_BYTES: usize = 1_024;
const SENDERS: usize = 32;

/// How much the process may grow, whatever the count.
const MAX_GROWTH_BYTES: u64 = 96 << 20;

#[tokio::test(flavor = "multi_thread")]
async fn many_messages_through_jetstream_arrive_in_flat_memory() {
    many_messages(Backend::JetStream).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_messages_through_the_embedded_queue_arrive_in_flat_memory() {
    many_messages(Backend::Embedded).await;
}

async fn many_messages(backend: Backend) {
    let count: usize = std::env::var("TRELLIS_MESSAGES").map_or(5_000, |count| count.parse().expect("a number"));
    let bench = Bench::start_with(backend, &[("max_messages", "10000000")]);
    // One bit for each message that was handled.
    let handled: Arc<Vec<AtomicU64>> = Arc::new((0..count.div_ceil(64)).map(|_| AtomicU64::new(0)).collect());
    let distinct = Arc::new(AtomicUsize::new(0));
    let (bits, seen) = (handled.clone(), distinct.clone());
    bench
        .subscribe(
            "a",
            &[("subscriptions", "load.*"), ("order_by", "token:2"), ("max_in_flight", "256")],
            move |message| {
                let n: usize = text(&message).trim().parse().expect("a number");
                let bit = 1 << (n % 64);
                if bits[n / 64].fetch_or(bit, Ordering::Relaxed) & bit == 0 {
                    seen.fetch_add(1, Ordering::Relaxed);
                }
                async { Ok(Ok(())) }
            },
        )
        .await;
    let sender = bench.sender_of("load.*").await;
    let (begun, before) = (Instant::now(), resident_bytes());
    let mut most = before;
    let next = Arc::new(AtomicUsize::new(0));
    let senders = (0..SENDERS).map(|_| {
        let (sender, next) = (sender.clone(), next.clone());
        tokio::spawn(async move {
            loop {
                let n = next.fetch_add(1, Ordering::Relaxed);
                if n >= count {
                    return;
                }
                sender.publish(&format!("load.{}", n % 100), &format!("{n:BODY_BYTES$}")).await;
            }
        })
    });
    let senders: Vec<_> = senders.collect();
    let mut progressed = (0, Instant::now());
    while distinct.load(Ordering::Relaxed) < count {
        let now = distinct.load(Ordering::Relaxed);
        if now > progressed.0 {
            progressed = (now, Instant::now());
        }
        assert!(progressed.1.elapsed() < Duration::from_secs(40), "stuck at {now} of {count}");
        most = most.max(resident_bytes());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    for sender in senders {
        sender.await.unwrap();
    }
    let (seconds, growth) = (begun.elapsed().as_secs_f64(), most - before);
    eprintln!("{backend:?}: {count} messages, {:.0}/s, {} KiB more memory", count as f64 / seconds, growth >> 10);
    assert!(growth < MAX_GROWTH_BYTES, "grew by {} KiB", growth >> 10);
}

fn resident_bytes() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").expect("Linux");
    let pages: u64 = statm.split(' ').nth(1).and_then(|pages| pages.parse().ok()).expect("the second number");
    pages * 4_096
}
