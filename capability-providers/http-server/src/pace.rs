//! Whether a peer moves bytes as fast as it has to, counted over the time that it was waited for.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep};

/// How fast a peer has to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct MinPace {
    /// For the next bytes.
    pub(crate) stall_timeout: Duration,
    /// On average, over at least that time.
    pub(crate) bytes_per_second: u64,
}

/// A peer that is slower than it may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TooSlow;

/// The pace of one peer in one direction.
pub(crate) struct Pace {
    min: MinPace,
    waited: Duration,
    moved_bytes: u64,
    /// Since when the peer is waited for, and the end of its time.
    waiting: Option<(Instant, Pin<Box<Sleep>>)>,
}

impl Pace {
    /// Nothing was moved yet.
    pub(crate) fn new(min: MinPace) -> Self {
        Self { min, waited: Duration::ZERO, moved_bytes: 0, waiting: None }
    }

    /// The peer is waited for; ready when that was too long.
    pub(crate) fn poll_stalled(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let timeout = self.min.stall_timeout;
        let (_, timer) = self.waiting.get_or_insert_with(|| (Instant::now(), Box::pin(tokio::time::sleep(timeout))));
        timer.as_mut().poll(cx)
    }

    /// The peer moved `bytes`.
    pub(crate) fn moved(&mut self, bytes: usize) -> Result<(), TooSlow> {
        self.moved_bytes += bytes as u64;
        let Some((since, _)) = self.waiting.take() else { return Ok(()) };
        self.waited += since.elapsed();
        if self.waited < self.min.stall_timeout {
            return Ok(());
        }
        let due = self.waited.as_secs_f64() * self.min.bytes_per_second as f64;
        let moved = self.moved_bytes as f64;
        (self.waited, self.moved_bytes) = (Duration::ZERO, 0);
        if moved < due { Err(TooSlow) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::{MinPace, Pace, TooSlow};
    use std::future::poll_fn;
    use std::time::Duration;

    const MIN: MinPace = MinPace { stall_timeout: Duration::from_secs(10), bytes_per_second: 100 };

    /// What becomes of a peer that moves so many bytes every so often.
    async fn check(bytes: usize, every: Duration, expected: Result<(), TooSlow>) {
        let mut pace = Pace::new(MIN);
        let mut outcome = Ok(());
        for _ in 0..100 {
            let stalled = poll_fn(|cx| pace.poll_stalled(cx));
            let stalls = tokio::time::timeout(every, stalled).await.is_ok();
            outcome = if stalls { Err(TooSlow) } else { pace.moved(bytes) };
            if outcome.is_err() {
                break;
            }
        }
        assert_eq!(outcome, expected, "{bytes} bytes every {every:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_has_to_keep_its_pace() {
        check(1_000, Duration::from_secs(9), Ok(())).await;
        check(1_000, Duration::from_secs(11), Err(TooSlow)).await;
        check(1, Duration::from_secs(1), Err(TooSlow)).await;
        check(101, Duration::from_secs(1), Ok(())).await;
        check(99, Duration::from_secs(1), Err(TooSlow)).await;
    }

    #[tokio::test(start_paused = true)]
    async fn time_that_is_not_the_peers_does_not_count() {
        let mut pace = Pace::new(MIN);
        for _ in 0..100 {
            tokio::time::sleep(Duration::from_secs(60)).await;
            assert_eq!(pace.moved(1), Ok(()));
        }
    }
}
