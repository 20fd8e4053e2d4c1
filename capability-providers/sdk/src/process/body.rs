//! Bodies that do not fit in a frame: chunks, paid for by credits. The socket loses nothing and keeps the order.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue};
use http_body::{Frame, SizeHint};
use http_body_util::BodyExt as _;
use tokio::sync::{Semaphore, mpsc};
use tokio::time::{Instant, Sleep, timeout};
use trellis_lattice::wire::flow::{encode_bare, encode_credit};
use trellis_lattice::wire::reply::encode_error;
use trellis_lattice::wire::{Chunk, End, Kind, MAX_CHUNK_BYTES, MIN_CHUNK_COST_BYTES, WINDOW_BYTES};

use super::call::Held;
use super::outbox::Lane;
use crate::{Body, CallError, CallErrorKind};

/// How long a body may make no progress before it is given up.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);
/// How often a sender that has nothing to send says that it is alive.
const KEEP_ALIVE: Duration = Duration::from_secs(10);
/// The largest value in front of a body.
const MAX_VALUE_BYTES: u64 = 16 << 20;

/// What a chunk of `len` bytes takes from the window.
fn cost(len: usize) -> u64 {
    (len as u64).max(MIN_CHUNK_COST_BYTES)
}

/// What the receiver allows the sender of a body.
pub(super) struct Credit {
    free: Semaphore,
    granted: AtomicU64,
}

impl Credit {
    pub(super) fn new() -> Arc<Self> {
        let window = usize::try_from(WINDOW_BYTES).expect("a window is small");
        Arc::new(Self { free: Semaphore::new(window), granted: AtomicU64::new(WINDOW_BYTES) })
    }

    /// The receiver allows `total` bytes in all; more than one window at a time it never does.
    pub(super) fn grant(&self, total: u64) {
        let before = self.granted.load(Ordering::Acquire);
        let more = total.saturating_sub(before).min(WINDOW_BYTES);
        self.granted.store(before + more, Ordering::Release);
        self.free.add_permits(usize::try_from(more).expect("at most a window"));
    }

    /// The receiver reads no more.
    pub(super) fn stop(&self) {
        self.free.close();
    }

    /// Waits for leave to send a chunk of `len` bytes; whether it is wanted.
    async fn take(&self, len: usize) -> Result<bool, CallError> {
        let cost = u32::try_from(cost(len)).expect("a chunk is small");
        match timeout(IDLE_TIMEOUT, self.free.acquire_many(cost)).await {
            Ok(Ok(permit)) => {
                permit.forget();
                Ok(true)
            }
            Ok(Err(_)) => Ok(false),
            Err(_) => Err(CallError::deadline("body was given up: nobody read it for 30 s")),
        }
    }
}

/// Sends a value and a body to their end, or until nobody wants more of it. Dropping it breaks the body off.
pub(super) async fn pump(lane: Lane, credit: Arc<Credit>, value: Bytes, body: Body) {
    let mut sender = Sender { lane, credit, sequence: 0, is_done: false };
    if let Err(error) = sender.run(value, body).await {
        sender.abort(&error);
    }
    sender.is_done = true;
}

struct Sender {
    lane: Lane,
    credit: Arc<Credit>,
    sequence: u64,
    is_done: bool,
}

impl Sender {
    async fn run(&mut self, value: Bytes, mut body: Body) -> Result<(), CallError> {
        if !self.data(value).await? {
            return Ok(());
        }
        loop {
            let Ok(next) = timeout(KEEP_ALIVE, body.frame()).await else {
                if !self.piece(&[]).await? {
                    return Ok(());
                }
                continue;
            };
            match next {
                None => return self.end(HeaderMap::new()).await,
                Some(frame) => match frame?.into_data() {
                    Ok(data) => {
                        if !self.data(data).await? {
                            return Ok(());
                        }
                    }
                    Err(frame) => return self.end(frame.into_trailers().unwrap_or_default()).await,
                },
            }
        }
    }

    /// Whether more is wanted.
    async fn data(&mut self, mut data: Bytes) -> Result<bool, CallError> {
        while !data.is_empty() {
            let piece = data.split_to(data.len().min(MAX_CHUNK_BYTES));
            if !self.piece(&piece).await? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Whether it was wanted.
    async fn piece(&mut self, data: &[u8]) -> Result<bool, CallError> {
        if !self.credit.take(data.len()).await? {
            return Ok(false);
        }
        let frame = Chunk { sequence: self.next(), data }.encode(self.lane.prefix(Kind::Chunk));
        self.lane.outbox.send(frame).await?;
        Ok(true)
    }

    async fn end(&mut self, trailers: HeaderMap) -> Result<(), CallError> {
        let trailers = trailers.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
        let end = End { sequence: self.next(), trailers };
        let frame = end.encode(self.lane.prefix(Kind::End)).map_err(|error| CallError::too_large(error.to_string()))?;
        self.lane.outbox.send(frame).await
    }

    fn abort(&self, error: &CallError) {
        self.lane.outbox.post(encode_error(self.lane.prefix(Kind::Abort), error));
    }

    fn next(&mut self) -> u64 {
        self.sequence += 1;
        self.sequence - 1
    }
}

impl Drop for Sender {
    fn drop(&mut self) {
        if !self.is_done {
            self.abort(&CallError::new(CallErrorKind::Cancelled, "body breaks off: its sender left"));
        }
    }
}

enum Item {
    /// Empty when it only says that the sender is alive; it costs its share all the same.
    Data(Bytes),
    End(HeaderMap),
    Abort(CallError),
}

/// Both halves of a body that arrives over `lane`.
pub(super) fn open(lane: Lane) -> (Feed, Reader) {
    let (items, arrived) = mpsc::unbounded_channel();
    let granted = Arc::new(AtomicU64::new(WINDOW_BYTES));
    let feed = Feed { items, next: 0, received: 0, granted: Arc::clone(&granted) };
    let idle = Box::pin(tokio::time::sleep(IDLE_TIMEOUT));
    (feed, Reader { arrived, front: Bytes::new(), lane, consumed: 0, granted, idle, is_done: false, held: None })
}

/// Where the frames of a body are put as they arrive. What waits in it is bounded by what was granted.
pub(super) struct Feed {
    items: mpsc::UnboundedSender<Item>,
    next: u64,
    received: u64,
    granted: Arc<AtomicU64>,
}

impl Feed {
    /// A chunk.
    pub(super) fn chunk(&mut self, chunk: &Chunk<'_>, data: Bytes) {
        if !self.is_next(chunk.sequence) {
            return;
        }
        self.received += cost(data.len());
        if self.received > self.granted.load(Ordering::Acquire) {
            return self.fail(CallError::too_large("body breaks off: its sender sent more than was granted"));
        }
        self.put(Item::Data(data));
    }

    /// The end.
    pub(super) fn end(&mut self, end: &End<'_>) {
        if !self.is_next(end.sequence) {
            return;
        }
        let trailers = end.trailers.iter().map(|(name, value)| {
            Some((HeaderName::from_bytes(name.as_bytes()).ok()?, HeaderValue::from_bytes(value).ok()?))
        });
        match trailers.collect::<Option<HeaderMap>>() {
            Some(trailers) => self.put(Item::End(trailers)),
            None => self.fail(CallError::provider("body ends with a trailer that is not one")),
        }
    }

    /// The body breaks off.
    pub(super) fn fail(&mut self, error: CallError) {
        self.next = u64::MAX;
        self.put(Item::Abort(error));
    }

    fn put(&self, item: Item) {
        // An error means that nobody reads it.
        let _ = self.items.send(item);
    }

    fn is_next(&mut self, sequence: u64) -> bool {
        let is_next = sequence == self.next;
        match is_next {
            true => self.next += 1,
            false if self.next != u64::MAX => {
                self.fail(CallError::provider("body breaks off: its chunks are mixed up"))
            }
            false => {}
        }
        is_next
    }
}

/// A body as its reader sees it.
pub(super) struct Reader {
    arrived: mpsc::UnboundedReceiver<Item>,
    /// What was received together with a value and belongs to the body.
    front: Bytes,
    lane: Lane,
    consumed: u64,
    granted: Arc<AtomicU64>,
    idle: Pin<Box<Sleep>>,
    is_done: bool,
    held: Option<Held>,
}

impl Reader {
    /// Keeps `held` until the body was read or is dropped.
    #[must_use]
    pub(super) fn holding(mut self, held: Held) -> Self {
        self.held = Some(held);
        self
    }

    /// The first `len` bytes, which are a value in front of the body.
    pub(super) async fn take(&mut self, len: u64) -> Result<Bytes, CallError> {
        let len = usize::try_from(len.min(MAX_VALUE_BYTES + 1)).expect("is small");
        if len as u64 > MAX_VALUE_BYTES {
            return Err(CallError::too_large("value is larger than 16 MiB: put it into a body"));
        }
        let mut value = BytesMut::new();
        while value.len() < len {
            let data = match self.frame().await {
                Some(frame) => frame?.into_data().ok(),
                None => None,
            };
            let mut data = data.ok_or_else(|| CallError::contract("body ends within the value in front of it"))?;
            value.extend_from_slice(&data.split_to(data.len().min(len - value.len())));
            self.front = data;
        }
        Ok(value.freeze())
    }

    fn consume(&mut self, len: usize) {
        self.consumed += cost(len);
        let total = self.consumed + WINDOW_BYTES;
        if total - self.granted.load(Ordering::Acquire) >= WINDOW_BYTES / 4 {
            self.granted.store(total, Ordering::Release);
            self.lane.outbox.post(encode_credit(self.lane.prefix(Kind::Credit), total));
        }
    }

    fn finished(&mut self) {
        self.is_done = true;
        if let Some(held) = self.held.take() {
            held.finish();
        }
    }

    /// What an item means to the reader; `None` means nothing.
    fn taken(&mut self, item: Option<Item>) -> Option<Option<Result<Frame<Bytes>, CallError>>> {
        match item {
            Some(Item::Data(data)) => {
                self.consume(data.len());
                return (!data.is_empty()).then(|| Some(Ok(Frame::data(data))));
            }
            _ => self.finished(),
        }
        Some(match item {
            Some(Item::End(trailers)) => (!trailers.is_empty()).then(|| Ok(Frame::trailers(trailers))),
            Some(Item::Abort(error)) => Some(Err(error)),
            _ => Some(Err(CallError::new(CallErrorKind::Cancelled, "body breaks off: its call is over"))),
        })
    }
}

impl http_body::Body for Reader {
    type Data = Bytes;
    type Error = CallError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, CallError>>> {
        let this = &mut *self;
        if !this.front.is_empty() {
            return Poll::Ready(Some(Ok(Frame::data(std::mem::take(&mut this.front)))));
        }
        while !this.is_done {
            let Poll::Ready(item) = this.arrived.poll_recv(cx) else {
                ready!(this.idle.as_mut().poll(cx));
                this.is_done = true;
                return Poll::Ready(Some(Err(CallError::deadline("body was given up: nothing of it came for 30 s"))));
            };
            this.idle.as_mut().reset(Instant::now() + IDLE_TIMEOUT);
            if let Some(frame) = this.taken(item) {
                return Poll::Ready(frame);
            }
        }
        Poll::Ready(None)
    }

    fn is_end_stream(&self) -> bool {
        self.is_done && self.front.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        // A caller that drops the answer's body leaves by what it holds; a server only stops the caller's body.
        if !self.is_done && self.held.is_none() {
            self.lane.outbox.post(encode_bare(self.lane.prefix(Kind::Stop)));
        }
    }
}
