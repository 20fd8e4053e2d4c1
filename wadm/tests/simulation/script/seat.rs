//! Starting and killing wadms.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use rand::RngExt as _;
use tokio::time::Instant;
use trellis_lattice::error::Result;
use trellis_lattice::identity::trust::Trust;
use trellis_wadm::intent::AppName;
use trellis_wadm::lease::{Rivals, Timing};
use trellis_wadm::observe::Believes;
use trellis_wadm::reconcile::{Planner, Wishes as Seen};
use trellis_wadm::{Parts, RollBack, Settings, Wadm};

use super::Play;
use crate::ground::Ground;
use crate::mutation::Mutation;
use crate::weather::{Fuse, Last, MoodyStore, Wire};

/// Rolls nothing back: nothing here should have to be.
struct Never(Ground);

#[async_trait]
impl RollBack for Never {
    async fn roll_back(&self, app: &AppName, generation: u64, to: &str, why: &str) -> Result<()> {
        self.0.truth().violation(format!("{app} is rolled back from generation {generation} to {to}: {why}"));
        Ok(())
    }
}

impl Play {
    pub(super) fn end(&mut self, seat: usize) {
        let seat = &mut self.seats[seat];
        self.effects += seat.fuse.burnt();
        seat.fuse = Fuse::none();
        drop(seat.wadm.take());
        self.site.ground.note(&format!("{} is killed", seat.name));
    }

    pub(super) async fn start(&mut self, seat: usize) {
        let last = |happens| if happens { Last::Happens } else { Last::DoesNot };
        let fuse = match (self.scenario.kill_after, self.seats[seat].runs) {
            (Some(effects), 0) if seat == 0 => Fuse::new(effects, last(self.scenario.seed.is_multiple_of(2))),
            (None, _) if self.seats[seat].fuses > 0 => {
                self.seats[seat].fuses -= 1;
                Fuse::new(self.dice.random_range(0..60), last(self.dice.random_bool(0.5)))
            }
            _ => Fuse::none(),
        };
        let (mutation, ground) = (self.scenario.mutation, self.site.ground.clone());
        let place = &mut self.seats[seat];
        place.runs += 1;
        self.started = Instant::now();
        place.fuse = Arc::clone(&fuse);
        let store = MoodyStore {
            inner: Arc::clone(&self.site.store),
            mood: place.mood.subscribe(),
            fuse: Arc::clone(&fuse),
            mutation,
        };
        let inner = Arc::new(self.bus.endpoint(place.name));
        let wire = Wire { inner, ground: ground.clone(), name: place.name.to_owned(), fuse, mutation };
        let right: Planner = Arc::new(trellis_wadm::plan::plan);
        let planner = mutation.map_or(Arc::clone(&right), |mutation| mutation.planner(right));
        let parts = Parts {
            transport: Arc::new(wire),
            store: Arc::new(store),
            wishes: Seen::new(self.intent.subscribe()),
            roll_back: Arc::new(Never(ground.clone())),
            planner,
        };
        let holder = format!("{}-{}", place.name, place.runs);
        ground.note(&format!("{holder} starts"));
        let settings = self.settings(holder, mutation.map_or(Rivals::Possible, Mutation::rivals));
        self.seats[seat].wadm = Some(Wadm::start(parts, settings).await.expect("the bus is open"));
    }

    fn settings(&self, holder: String, rivals: Rivals) -> Settings {
        let authority = self.site.authority.public().parse().expect("an account's key");
        let trust = Arc::new(Trust { authority, issuers: BTreeMap::new() });
        let believes = Believes { lattice: self.site.lattice.clone(), trust, clock: || 1_700_000_000 };
        Settings {
            holder,
            believes,
            rivals,
            timing: Timing::default(),
            lowest_token: 1,
            settle: Duration::from_millis(2_500),
            seed: self.scenario.seed,
        }
    }
}
