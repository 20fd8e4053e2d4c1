//! Bodies on their way into a guest and out of it: the same frames, with the error of the other side.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use trellis_lattice::body::Body;
use trellis_lattice::error::CallError;
use wasmtime_wasi_http::{Error, WasiBody};

use super::outgoing::error_to_guest;

/// A body that a guest reads.
pub(super) struct ToGuest(pub(super) Body);

impl http_body::Body for ToGuest {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        Pin::new(&mut self.0).poll_frame(cx).map_err(error_to_guest)
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.size_hint()
    }
}

/// The body of a request that a guest sends.
pub(super) struct FromGuest(pub(super) WasiBody);

impl http_body::Body for FromGuest {
    type Data = Bytes;
    type Error = CallError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, CallError>>> {
        Pin::new(&mut self.0).poll_frame(cx).map_err(|error| unfinished("request", &error))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.size_hint()
    }
}

/// The error of a body that a guest began and did not finish.
pub(super) fn unfinished(message: &str, error: &Error) -> CallError {
    tracing::debug!(error = %error, "guest left a body unfinished");
    CallError::provider(format!("the actor did not finish the body of its {message}"))
}
