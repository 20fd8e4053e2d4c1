//! How everything stands, for whoever asks: the statuses of the last plan, as a snapshot that is replaced.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::watch;

use crate::intent::AppName;
use crate::observe::View;
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

/// Where the status is read. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Board(watch::Receiver<Arc<Status>>);

impl Board {
    /// An empty board, and the end that writes on it.
    pub(crate) fn new() -> (Writer, Self) {
        let (tx, rx) = watch::channel(Arc::default());
        (Writer(tx), Self(rx))
    }

    /// As it is now.
    pub fn now(&self) -> Arc<Status> {
        Arc::clone(&self.0.borrow())
    }

    /// Waits until it is different from when it was last waited for; for ever once its wadm is gone. Cancel safe.
    pub async fn changed(&mut self) {
        if self.0.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

/// The one who writes the status.
#[derive(Debug)]
pub(crate) struct Writer(watch::Sender<Arc<Status>>);

impl Writer {
    /// Puts up what `plan` came to.
    pub(crate) fn post(&self, plan: Plan, acting: Option<u64>, view: View) {
        let Plan { waits, problems, apps, explanations, .. } = plan;
        let status = Status { acting, view, apps, problems, waits, explanations };
        self.0.send_if_modified(|posted| {
            let is_news = **posted != status;
            if is_news {
                *posted = Arc::new(status);
            }
            is_news
        });
    }
}
