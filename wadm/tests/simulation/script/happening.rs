//! What happens to hosts, to the bus and to the stores of wadms, one thing after the other.

use std::sync::Arc;
use std::time::Duration;

use rand::RngExt as _;
use tokio::time::Instant;
use trellis_lattice::transport::memory::faults::Rates;

use super::{Kind, Play};
use crate::ground::Health;
use crate::weather::Mood;

impl Play {
    pub(super) async fn something_happens(&mut self) {
        if self.dice.random_bool(0.25) {
            return self.wish();
        }
        match self.scenario.kind.draw(&mut self.dice) {
            Kind::Calm | Kind::Killed | Kind::Everything | Kind::Upgrade => {}
            Kind::ComeAndGo => self.come_or_go().await,
            Kind::Hang => self.hang(),
            Kind::Loss => self.lose(),
            Kind::Cut => self.cut(),
            Kind::Two => self.hold_one(),
            Kind::Past => self.change_mood(Kind::Past).await,
            Kind::Empty => self.change_mood(Kind::Empty).await,
        }
    }

    fn wish(&mut self) {
        let version = self.dice.random_range(1..9);
        if self.scenario.kind == Kind::Upgrade && self.dice.random_bool(0.7) {
            self.wishes.deploy_gate(version);
            return self.tell();
        }
        match self.dice.random_range(0..5) {
            0 | 1 => self.wishes.deploy_shop(version),
            2 => self.wishes.deploy_tool(version),
            3 => self.wishes.undeploy("tool"),
            _ => self.wishes.undeploy("shop"),
        }
        self.tell();
    }

    async fn come_or_go(&mut self) {
        let at = self.dice.random_range(0..self.slots.len());
        if self.slots[at].is_over {
            return;
        }
        match self.slots[at].host.take() {
            Some(host) => {
                host.kill();
                self.slots[at].is_over = at == 5;
            }
            None => {
                // A host may come back without its disk, but not the one with the foreigner.
                if at != 0 && self.dice.random_bool(0.3) {
                    let id = self.slots[at].machine.id.clone();
                    self.site.ground.truth().host(&id).runs.clear();
                }
                self.boot(at).await;
            }
        }
    }

    fn hang(&mut self) {
        let at = self.dice.random_range(0..self.slots.len());
        let health = self.site.ground.truth().host(&self.slots[at].machine.id).health;
        match (&self.slots[at].host, health) {
            (Some(host), Health::Up) => host.hang(),
            (Some(host), Health::Hung) => host.resume(),
            _ => {}
        }
    }

    fn lose(&mut self) {
        let rates = match self.dice.random_range(0..3) {
            0 => Rates::default(),
            1 => Rates { drop: 0.05, duplicate: 0.1, delay: Duration::ZERO..Duration::from_millis(200) },
            _ => Rates { drop: 0.2, duplicate: 0.2, delay: Duration::ZERO..Duration::from_millis(50) },
        };
        self.site.ground.note(&format!("the bus has {rates:?}"));
        self.faults.set_rates(rates);
    }

    /// Cuts one host off, or most of them, or lets all be heard again.
    fn cut(&mut self) {
        let cut: Vec<usize> = match self.dice.random_range(0..4) {
            0 => (1..self.slots.len()).collect(),
            1 | 2 => vec![self.dice.random_range(0..self.slots.len())],
            _ => Vec::new(),
        };
        self.cut_off(&cut);
    }

    /// Cuts off the hosts at these places, and no other.
    pub(super) fn cut_off(&mut self, cut: &[usize]) {
        self.faults.heal_all();
        let names: Vec<String> = self.slots.iter().map(|slot| slot.machine.name.clone()).collect();
        for (at, slot) in self.slots.iter().enumerate() {
            let is_cut = cut.contains(&at);
            self.site.ground.truth().set(&slot.machine.id, |host| host.is_cut = is_cut);
            let others =
                names.iter().enumerate().filter(|(other, _)| !cut.contains(other)).map(|(_, name)| name.as_str());
            if is_cut {
                let seats = self.seats.iter().map(|seat| seat.name);
                others.chain(seats).for_each(|other| self.faults.partition(&slot.machine.name, other));
            }
        }
        self.site.ground.note(&format!("cut off are {cut:?}"));
    }

    /// One wadm loses the store, or has it back.
    fn hold_one(&mut self) {
        let at = self.dice.random_range(0..self.seats.len());
        let seat = &self.seats[at];
        let is_sound = *seat.mood.borrow() == Mood::Sound;
        seat.mood.send_replace(if is_sound { Mood::Down } else { Mood::Sound });
        self.site.ground.note(&format!("the store of {} is sound: {}", seat.name, !is_sound));
    }

    async fn change_mood(&mut self, kind: Kind) {
        let records = self.site.store.list("").await.expect("in memory");
        let at = self.dice.random_range(0..self.seats.len());
        let mood = match (kind, self.dice.random_range(0..3)) {
            (_, 0) => Mood::Sound,
            (Kind::Past, _) => Mood::Past(Arc::new(records)),
            _ => Mood::Past(Arc::default()),
        };
        if kind == Kind::Empty && self.dice.random_bool(0.5) {
            // What was wanted is forgotten for a moment, which is no reason to stop anything.
            self.site.ground.note("the intent is empty");
            self.intent.send_replace(Arc::default());
            self.pass(Instant::now() + Duration::from_secs(4)).await;
            self.intent.send_replace(Arc::new(self.wishes.intent.clone()));
        }
        let what = match &mood {
            Mood::Sound => "the present".to_owned(),
            Mood::Past(records) => format!("{} records of the past", records.len()),
            Mood::Down => "nothing".to_owned(),
        };
        self.site.ground.note(&format!("the store of {} answers {what}", self.seats[at].name));
        self.seats[at].mood.send_replace(mood);
    }
}
