//! Tells watchers of a store in this process what changed: news from a bounded channel, everything again to those
//! who fell behind.

use std::collections::VecDeque;

use futures::future::BoxFuture;
use futures::stream;
use tokio::sync::broadcast::{self, error::RecvError};
use tracing::warn;

use super::{Change, Record, Revision, Watch};
use crate::error::Result;

/// At most so many changes wait for a watcher; one that is further behind is told everything again.
const MAX_BEHIND: usize = 256;

/// The sending half, one a store.
pub(super) struct Feed(broadcast::Sender<(Revision, Change)>);

/// All records under a prefix, and the last revision that they contain.
pub(super) struct Snapshot {
    pub(super) revision: Revision,
    pub(super) records: Vec<Record>,
}

/// Takes a snapshot; `None` when the store is gone.
pub(super) type TakeSnapshot = Box<dyn Fn() -> BoxFuture<'static, Option<Result<Snapshot>>> + Send + Sync>;

impl Feed {
    pub(super) fn new() -> Self {
        Self(broadcast::channel(MAX_BEHIND).0)
    }

    /// Tells the change that made `revision`. To be called in the order of revisions, after the change is visible to
    /// snapshots.
    pub(super) fn tell(&self, revision: Revision, change: Change) {
        // Nobody watching is no error.
        let _ = self.0.send((revision, change));
    }

    /// Follows the keys that start with `prefix`, of which `take` takes snapshots.
    pub(super) async fn watch(&self, prefix: String, take: TakeSnapshot) -> Result<Watch> {
        let mut follower =
            Follower { news: self.0.subscribe(), seen: Revision(0), pending: VecDeque::new(), prefix, take };
        if let Some(first) = follower.snapshot().await {
            first?;
        }
        Ok(Watch::new(stream::unfold(follower, Follower::next)))
    }
}

struct Follower {
    news: broadcast::Receiver<(Revision, Change)>,
    // What is not newer is in the snapshot that was told.
    seen: Revision,
    pending: VecDeque<Change>,
    prefix: String,
    take: TakeSnapshot,
}

impl Follower {
    async fn next(mut self) -> Option<(Change, Self)> {
        loop {
            if let Some(change) = self.pending.pop_front() {
                return Some((change, self));
            }
            match self.news.recv().await {
                Ok((revision, change)) if revision > self.seen && self.is_wanted(&change) => {
                    return Some((change, self));
                }
                Ok(_) => {}
                Err(RecvError::Lagged(_)) => self.start_again().await?,
                Err(RecvError::Closed) => return None,
            }
        }
    }

    async fn start_again(&mut self) -> Option<()> {
        self.news = self.news.resubscribe();
        self.pending.push_back(Change::Restart);
        match self.snapshot().await? {
            Ok(()) => Some(()),
            Err(error) => {
                warn!(%error, "watch of a store ended");
                None
            }
        }
    }

    async fn snapshot(&mut self) -> Option<Result<()>> {
        let snapshot = match (self.take)().await? {
            Ok(snapshot) => snapshot,
            Err(error) => return Some(Err(error)),
        };
        self.seen = snapshot.revision;
        self.pending.extend(snapshot.records.into_iter().map(Change::Put));
        self.pending.push_back(Change::Ready);
        Some(Ok(()))
    }

    fn is_wanted(&self, change: &Change) -> bool {
        match change {
            Change::Put(Record { key, .. }) | Change::Delete(key) => key.as_str().starts_with(&self.prefix),
            Change::Ready | Change::Restart => false,
        }
    }
}
