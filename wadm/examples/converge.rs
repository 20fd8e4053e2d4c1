//! How long 1,000 simulated hosts take until 10,000 instances run on them, and until they run again after a tenth of the
//! hosts was lost: on the memory bus, in one process, by the real clock.
//!
//! `cargo run --release -p trellis-wadm --example converge [hosts]`; prints JSON.

#![expect(clippy::unwrap_used, reason = "a benchmark that cannot go on says where")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde_json::json;
use tokio::sync::watch;
use tokio::time::Instant;
use trellis_lattice::id::LatticeName;
use trellis_lattice::identity::key::KeyKind;
use trellis_lattice::identity::trust::Trust;
use trellis_lattice::store::SharedStore;
use trellis_lattice::store::memory::MemoryStore;
use trellis_lattice::transport::memory::MemoryBus;
use trellis_wadm::intent::{AppIntent, AppName, Deployed, Intent};
use trellis_wadm::lease::{Rivals, Timing};
use trellis_wadm::manifest::{self, Format};
use trellis_wadm::observe::Believes;
use trellis_wadm::plan::State;
use trellis_wadm::reconcile::Wishes as Seen;
use trellis_wadm::status::Board;
use trellis_wadm::{Parts, RollBack, Settings, Wadm};

#[path = "../tests/simulation/answer.rs"]
mod answer;
#[path = "../tests/simulation/ground.rs"]
#[expect(dead_code, reason = "the simulation needs more of it")]
mod ground;
#[path = "../tests/simulation/host.rs"]
#[expect(dead_code, reason = "the simulation needs more of it")]
mod host;
#[path = "../tests/simulation/judge.rs"]
#[expect(dead_code, reason = "the simulation needs more of it")]
mod judge;
#[path = "../tests/simulation/wishes.rs"]
#[expect(dead_code, reason = "the simulation needs more of it")]
mod wishes;

use host::{Machine, SimulatedHost, Site, seeded_key};

/// How many applications share the instances.
const APPS: usize = 10;

/// Nothing takes longer.
const PATIENCE: Duration = Duration::from_secs(300);

struct Never;

#[async_trait]
impl RollBack for Never {
    async fn roll_back(&self, _: &AppName, _: u64, _: &str, _: &str) -> trellis_lattice::error::Result<()> {
        Ok(())
    }
}

/// How many hosts; ten instances each.
const HOSTS: usize = 1_000;

#[tokio::main]
async fn main() {
    let count = HOSTS;
    let store: SharedStore = Arc::new(MemoryStore::new());
    let site = Site {
        lattice: LatticeName::parse("bench").unwrap(),
        authority: Arc::new(seeded_key(KeyKind::Account, 0)),
        ground: ground::Ground::new(),
        store: Arc::clone(&store),
    };
    let bus = MemoryBus::new();
    let mut hosts = boot(&site, &bus, count).await;
    let intent = watch::Sender::new(Arc::new(Intent::default()));
    let parts = Parts {
        transport: Arc::new(bus.endpoint("wadm")),
        store,
        wishes: Seen::new(intent.subscribe()),
        roll_back: Arc::new(Never),
        planner: Arc::new(trellis_wadm::plan::plan),
    };
    let wadm = Wadm::start(parts, settings(&site)).await.unwrap();
    tokio::time::sleep(Duration::from_secs(5)).await;

    let began = Instant::now();
    intent.send_replace(Arc::new(applications(count)));
    until_deployed(wadm.board()).await;
    let converged = began.elapsed();

    let lost: Vec<SimulatedHost> = hosts.drain(..count / 10).collect();
    let began = Instant::now();
    lost.into_iter().for_each(|host| drop(host.kill()));
    until_lost(wadm.board()).await;
    let noticed = began.elapsed();
    until_deployed(wadm.board()).await;
    let again = began.elapsed();
    let figures = json!({
        "hosts": count, "instances": count * APPS,
        "plan.converge_1k": converged.as_millis(),
        "loss_noticed_ms": noticed.as_millis(),
        "converged_again_ms": again.as_millis(),
    });
    println!("{figures}");
    wadm.stop().await;
}

async fn boot(site: &Site, bus: &MemoryBus, count: usize) -> Vec<SimulatedHost> {
    let mut hosts = Vec::new();
    for number in 1..=u32::try_from(count).unwrap() {
        let machine = Machine::new(site, number, &[]);
        let transport = Arc::new(bus.endpoint(&machine.name));
        hosts.push(machine.boot(transport, 1, number.into()).await);
    }
    hosts
}

fn settings(site: &Site) -> Settings {
    let trust = Arc::new(Trust { authority: site.authority.public().parse().unwrap(), issuers: BTreeMap::new() });
    Settings {
        holder: "bench".to_owned(),
        believes: Believes { lattice: site.lattice.clone(), trust, clock: || 1_700_000_000 },
        rivals: Rivals::Impossible,
        timing: Timing::unrivalled(),
        lowest_token: 1,
        settle: Duration::from_millis(1_500),
        seed: 1,
    }
}

fn applications(count: usize) -> Intent {
    let app = |number: usize| {
        let name = format!("app{number}");
        let manifest = json!({
            "apiVersion": "core.oam.dev/v1beta1", "kind": "Application",
            "metadata": {"name": name, "annotations": {"version": "v1"}},
            "spec": {"components": [{"name": "actor", "type": "component",
                "properties": {"image": format!("file:///actor{number}.wasm")},
                "traits": [{"type": "spreadscaler", "properties": {"instances": count}}]}]},
        });
        let manifest = Arc::new(manifest::parse(manifest.to_string().as_bytes(), Format::Json).unwrap());
        let deployed = Deployed { version: "v1".to_owned(), generation: 1, manifest };
        (AppName::parse(&name).unwrap(), AppIntent::Deployed(deployed))
    };
    Intent { apps: (0..APPS).map(app).collect() }
}

async fn until(mut board: Board, is_it: impl Fn(&trellis_wadm::status::Status) -> bool) {
    let wait = async {
        while !is_it(&board.now()) {
            board.changed().await;
        }
    };
    tokio::time::timeout(PATIENCE, wait).await.expect("within five minutes");
}

async fn until_deployed(board: Board) {
    until(board, |status| status.apps.len() == APPS && status.apps.values().all(|app| app.state == State::Deployed))
        .await;
}

async fn until_lost(board: Board) {
    until(board, |status| status.apps.values().any(|app| app.state != State::Deployed)).await;
}
