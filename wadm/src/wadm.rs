//! `wadm` as a whole: its parts, how they are started, and how they end.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio_util::task::AbortOnDropHandle;
use trellis_lattice::error::Result;
use trellis_lattice::store::SharedStore;
use trellis_lattice::transport::SharedTransport;

use crate::api::Preview;
use crate::clock::Clock;
use crate::execute::{Executor, RollBack, Tools};
use crate::lease::{Candidate, Keeper, Rivals, Timing};
use crate::observe::{Believes, Memory, Observer, Senses};
use crate::reconcile::{Planner, Reconciler, Rollouts, Wishes};
use crate::status::Board;

/// How long stopping may take; the lease runs out by itself if it could not be laid down.
const STOP: Duration = Duration::from_secs(3);

/// How a wadm is set up.
#[derive(Debug, Clone)]
pub struct Settings {
    /// One run of one wadm: not used again after a restart.
    pub holder: String,
    /// Whom the lattice believes.
    pub believes: Believes,
    /// Whether another wadm may act in this lattice.
    pub rivals: Rivals,
    /// How the lease is timed.
    pub timing: Timing,
    /// No lower fencing token is used. Seconds since 1970 do: they grow even if the store loses its records.
    pub lowest_token: u64,
    /// For how long hosts are listened to before anything is concluded.
    pub settle: Duration,
    /// Decides the jitter of pauses.
    pub seed: u64,
}

/// What a wadm works with.
pub struct Parts {
    /// The lattice.
    pub transport: SharedTransport,
    /// The lattice's store.
    pub store: SharedStore,
    /// What is wanted.
    pub wishes: Wishes,
    /// Who deploys an earlier version when a rollout fails.
    pub roll_back: Arc<dyn RollBack>,
    /// Who plans.
    pub planner: Planner,
}

/// A running wadm. Dropping it ends its tasks at once, without laying down the lease.
pub struct Wadm {
    keeper: Keeper,
    board: Board,
    planner: Planner,
    stop: oneshot::Sender<()>,
    task: AbortOnDropHandle<()>,
}

impl Wadm {
    /// Starts it. To be called in a Tokio runtime.
    ///
    /// # Errors
    /// When the transport takes no subscription.
    pub async fn start(parts: Parts, settings: Settings) -> Result<Self> {
        let Parts { transport, store, wishes, roll_back, planner } = parts;
        let Settings { holder, believes, rivals, timing, lowest_token, settle, seed } = settings;
        let lattice = believes.lattice.clone();
        let senses = Senses { transport: transport.clone(), store: store.clone(), believes, settle };
        let observer = Observer::start(senses).await?;
        let keeper = Keeper::start(store.clone(), Candidate { holder, timing, rivals, lowest_token });
        let clock = Clock::start();
        let (writer, board) = Board::new();
        let tools = Tools { transport, lattice, store: store.clone(), roll_back };
        let reconciler = Reconciler {
            wishes,
            observer,
            planner: Arc::clone(&planner),
            executor: Executor::new(tools, keeper.fence(), clock, seed),
            fence: keeper.fence(),
            overtaken: keeper.overtaken(),
            board: writer,
            clock,
            rollouts: Rollouts::new(store.clone()),
            memory: Memory::start(store),
        };
        let (stop, stopped) = oneshot::channel();
        let task = AbortOnDropHandle::new(tokio::spawn(reconciler.run(stopped)));
        Ok(Self { keeper, board, planner, stop, task })
    }

    /// How everything stands.
    pub fn board(&self) -> Board {
        self.board.clone()
    }

    /// Plans as if an intent were the one that is wanted, with what was seen last; `None` before the first look.
    pub fn preview(&self) -> Preview {
        let (board, planner) = (self.board(), Arc::clone(&self.planner));
        Arc::new(move |intent| {
            let look = board.look()?;
            Some((planner(intent, &look.observed, look.now), look.observed))
        })
    }

    /// Sends no more commands, then lays down the lease, so that another wadm acts at once.
    pub async fn stop(self) {
        let Self { keeper, stop, task, .. } = self;
        // A task that is over needs no telling.
        let _ = stop.send(());
        let end = async {
            let _ = task.await;
            keeper.stop().await;
        };
        if tokio::time::timeout(STOP, end).await.is_err() {
            tracing::warn!("lease not laid down in time: it runs out");
        }
    }
}
