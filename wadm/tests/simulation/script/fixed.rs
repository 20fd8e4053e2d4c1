//! Scripts without dice: what happens in them is always the same.

use std::time::Duration;

use tokio::time::{Instant, timeout};

use super::{Outcome, Play, SOON};
use crate::judge;

/// How long the deploy may take.
const DEPLOY: Duration = Duration::from_secs(5);

impl Play {
    /// Hosts are lost for good one after the other, each a while after the one before: every time what they ran is
    /// started elsewhere soon.
    pub(super) async fn lose_one_by_one(mut self) -> Outcome {
        self.begin().await;
        self.pass(Instant::now() + SOON).await;
        for at in [1, 2, 3] {
            self.slots[at].host.take().expect("it runs").kill();
            self.pass(Instant::now() + SOON).await;
            judge::quiet(&mut self.site.ground.truth());
        }
        self.outcome()
    }

    /// The wadm that acts is killed after `effects` more effects once something is deployed. In that moment all hosts but one are
    /// cut off: what they were told to start and do not say any more must not be started on the one that is left.
    pub(super) async fn take_over(mut self, effects: u64) -> Outcome {
        for slot in 0..self.slots.len() {
            self.boot(slot).await;
        }
        for seat in 0..self.seats.len() {
            self.start(seat).await;
        }
        self.pass(Instant::now() + SOON).await;
        self.wishes.deploy_shop(2);
        self.tell();
        let acting = self.acting();
        self.seats[acting].fuse.shorten(effects);
        // Without so many effects it is killed when all is done.
        let _ = timeout(DEPLOY, self.seats[acting].fuse.blown()).await;
        self.end(acting);
        self.cut_off(&(1..self.slots.len()).collect::<Vec<_>>());
        self.pass(Instant::now() + SOON).await;
        self.cut_off(&[]);
        self.calm_down().await;
        judge::quiet(&mut self.site.ground.truth());
        self.outcome()
    }

    /// The seat of the wadm that acts.
    fn acting(&self) -> usize {
        let truth = self.site.ground.truth();
        let (lease, _) = truth.lease.as_ref().expect("one of them acts");
        self.seats.iter().position(|seat| lease.holder.starts_with(seat.name)).expect("it has a seat")
    }
}
