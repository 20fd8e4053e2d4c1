//! How everything stands, for whoever asks: the statuses of the last plan, as a snapshot that is replaced.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use crate::intent::AppName;
use crate::observe::{Observed, View};
use crate::plan::{AppStatus, Explanation, Plan, Problem, Wait};

/// How everything stands.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Status {
    /// Whether this wadm is the one that acts, and which token it acts with. One that does not act knows less of what
    /// failed.
    pub acting: Option<u64>,
    /// Whether the view of the lattice is one to draw conclusions from.
    pub view: View,
    /// Each application.
    pub apps: BTreeMap<AppName, AppStatus>,
    /// What is wrong and does not go away by waiting.
    pub problems: Vec<Problem>,
    /// What is waited for.
    pub waits: Vec<Wait>,
    /// Why hosts were chosen.
    pub explanations: Vec<Explanation>,
}

/// What was seen, and when by wadm's clock.
#[derive(Debug, Clone)]
pub(crate) struct Look {
    pub(crate) observed: Arc<Observed>,
    pub(crate) now: Duration,
}

/// Where the status is read. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Board {
    status: watch::Receiver<Arc<Status>>,
    look: watch::Receiver<Option<Look>>,
}

impl Board {
    /// An empty board, and the end that writes on it.
    pub(crate) fn new() -> (Writer, Self) {
        let (status_tx, status) = watch::channel(Arc::default());
        let (look_tx, look) = watch::channel(None);
        (Writer { status: status_tx, look: look_tx }, Self { status, look })
    }

    /// As it is now.
    pub fn now(&self) -> Arc<Status> {
        Arc::clone(&self.status.borrow())
    }

    /// What the last plan was made of; `None` before the first.
    pub(crate) fn look(&self) -> Option<Look> {
        self.look.borrow().clone()
    }

    /// Waits until it is different from when it was last waited for; for ever once its wadm is gone. Cancel safe.
    pub async fn changed(&mut self) {
        if self.status.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

/// The one who writes the status.
#[derive(Debug)]
pub(crate) struct Writer {
    status: watch::Sender<Arc<Status>>,
    look: watch::Sender<Option<Look>>,
}

impl Writer {
    /// Puts up what `plan`, made of `look`, came to.
    pub(crate) fn post(&self, plan: Plan, acting: Option<u64>, look: Look) {
        let Plan { waits, problems, apps, explanations, .. } = plan;
        let status = Status { acting, view: look.observed.view.clone(), apps, problems, waits, explanations };
        self.look.send_replace(Some(look));
        self.status.send_if_modified(|posted| {
            let is_news = **posted != status;
            if is_news {
                *posted = Arc::new(status);
            }
            is_news
        });
    }
}
