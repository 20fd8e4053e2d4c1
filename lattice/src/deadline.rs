//! Work that has until a moment.

use std::pin::Pin;
use std::task::Poll;

use tokio::time::error::Elapsed;
use tokio::time::{Instant, timeout_at};

/// What `work` gives, unless it takes until `deadline`. Work that is done when it is first looked at costs no timer, as
/// most calls on one host are. Pinned by the caller, so that it is not copied. Cancel safe if `work` is.
///
/// # Errors
/// When the deadline came first.
pub async fn by<W: Future + ?Sized>(deadline: Instant, mut work: Pin<&mut W>) -> Result<W::Output, Elapsed> {
    match futures::poll!(work.as_mut()) {
        Poll::Ready(done) => Ok(done),
        Poll::Pending => timeout_at(deadline, work).await,
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::time::Duration;

    use tokio::time::{Instant, sleep};

    use super::by;

    #[tokio::test(start_paused = true)]
    async fn work_is_done_or_late() {
        let after = |seconds| Instant::now() + Duration::from_secs(seconds);
        let past = Instant::now() - Duration::from_secs(1);
        assert_eq!(by(past, pin!(async { 1 })).await, Ok(1), "what is done is not late");
        assert_eq!(by(after(2), pin!(async { sleep(Duration::from_secs(1)).await })).await, Ok(()));
        assert!(by(after(1), pin!(std::future::pending::<()>())).await.is_err());
        assert!(by(past, pin!(sleep(Duration::from_secs(1)))).await.is_err());
    }
}
