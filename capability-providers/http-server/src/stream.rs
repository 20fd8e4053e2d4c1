//! The streams of an HTTP/2 connection: how long there was none, and those whose peer does not take what they have.
//!
//! Flow control keeps a stream waiting without a write that would wait, so that the connection's watch does not see it.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::Response;
use http_body::{Frame, SizeHint};
use hyper::rt::Executor;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use trellis_provider_sdk::{Body, CallError};

tokio::task_local! {
    /// Of the stream that the task runs.
    static OFFERED: Arc<Offered>;
}

/// Since when a stream has something that its peer did not take. A lock for a time that has no atomic; held to copy it.
#[derive(Default)]
struct Offered(Mutex<Option<Instant>>);

impl Offered {
    fn set(&self, since: Option<Instant>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = since;
    }

    /// Waits until the peer has not taken something for `timeout`.
    async fn stalled(&self, timeout: Duration) {
        loop {
            let since = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
            match since.map(|since| since + timeout) {
                Some(end) if end <= Instant::now() => return,
                Some(end) => tokio::time::sleep_until(end).await,
                None => tokio::time::sleep(timeout).await,
            }
        }
    }
}

/// Has an eye on whether the peer takes a response. For responses of HTTP/2 only.
pub(crate) fn watched(response: Response<Body>) -> Response<Watched> {
    let offered = OFFERED.try_with(Arc::clone).unwrap_or_default();
    offered.set(Some(Instant::now()));
    response.map(|body| Watched { body, offered })
}

/// A body that is asked for its next frame when the peer has taken the last one.
pub(crate) struct Watched {
    body: Body,
    offered: Arc<Offered>,
}

impl http_body::Body for Watched {
    type Data = Bytes;
    type Error = CallError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, CallError>>> {
        let frame = Pin::new(&mut self.body).poll_frame(cx);
        self.offered.set(frame.is_ready().then(Instant::now));
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Runs the streams of one connection, as long as the connection is there.
#[derive(Clone)]
pub(crate) struct Streams {
    ended: CancellationToken,
    stall_timeout: Duration,
    open: Arc<Mutex<Open>>,
}

/// How many streams there are, or since when there is none. A lock because both change together; held to count.
struct Open {
    count: usize,
    idle_since: Instant,
}

impl Streams {
    /// None yet. Those to come end with `ended`, or when their peer does not take what they have for `stall_timeout`.
    pub(crate) fn new(ended: CancellationToken, stall_timeout: Duration) -> Self {
        let open = Open { count: 0, idle_since: Instant::now() };
        Self { ended, stall_timeout, open: Arc::new(Mutex::new(open)) }
    }

    /// Waits until there was no stream for `timeout`.
    pub(crate) async fn idle(&self, timeout: Duration) {
        loop {
            let end = {
                let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
                let since = if open.count == 0 { open.idle_since } else { Instant::now() };
                since + timeout
            };
            if end <= Instant::now() {
                return;
            }
            tokio::time::sleep_until(end).await;
        }
    }
}

impl<F> Executor<F> for Streams
where
    F: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, stream: F) {
        let (ended, stall_timeout) = (self.ended.clone(), self.stall_timeout);
        let counted = Counted::new(self.open.clone());
        let offered = Arc::new(Offered::default());
        let watched = async move {
            let _counted = counted;
            tokio::select! {
                () = OFFERED.scope(offered.clone(), stream) => {}
                () = offered.stalled(stall_timeout) => {}
            }
        };
        tokio::spawn(ended.run_until_cancelled_owned(watched));
    }
}

/// A stream that is open.
struct Counted(Arc<Mutex<Open>>);

impl Counted {
    fn new(open: Arc<Mutex<Open>>) -> Self {
        open.lock().unwrap_or_else(PoisonError::into_inner).count += 1;
        Self(open)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let mut open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        open.count -= 1;
        open.idle_since = Instant::now();
    }
}
