//! One run: a lattice of simulated hosts, one or two wadms, and what happens to them, all by one seed.

mod fixed;
mod happening;
mod kind;
mod seat;

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;
use futures::StreamExt as _;
use futures::future::select_all;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout_at};
use tokio_util::task::AbortOnDropHandle;
use trellis_lattice::id::LatticeName;
use trellis_lattice::identity::key::KeyKind;
use trellis_lattice::message::lease::{LEASE_KEY, Lease};
use trellis_lattice::store::memory::MemoryStore;
use trellis_lattice::store::{Change, SharedStore};
use trellis_lattice::transport::memory::MemoryBus;
use trellis_lattice::transport::memory::faults::{Faults, Rates};
use trellis_wadm::Wadm;
use trellis_wadm::intent::Intent;

pub(crate) use self::kind::Kind;
use crate::ground::{Ground, Kind as RunKind, Run};
use crate::host::{Machine, SimulatedHost, Site, seeded_key};
use crate::judge::{self, Strictness};
use crate::mutation::Mutation;
use crate::weather::{Fuse, Mood};
use crate::wishes::Wishes;

/// What came of a run.
pub(crate) struct Outcome {
    pub(crate) violations: Vec<String>,
    pub(crate) trace: String,
    /// How many effects the first wadm had.
    pub(crate) effects: u64,
}

/// One run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Scenario {
    pub(crate) kind: Kind,
    pub(crate) seed: u64,
    pub(crate) mutation: Option<Mutation>,
    /// After how many effects the first wadm is killed; by the dice when absent.
    pub(crate) kill_after: Option<u64>,
}

impl Scenario {
    /// The scenario of `kind` with `seed`.
    pub(crate) fn new(kind: Kind, seed: u64) -> Self {
        Self { kind, seed, mutation: None, kill_after: None }
    }

    /// Runs it to its end, on a runtime of its own whose clock moves only when everybody waits.
    pub(crate) fn run(self) -> Outcome {
        runtime().block_on(async { Play::open(self).await.run().await })
    }

    /// The same lattice: the first of two wadms is killed after so many effects of a deploy, while hosts are cut off.
    pub(crate) fn take_over(self, effects: u64) -> Outcome {
        runtime().block_on(async { Play::open(self).await.take_over(effects).await })
    }

    /// The same lattice, which loses half of its hosts, one by one.
    pub(crate) fn lose_one_by_one(self) -> Outcome {
        runtime().block_on(async { Play::open(self).await.lose_one_by_one().await })
    }
}

fn runtime() -> tokio::runtime::Runtime {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.expect("a runtime")
}

/// How long it takes at most until what a lost host ran is started elsewhere, and the host itself is believed to be lost.
const SOON: Duration = Duration::from_secs(15);

/// For how long things happen.
const ACT: Duration = Duration::from_secs(50);

/// How long it takes until everything must be well after that, and after a wadm was killed last: a host that hung, a lease
/// that ran out, a longest pause.
const CALM: Duration = Duration::from_secs(75);

/// How many wadms of a seat are killed while things happen.
const FUSES: u32 = 4;

/// How many are killed while everything else is well.
const LATE_FUSES: u32 = 3;

/// For how long nothing may happen then.
const STILL: Duration = Duration::from_secs(15);

/// A place for a wadm.
struct Seat {
    name: &'static str,
    wadm: Option<Wadm>,
    fuse: Arc<Fuse>,
    mood: watch::Sender<Mood>,
    runs: u64,
    /// So many more of its wadms are killed at one of their effects.
    fuses: u32,
}

/// A place for a host.
struct Slot {
    machine: Machine,
    host: Option<SimulatedHost>,
    boots: u64,
    /// It does not come back.
    is_over: bool,
}

struct Play {
    scenario: Scenario,
    dice: StdRng,
    site: Site,
    bus: MemoryBus,
    faults: Faults,
    slots: Vec<Slot>,
    seats: Vec<Seat>,
    wishes: Wishes,
    intent: watch::Sender<Arc<Intent>>,
    effects: u64,
    /// When a wadm was started last.
    started: Instant,
    _leases: AbortOnDropHandle<()>,
}

impl Play {
    async fn open(scenario: Scenario) -> Self {
        let ground = Ground::new();
        let store: SharedStore = Arc::new(MemoryStore::new());
        let faults = Faults::new(scenario.seed, Rates::default());
        let site = Site {
            lattice: LatticeName::parse("sim").expect("valid"),
            authority: Arc::new(seeded_key(KeyKind::Account, 0)),
            ground: ground.clone(),
            store: Arc::clone(&store),
        };
        let leases = AbortOnDropHandle::new(tokio::spawn(follow_leases(ground.clone(), store)));
        let lossy = scenario.kind == Kind::Loss || scenario.kind.is_mixed();
        ground.truth().strictness = if lossy { Strictness::Lossy } else { Strictness::Strict };
        let slots = (1..=6).map(|number| {
            let zone = if number % 2 == 0 { "east" } else { "west" };
            let machine = Machine::new(&site, number, &[("zone", zone)]);
            Slot { machine, host: None, boots: 0, is_over: false }
        });
        let (mood, fuses) = (|| watch::Sender::new(Mood::Sound), if scenario.kind.kills_wadms() { FUSES } else { 0 });
        let seat = |name| Seat { name, wadm: None, fuse: Fuse::none(), mood: mood(), runs: 0, fuses };
        let one_only = matches!(scenario.kind, Kind::Calm | Kind::ComeAndGo | Kind::Hang);
        let seats = if one_only { vec![seat("w1")] } else { vec![seat("w1"), seat("w2")] };
        Self {
            scenario,
            dice: StdRng::seed_from_u64(scenario.seed),
            bus: MemoryBus::with_faults(faults.clone()),
            faults,
            slots: slots.collect(),
            seats,
            wishes: Wishes::default(),
            intent: watch::Sender::new(Arc::default()),
            effects: 0,
            started: Instant::now(),
            site,
            _leases: leases,
        }
    }

    async fn begin(&mut self) {
        for slot in 0..self.slots.len() {
            self.boot(slot).await;
        }
        self.settle_foreigner();
        for seat in 0..self.seats.len() {
            self.start(seat).await;
        }
        self.deploy_first();
    }

    async fn run(mut self) -> Outcome {
        self.begin().await;
        let end = Instant::now() + ACT;
        while Instant::now() < end {
            let pause = Duration::from_millis(self.dice.random_range(200..4_000));
            self.pass(Instant::now() + pause).await;
            self.something_happens().await;
            if self.is_noticed() {
                return self.outcome();
            }
        }
        self.all_is_well().await;
        self.judge().await
    }

    /// Lets time pass until there was enough of it since now, and since a wadm was killed last.
    async fn calm_down(&mut self) {
        let mut until = Instant::now() + CALM;
        while Instant::now() < until {
            self.pass(until).await;
            until = until.max(self.started + CALM);
        }
    }

    /// Whether a planted fault was noticed, so that there is nothing more to find out.
    fn is_noticed(&self) -> bool {
        self.scenario.mutation.is_some() && !self.site.ground.truth().violations.is_empty()
    }

    fn outcome(&self) -> Outcome {
        let truth = self.site.ground.truth();
        let effects = self.effects + self.seats[0].fuse.burnt();
        Outcome { violations: truth.violations.clone(), trace: truth.trace().to_owned(), effects }
    }

    /// Lets time pass; wadms whose fuse blows end, and are started again a while later.
    async fn pass(&mut self, until: Instant) {
        loop {
            let fuses: Vec<Arc<Fuse>> = self.seats.iter().map(|seat| Arc::clone(&seat.fuse)).collect();
            let blown = select_all(fuses.iter().map(|fuse| fuse.blown().boxed()));
            let Ok(((), seat, _)) = timeout_at(until, blown).await else { return };
            self.end(seat);
            let pause = Duration::from_millis(self.dice.random_range(10..3_000));
            sleep(pause).await;
            self.start(seat).await;
        }
    }

    async fn boot(&mut self, at: usize) {
        let seed = self.dice.random();
        let slot = &mut self.slots[at];
        slot.boots += 1;
        let transport = Arc::new(self.bus.endpoint(&slot.machine.name));
        slot.host = Some(slot.machine.boot(transport, slot.boots, seed).await);
        self.site.ground.note(&format!("{} boots", self.slots[at].machine.name));
    }

    /// Something that is none of wadm's business.
    fn settle_foreigner(&self) {
        let run = Run {
            kind: RunKind::Actor,
            reference: "file:///foreign.wasm".to_owned(),
            count: 3,
            config: Vec::new(),
            annotations: None,
        };
        let id = &self.slots[0].machine.id;
        self.site.ground.truth().host(id).runs.insert("foreign".parse().expect("valid"), run);
    }

    fn deploy_first(&mut self) {
        self.wishes.deploy_shop(1);
        if self.dice.random_bool(0.5) {
            self.wishes.deploy_broken();
        }
        if self.scenario.kind == Kind::Upgrade {
            self.wishes.deploy_gate(1);
        }
        self.tell();
    }

    /// Tells everybody what is wanted.
    fn tell(&self) {
        let mut truth = self.site.ground.truth();
        truth.wanted_before = std::mem::replace(&mut truth.wanted, self.wishes.wanted.clone());
        truth.wanted_since = truth.elapsed();
        truth.note("the intent changes");
        drop(truth);
        self.intent.send_replace(Arc::new(self.wishes.intent.clone()));
    }

    /// Everything is repaired, but for what is over for good; and wadms are killed still.
    async fn all_is_well(&mut self) {
        self.site.ground.note("all is well");
        self.faults.heal_all();
        self.faults.set_rates(Rates::default());
        for seat in &self.seats {
            seat.mood.send_replace(Mood::Sound);
        }
        for at in 0..self.slots.len() {
            self.site.ground.truth().set(&self.slots[at].machine.id, |host| host.is_cut = false);
            match &self.slots[at].host {
                Some(host) => host.resume(),
                None if !self.slots[at].is_over => self.boot(at).await,
                None => {}
            }
        }
        for seat in self.seats.iter_mut().filter(|_| self.scenario.kind.kills_wadms()) {
            seat.fuse.shorten(self.dice.random_range(0..60));
            seat.fuses = LATE_FUSES - 1;
        }
    }

    async fn judge(mut self) -> Outcome {
        let before = loop {
            self.calm_down().await;
            if self.is_noticed() {
                return self.outcome();
            }
            judge::quiet(&mut self.site.ground.truth());
            let (since, before) = (Instant::now(), self.site.ground.truth().trace().len());
            self.pass(since + STILL).await;
            // Who was killed meanwhile is at work anew, and everything must be well again after that.
            if self.started < since {
                break before;
            }
        };
        let mut truth = self.site.ground.truth();
        let since = truth.trace()[before..].lines().filter(|line| line.contains(" sends ")).count();
        let is_broken = truth.wanted.apps.contains_key("broken");
        if since > if is_broken { 2 } else { 0 } {
            truth.violation(format!("{since} commands were sent although all was as it should be"));
        }
        let attempts = truth.trace().matches("cannot start").count();
        // Each wadm tries anew.
        let killed_late =
            truth.trace().split("all is well").last().map_or(0, |late| late.matches(" is killed").count());
        if attempts > 60 + 12 * killed_late {
            truth.violation(format!("what cannot be started was tried {attempts} times"));
        }
        if truth.turns > 60 {
            let turns = truth.turns;
            truth.violation(format!("the lease changed hands {turns} times"));
        }
        drop(truth);
        self.outcome()
    }
}

async fn follow_leases(ground: Ground, store: SharedStore) {
    let mut watch = store.watch(LEASE_KEY).await.expect("in memory");
    while let Some(change) = watch.next().await {
        let Change::Put(record) = change else { continue };
        if let Some(lease) = Lease::decode(&record.value) {
            judge::leased(&mut ground.truth(), &lease);
        }
    }
}
