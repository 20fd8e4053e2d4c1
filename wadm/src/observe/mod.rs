//! What is known of a lattice: the one input of planning besides the intent.
//!
//! Here are its types. Whatever is an `Option` in them is `None` when it is *not known*, which is never a reason to stop,
//! delete or replace anything. [`watcher`] looks at the lattice, [`eye`] has what it saw, [`sight`] makes the look of it.

mod attempt;
mod detail;
mod eye;
mod host;
mod inventory;
mod memory;
mod owner;
mod presence;
mod records;
mod sight;
mod told;
mod watcher;

use std::collections::BTreeMap;
use std::time::Duration;

use trellis_lattice::id::{ConfigName, EntityId, HostId};
use trellis_lattice::message::command::StringMap;
use trellis_lattice::message::link::Link;

pub use self::attempt::{Attempt, AttemptState, Backoff};
pub use self::host::{
    Actor, CORDON_LABEL, Capacity, DRAIN_LABEL, Export, Health, Host, Inventory, Limits, LinkStanding, Provider,
    Readiness, Seen, TAINT_PREFIX, WEIGHT_LABEL,
};
pub use self::owner::{GENERATION, LinkKey, Owned, Owner};

pub use self::presence::{Believes, SUSPECT};

pub(crate) use self::inventory::runs_of;
pub(crate) use self::memory::{Memory, foretell};
pub(crate) use self::owner::OWNED;
pub(crate) use self::sight::{SeenHost, Sight};
pub(crate) use self::told::{News, Told};
pub(crate) use self::watcher::{Observer, Senses, Sign};

use crate::intent::AppName;
use crate::plan::ActionKey;

/// One consistent look at a lattice.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Observed {
    /// Whether this look may be trusted to say that something is gone.
    pub view: View,
    /// All hosts that were ever heard of and did not say that they leave for good; silent ones too, with what they
    /// ran last. Whoever fills this remembers them over its own restarts, or a cut-off edge looks like no edge.
    pub hosts: BTreeMap<HostId, Host>,
    /// All links of the lattice; `None` when they could not be read.
    pub links: Option<BTreeMap<LinkKey, Link>>,
    /// All configs of the lattice; `None` when they could not be read.
    pub configs: Option<BTreeMap<ConfigName, StringMap>>,
    /// What each application made that carries no annotations; `None` when it could not be read.
    pub owned: Option<BTreeMap<AppName, Owned>>,
    /// How far the rollout of each deployed application's generation is.
    pub rollouts: BTreeMap<AppName, Rollout>,
    /// What came of commands that were sent and whose effect is not seen yet.
    pub attempts: BTreeMap<ActionKey, Attempt>,
    /// Until when what was put earlier may yet appear.
    pub late_puts: LatePuts,
    /// How many instances are left at least of what commands are under way for: on more nobody may rely, whatever the
    /// inventory says.
    pub leaving: BTreeMap<HostId, BTreeMap<EntityId, u32>>,
    /// How many instances commands that are under way may bring, whatever the inventory says: to ask for fewer may be to
    /// stop some.
    pub coming: BTreeMap<HostId, BTreeMap<EntityId, u32>>,
}

/// Until when links and configs may yet appear that were put earlier, although nobody said what came of that: a host
/// that was stopped in the middle carries a command out when it goes on. On the clock of [`plan`](crate::plan::plan)'s
/// `now`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LatePuts {
    /// Those of whoever acted before: of any application.
    pub of_others: Duration,
    /// Our own, by application.
    pub own: BTreeMap<AppName, Duration>,
}

impl LatePuts {
    /// Those of one application.
    pub fn of(&self, app: &AppName) -> Duration {
        self.own.get(app).copied().unwrap_or_default().max(self.of_others)
    }
}

/// Whether a look at the lattice may be trusted to say that something is gone.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum View {
    /// Our connection has been up for a full window, all stores answered, and fewer than half of the hosts fell
    /// silent together.
    Settled,
    /// Something is missing, or may be: things are started and changed where that is safe, nothing is stopped,
    /// deleted or moved.
    Unsettled {
        /// What is missing, for people.
        why: String,
    },
    /// Nothing was looked at yet.
    #[default]
    Nothing,
}

/// How the rollout of one generation went so far, as whoever fills it saw it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rollout {
    /// Which generation this speaks of; of another one than the intent's it says nothing.
    pub generation: u64,
    /// When it began, on the clock of [`plan`](crate::plan::plan)'s `now`.
    pub since: Duration,
    /// The version to go back to: the last one that was deployed in full. `None` when there is none.
    pub previous: Option<String>,
    /// Whether it has been complete once: from then on it fails no more, things only get repaired.
    pub progress: Progress,
}

/// Whether a rollout was complete once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// Never yet.
    Ongoing,
    /// At least once.
    Complete,
}
