//! What waits for one reader: bounded in messages and bytes; what does not fit is lost, as a slow consumer's is.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll};

use futures::Stream;
use tokio::sync::mpsc;
use tracing::warn;

use super::{Delivery, Registration, Sink};
use crate::subject::Subject;
use crate::transport::Message;

/// At most so many messages wait for a reader.
const MAX_WAITING: usize = 64 * 1024;
/// At most so many bytes of payload wait for a reader.
const MAX_WAITING_BYTES: usize = 64 * 1024 * 1024;

/// The bus's end.
pub(super) struct Queue {
    messages: mpsc::Sender<Message>,
    waiting_bytes: Arc<AtomicUsize>,
    // Set while messages are lost, so that it is said once and not per message.
    is_losing: AtomicBool,
    endpoint: Arc<str>,
    subject: Subject,
}

impl Queue {
    pub(super) fn new(endpoint: Arc<str>, subject: Subject) -> (Self, Waiting) {
        let (tx, rx) = mpsc::channel(MAX_WAITING);
        let waiting_bytes = Arc::new(AtomicUsize::new(0));
        let waiting = Waiting { messages: rx, waiting_bytes: waiting_bytes.clone(), registration: None };
        (Self { messages: tx, waiting_bytes, is_losing: AtomicBool::new(false), endpoint, subject }, waiting)
    }

    fn lose(&self) -> Delivery {
        if !self.is_losing.swap(true, Ordering::Relaxed) {
            warn!(endpoint = %self.endpoint, subject = %self.subject, "slow reader lost messages");
        }
        Delivery::Lost
    }
}

impl Sink for Queue {
    fn deliver(&self, message: &Message) -> Delivery {
        let size = size_of(message);
        if self.waiting_bytes.fetch_add(size, Ordering::Relaxed) + size > MAX_WAITING_BYTES {
            self.waiting_bytes.fetch_sub(size, Ordering::Relaxed);
            return self.lose();
        }
        match self.messages.try_send(message.clone()) {
            Ok(()) => {
                if self.is_losing.load(Ordering::Relaxed) {
                    self.is_losing.store(false, Ordering::Relaxed);
                }
                Delivery::Taken
            }
            Err(refused) => {
                self.waiting_bytes.fetch_sub(size, Ordering::Relaxed);
                match refused {
                    mpsc::error::TrySendError::Full(_) => self.lose(),
                    mpsc::error::TrySendError::Closed(_) => Delivery::Gone,
                }
            }
        }
    }
}

fn size_of(message: &Message) -> usize {
    message.payload.len() + message.headers.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>()
}

/// The reader's end.
pub(super) struct Waiting {
    messages: mpsc::Receiver<Message>,
    waiting_bytes: Arc<AtomicUsize>,
    registration: Option<Registration>,
}

impl Waiting {
    /// The same, unsubscribing when dropped.
    pub(super) fn holding(mut self, registration: Registration) -> Self {
        self.registration = Some(registration);
        self
    }
}

impl Stream for Waiting {
    type Item = Message;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Message>> {
        let next = self.messages.poll_recv(cx);
        if let Poll::Ready(Some(message)) = &next {
            self.waiting_bytes.fetch_sub(size_of(message), Ordering::Relaxed);
        }
        next
    }
}

#[cfg(test)]
mod tests {
    use futures::StreamExt;

    use super::{Delivery, MAX_WAITING, MAX_WAITING_BYTES, Queue, Sink, Subject};
    use crate::transport::Message;

    fn message(bytes: usize) -> Message {
        Message::new(Subject::from_wire("a").expect("valid"), vec![0; bytes])
    }

    #[tokio::test]
    async fn a_full_queue_loses_and_takes_again_when_read() {
        let (queue, mut waiting) = Queue::new("e".into(), message(0).subject);
        let empty = message(0);
        for _ in 0..MAX_WAITING {
            assert_eq!(queue.deliver(&empty), Delivery::Taken);
        }
        assert_eq!(queue.deliver(&empty), Delivery::Lost);
        waiting.next().await.expect("there is one");
        assert_eq!(queue.deliver(&empty), Delivery::Taken);
    }

    #[tokio::test]
    async fn waiting_bytes_are_bounded_and_given_back() {
        let (queue, mut waiting) = Queue::new("e".into(), message(0).subject);
        let large = message(1024 * 1024);
        for _ in 0..MAX_WAITING_BYTES / large.payload.len() {
            assert_eq!(queue.deliver(&large), Delivery::Taken);
        }
        assert_eq!(queue.deliver(&message(1)), Delivery::Lost);
        waiting.next().await.expect("there is one");
        assert_eq!(queue.deliver(&large), Delivery::Taken);
    }

    #[test]
    fn a_dropped_reader_is_gone() {
        let (queue, waiting) = Queue::new("e".into(), message(0).subject);
        drop(waiting);
        assert_eq!(queue.deliver(&message(0)), Delivery::Gone);
    }
}
