//! What the guest that serves a request and the reader of its answer tell each other.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use tokio::sync::Notify;
use trellis_lattice::error::CallError;
use wasmtime_wasi_http::WasiBody;

use crate::runtime::{Guest, call_error};

/// The head of an answer and its body as the guest writes it.
pub(super) type Response = http::Response<WasiBody>;

/// One request and its answer, shared by the two sides.
#[derive(Default)]
pub(super) struct Exchange {
    /// Set once, by the guest; a lock because both sides take turns, never held but to move the value.
    head: Mutex<Option<Result<Response, CallError>>>,
    failure: OnceLock<CallError>,
    read: Notify,
}

impl Exchange {
    /// The guest answers.
    pub(super) fn answer(&self, head: Result<Response, CallError>) {
        *self.head.lock().unwrap_or_else(PoisonError::into_inner) = Some(head);
    }

    /// The answer, if the guest gave it and nobody took it yet.
    pub(super) fn take_answer(&self) -> Option<Result<Response, CallError>> {
        self.head.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Why the guest ended before its work was done, if it did. Known before its body ends.
    pub(super) fn failure(&self) -> Option<&CallError> {
        self.failure.get()
    }

    /// The reader has all of the body.
    pub(super) fn set_read(&self) {
        self.read.notify_one();
    }

    /// Waits until the reader has all of the body.
    pub(super) async fn read(&self) {
        self.read.notified().await;
    }
}

/// Makes an end without an outcome a failure. It must be dropped before the store: a body whose writer is gone looks
/// finished, and the reader then asks for the failure.
pub(super) struct Ending {
    exchange: Arc<Exchange>,
    guest: Arc<Guest>,
    settled: bool,
}

impl Ending {
    /// The end of `guest`'s execution for this exchange.
    pub(super) fn of(exchange: &Arc<Exchange>, guest: &Arc<Guest>) -> Self {
        Self { exchange: Arc::clone(exchange), guest: Arc::clone(guest), settled: false }
    }

    /// It ended with `outcome`; an elapsed timer is the deadline.
    pub(super) fn settle(mut self, outcome: Result<wasmtime::Result<()>, tokio::time::error::Elapsed>) {
        self.settled = true;
        let failure = match outcome {
            Ok(Ok(())) => return,
            Ok(Err(error)) => call_error(&self.guest, &error),
            Err(_) => CallError::deadline(format!("{} did not answer in time", self.guest.id)),
        };
        _ = self.exchange.failure.set(failure);
    }
}

impl Drop for Ending {
    fn drop(&mut self) {
        if !self.settled {
            let message = format!("{} was ended before it had answered", self.guest.id);
            _ = self.exchange.failure.set(CallError::new(trellis_lattice::error::CallErrorKind::Cancelled, message));
        }
    }
}
