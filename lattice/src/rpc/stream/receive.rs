//! The receiving end of a body.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue};
use http_body::{Frame, SizeHint};
use http_body_util::BodyExt as _;
use tokio::sync::mpsc;
use tokio::time::{Instant, Sleep};

use super::{IDLE_TIMEOUT, cost};
use crate::error::{CallError, CallErrorKind};
use crate::rpc::core::{Core, Gauge, Lane};
use crate::rpc::slot::Held;
use crate::wire::flow::{encode_bare, encode_credit};
use crate::wire::{End, Kind, MIN_CHUNK_COST_BYTES, WINDOW_BYTES};

/// As many items as a window can hold, and the last one.
const QUEUE: usize = (WINDOW_BYTES / MIN_CHUNK_COST_BYTES) as usize + 8;

/// When a credit is said again while nothing comes: it may have been lost.
const CREDIT_AGAIN: std::time::Duration = std::time::Duration::from_secs(2);

/// How soon a credit is tried again that could not be sent.
const CREDIT_RETRY: std::time::Duration = std::time::Duration::from_millis(5);

enum Item {
    Data(Bytes),
    Alive,
    End(HeaderMap),
    Abort(CallError),
}

/// Both halves of a body that arrives over `lane`, whose total length may be known.
pub(in crate::rpc) fn open(core: &Arc<Core>, lane: Lane, length: Option<u64>) -> (Feed, Reader) {
    let (tx, rx) = mpsc::channel(QUEUE);
    let granted = Arc::new(AtomicU64::new(WINDOW_BYTES));
    let buffered = Arc::clone(&core.buffered);
    let feed = Feed { tx: Some(tx), next: 0, received: 0, granted: Arc::clone(&granted), buffered };
    let idle = Box::pin(tokio::time::sleep(CREDIT_AGAIN));
    let reader = Reader {
        rx,
        front: Bytes::new(),
        core: Arc::clone(core),
        lane,
        consumed: 0,
        granted,
        length,
        idle,
        gives_up: Instant::now() + IDLE_TIMEOUT,
        is_done: false,
        held: None,
    };
    (feed, reader)
}

/// Where the frames of a body are put as they arrive.
pub(in crate::rpc) struct Feed {
    /// Absent once the body is broken beyond saying so.
    tx: Option<mpsc::Sender<Item>>,
    next: u64,
    received: u64,
    granted: Arc<AtomicU64>,
    buffered: Arc<Gauge>,
}

impl Feed {
    /// A chunk. One that was there already is ignored; a gap, or more than was granted, breaks the body.
    pub(in crate::rpc) fn chunk(&mut self, sequence: u64, data: Bytes) {
        if !self.is_next(sequence) {
            return;
        }
        if data.is_empty() {
            return self.alive();
        }
        self.received += cost(data.len());
        if self.received > self.granted.load(Ordering::Acquire) {
            return self.fail(CallError::too_large("body breaks off: its sender sent more than was granted"));
        }
        let len = data.len();
        self.buffered.add(len);
        if !self.put(Item::Data(data)) {
            self.buffered.sub(len);
        }
    }

    /// The end.
    pub(in crate::rpc) fn end(&mut self, end: &End<'_>) {
        if !self.is_next(end.sequence) {
            return;
        }
        let trailers = end.trailers.iter().map(|(name, value)| {
            Some((HeaderName::from_bytes(name.as_bytes()).ok()?, HeaderValue::from_bytes(value).ok()?))
        });
        match trailers.collect::<Option<HeaderMap>>() {
            Some(trailers) => drop(self.put(Item::End(trailers))),
            None => self.fail(CallError::provider("body ends with a trailer that is not one")),
        }
    }

    /// The body breaks off.
    pub(in crate::rpc) fn fail(&mut self, error: CallError) {
        self.next = u64::MAX;
        self.put(Item::Abort(error));
    }

    /// The sender is there. A queue that is not empty says so already, and its places are counted.
    fn alive(&mut self) {
        if self.tx.as_ref().is_some_and(|tx| tx.capacity() == tx.max_capacity()) {
            self.put(Item::Alive);
        }
    }

    /// Queues an item. One that cannot be queued must not be missing in the middle: the body ends there, broken.
    fn put(&mut self, item: Item) -> bool {
        let is_queued = self.tx.as_ref().is_some_and(|tx| tx.try_send(item).is_ok());
        if !is_queued {
            self.tx = None;
        }
        is_queued
    }

    fn is_next(&mut self, sequence: u64) -> bool {
        if sequence > self.next {
            let message = format!("body breaks off: {} of its chunks were lost", sequence - self.next);
            self.fail(CallError::new(CallErrorKind::UnknownOutcome, message));
        }
        let is_next = sequence == self.next;
        if is_next {
            self.next += 1;
        }
        is_next
    }
}

/// A body as its reader sees it.
pub(in crate::rpc) struct Reader {
    rx: mpsc::Receiver<Item>,
    /// What was received together with a value and belongs to the body.
    front: Bytes,
    core: Arc<Core>,
    lane: Lane,
    consumed: u64,
    granted: Arc<AtomicU64>,
    length: Option<u64>,
    idle: Pin<Box<Sleep>>,
    gives_up: Instant,
    is_done: bool,
    held: Option<Held>,
}

impl Reader {
    /// The slot that is held until this body was read.
    #[must_use]
    pub(in crate::rpc) fn holding(mut self, held: Held) -> Self {
        self.held = Some(held);
        self
    }

    /// The first `len` bytes, which are a value in front of the body.
    pub(in crate::rpc) async fn take(&mut self, len: u64) -> Result<Bytes, CallError> {
        let len = usize::try_from(len).ok().filter(|len| *len <= super::super::MAX_VALUE_BYTES);
        let len = len.ok_or_else(|| CallError::too_large("value is larger than 16 MiB: put it into a body"))?;
        // The announced length is that of the body alone.
        let length = self.length.take();
        let mut value = BytesMut::new();
        while value.len() < len {
            let data = match self.frame().await {
                Some(frame) => frame?.into_data().ok(),
                None => None,
            };
            let mut data = data.ok_or_else(|| CallError::contract("body ends within the value in front of it"))?;
            let piece = data.split_to(data.len().min(len - value.len()));
            value.extend_from_slice(&piece);
            self.front = data;
        }
        self.length = length;
        Ok(value.freeze())
    }

    /// Reads the end where nothing may follow.
    pub(in crate::rpc) async fn finish(&mut self) -> Result<(), CallError> {
        match self.frame().await {
            None => Ok(()),
            Some(Err(error)) => Err(error),
            Some(Ok(_)) => Err(CallError::contract("body follows where none was announced")),
        }
    }

    fn yielded(&mut self, data: Bytes) -> Result<Frame<Bytes>, CallError> {
        if let Some(missing) = &mut self.length {
            let more = || CallError::contract("body is longer than its announced length");
            *missing = missing.checked_sub(data.len() as u64).ok_or_else(more)?;
        }
        Ok(Frame::data(data))
    }

    fn consume(&mut self, len: usize) {
        self.core.buffered.sub(len);
        self.consumed += cost(len);
        self.grant();
    }

    /// Tells the sender how much more it may send, when that is worth a message.
    fn grant(&mut self) {
        let total_bytes = self.consumed + WINDOW_BYTES;
        if total_bytes - self.granted.load(Ordering::Acquire) >= WINDOW_BYTES / 4 {
            // Granted before it is said: the sender's next chunk may be here before this function returns.
            self.granted.store(total_bytes, Ordering::Release);
            self.say_credit();
        }
    }

    /// Says what was granted; again soon, if that cannot be sent now.
    fn say_credit(&mut self) {
        let frame = encode_credit(self.lane.prefix(Kind::Credit), self.granted.load(Ordering::Acquire));
        if !self.core.outbox.post(self.lane.letter(frame)) {
            self.idle.as_mut().reset(Instant::now() + CREDIT_RETRY);
        }
    }

    fn made_progress(&mut self) {
        let now = Instant::now();
        self.gives_up = now + IDLE_TIMEOUT;
        self.idle.as_mut().reset(now + CREDIT_AGAIN);
    }

    fn finished(&mut self) {
        self.is_done = true;
        if let Some(held) = self.held.take() {
            held.finish();
        }
    }
}

impl http_body::Body for Reader {
    type Data = Bytes;
    type Error = CallError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, CallError>>> {
        let this = &mut *self;
        if !this.front.is_empty() {
            let data = std::mem::take(&mut this.front);
            return Poll::Ready(Some(this.yielded(data)));
        }
        while !this.is_done {
            let Poll::Ready(item) = this.rx.poll_recv(cx) else {
                ready!(this.idle.as_mut().poll(cx));
                if Instant::now() >= this.gives_up {
                    this.is_done = true;
                    let message = "body was given up: nothing of it came for 30 s";
                    return Poll::Ready(Some(Err(CallError::deadline(message))));
                }
                this.idle.as_mut().reset(Instant::now() + CREDIT_AGAIN);
                this.say_credit();
                continue;
            };
            this.made_progress();
            match item {
                Some(Item::Alive) => {}
                Some(Item::Data(data)) => {
                    this.consume(data.len());
                    return Poll::Ready(Some(this.yielded(data)));
                }
                Some(Item::End(trailers)) => {
                    this.finished();
                    if this.length.is_some_and(|missing| missing > 0) {
                        return Poll::Ready(Some(Err(CallError::contract("body ends before its announced length"))));
                    }
                    return Poll::Ready((!trailers.is_empty()).then(|| Ok(Frame::trailers(trailers))));
                }
                Some(Item::Abort(error)) => {
                    this.finished();
                    return Poll::Ready(Some(Err(error)));
                }
                None => {
                    this.finished();
                    let message = "body breaks off: its call is over";
                    return Poll::Ready(Some(Err(CallError::new(CallErrorKind::Cancelled, message))));
                }
            }
        }
        Poll::Ready(None)
    }

    fn is_end_stream(&self) -> bool {
        self.is_done && self.front.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        match self.length {
            Some(length) => SizeHint::with_exact(length),
            None => SizeHint::default(),
        }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.rx.close();
        while let Ok(item) = self.rx.try_recv() {
            if let Item::Data(data) = item {
                self.core.buffered.sub(data.len());
            }
        }
        // A caller that drops the answer's body leaves by its slot; a server only stops the caller's body.
        if !self.is_done && self.held.is_none() {
            self.core.outbox.post(self.lane.letter(encode_bare(self.lane.prefix(Kind::Stop))));
        }
    }
}
