//! Replacing a provider that has what only one process can have: in order, with calls that wait meanwhile, and back again
//! when the new one fails.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::task::JoinHandle;
use trellis_lattice::message::command::StartProvider;

use crate::cluster::{Cluster, PATIENCE, eventually};
use crate::process::{ECHO, Stage, gone, start};

/// Callers that keep at it, and what went wrong for them.
struct Load {
    is_over: Arc<AtomicBool>,
    calls: Arc<AtomicUsize>,
    callers: Vec<JoinHandle<Vec<String>>>,
}

impl Load {
    fn start(cluster: &Arc<Cluster>) -> Self {
        let (is_over, calls) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let caller = |_| {
            let (cluster, is_over, calls) = (Arc::clone(cluster), Arc::clone(&is_over), Arc::clone(&calls));
            tokio::spawn(async move {
                let mut failures = Vec::new();
                while !is_over.load(Ordering::Relaxed) {
                    let told = cluster.call("probe", ECHO, "exclusive").await;
                    failures.extend((told.as_deref() != Ok("mine")).then(|| format!("{told:?}")));
                    calls.fetch_add(1, Ordering::Relaxed);
                }
                failures
            })
        };
        let callers = (0..4).map(caller).collect();
        Self { is_over, calls, callers }
    }

    async fn goes_on(&self) {
        let before = self.calls.load(Ordering::Relaxed);
        let goes_on = async {
            while self.calls.load(Ordering::Relaxed) < before + 20 {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(PATIENCE, goes_on).await.expect("calls go on");
    }

    async fn end(self) {
        self.is_over.store(true, Ordering::Relaxed);
        for caller in self.callers {
            assert_eq!(caller.await.expect("joined"), Vec::<String>::new());
        }
    }
}

async fn exclusive() -> Stage {
    let stage = Stage::set_with(&[("exclusive", "yes")]).await;
    stage.until("exclusive", Result::is_ok).await.expect("it has it");
    stage
}

async fn replace(stage: &Stage, config: &[&str]) -> Result<(), String> {
    let command = StartProvider { allow_update: true, ..start(stage.host.id(), config) };
    stage.client.start_provider(&command).await.map(drop).map_err(|error| error.to_string())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_only_one_process_can_have_is_handed_over_without_a_lost_call() {
    let stage = exclusive().await;
    let load = Load::start(&stage.cluster);
    let mut pid = stage.pid().await;
    for _ in 0..5 {
        let slow = {
            let cluster = Arc::clone(&stage.cluster);
            tokio::spawn(async move { cluster.call("probe", ECHO, "wait 300").await })
        };
        load.goes_on().await;
        replace(&stage, &[]).await.expect("replaced");
        assert!(slow.is_finished(), "what was under way was finished before");
        assert_eq!(slow.await.expect("joined").expect("answered"), "waited");
        load.goes_on().await;
        let now = stage.pid().await;
        assert_ne!(now, pid, "another process answers");
        gone(pid).await;
        pid = now;
    }
    load.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_cannot_be_replaced_goes_on_with_its_links() {
    let stage = exclusive().await;
    for how in ["held", "refused"] {
        let config = [("links".to_owned(), how.to_owned())].into();
        stage.client.put_config(&how.parse().expect("valid"), &config).await.expect("put");
    }
    let load = Load::start(&stage.cluster);
    let pid = stage.pid().await;
    for (how, why) in [("held", "somebody has it for good"), ("refused", "no such device")] {
        let error = eventually(|| async {
            let error = replace(&stage, &[how]).await.expect_err("it takes no links");
            // The host may not have heard of the config yet.
            if error.contains("no such config") { Err(error) } else { Ok(error) }
        })
        .await;
        assert!(error.contains(why) && error.contains("was not replaced"), "{error}");
        load.goes_on().await;
        assert_eq!(stage.pid().await, pid, "the old one answers");
    }
    replace(&stage, &[]).await.expect("one that takes the links");
    load.goes_on().await;
    assert_ne!(stage.pid().await, pid);
    load.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_that_does_not_end_keeps_the_old_process_going() {
    let stage = exclusive().await;
    let pid = stage.pid().await;
    let endless = {
        let cluster = Arc::clone(&stage.cluster);
        tokio::spawn(async move { cluster.call("probe", ECHO, "wait 3500").await })
    };
    let load = Load::start(&stage.cluster);
    load.goes_on().await;
    // The host's limit for draining in these tests is 2 s.
    let error = replace(&stage, &[]).await.expect_err("it was waited for in vain");
    assert!(error.contains("still under way after 2 s"), "{error}");
    load.goes_on().await;
    assert_eq!(stage.pid().await, pid);
    assert_eq!(endless.await.expect("joined").expect("answered"), "waited");
    tokio::time::timeout(Duration::from_secs(1), load.end()).await.expect("nobody waits any more");
}
