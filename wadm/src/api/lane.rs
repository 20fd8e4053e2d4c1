//! Requests of one pace: so many are answered at once, more wait.

use std::collections::VecDeque;

use futures::StreamExt as _;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;

/// So many are answered at once.
const AT_ONCE: usize = 16;

/// So many more wait for that.
const MOST_WAITING: usize = 1_024;

/// The requests.
#[derive(Default)]
pub(super) struct Lane<'a> {
    under_way: FuturesUnordered<BoxFuture<'a, ()>>,
    waiting: VecDeque<BoxFuture<'a, ()>>,
}

impl<'a> Lane<'a> {
    /// Whether no more may wait.
    pub(super) fn is_full(&self) -> bool {
        self.waiting.len() >= MOST_WAITING
    }

    /// Adds one.
    pub(super) fn add(&mut self, answer: BoxFuture<'a, ()>) {
        self.waiting.push_back(answer);
    }

    /// Works on them until one is answered; for ever when there are none. Cancel safe.
    pub(super) async fn work(&mut self) {
        while self.under_way.len() < AT_ONCE
            && let Some(next) = self.waiting.pop_front()
        {
            self.under_way.push(next);
        }
        if self.under_way.next().await.is_none() {
            std::future::pending::<()>().await;
        }
    }
}
