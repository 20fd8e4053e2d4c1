//! Arguments and results to and from bytes: HTTP heads have a form of their own, all else is bytes already.

use bytes::Bytes;
use trellis_interfaces::http::{RequestHead, ResponseHead};

use crate::{Args, CallError, Interface};

/// As bytes.
///
/// # Errors
/// `Contract` when an HTTP head has no wire form.
pub(super) fn to_bytes(args: Args) -> Result<Bytes, CallError> {
    let head = match args {
        Args::Wire(bytes) => return Ok(bytes),
        Args::Request(parts) => rmp_serde::to_vec(&RequestHead::from(&*parts)),
        Args::Response(parts) => rmp_serde::to_vec(&ResponseHead::from(&*parts)),
    };
    head.map(Bytes::from).map_err(|error| CallError::contract(format!("HTTP head has no wire form: {error}")))
}

/// The arguments of a call to `interface`.
///
/// # Errors
/// `Contract` when an HTTP request was expected and is not there.
pub(super) fn arguments(interface: &Interface, bytes: Bytes) -> Result<Args, CallError> {
    if !is_http(interface) {
        return Ok(Args::Wire(bytes));
    }
    let head: RequestHead = rmp_serde::from_slice(&bytes).map_err(not_http)?;
    let parts = http::request::Parts::try_from(head).map_err(|error| CallError::contract(error.to_string()))?;
    Ok(Args::Request(Box::new(parts)))
}

/// The result of a call to `interface`.
///
/// # Errors
/// `Contract` when an HTTP response was expected and is not there.
pub(super) fn value(interface: &Interface, bytes: Bytes) -> Result<Args, CallError> {
    if !is_http(interface) {
        return Ok(Args::Wire(bytes));
    }
    let head: ResponseHead = rmp_serde::from_slice(&bytes).map_err(not_http)?;
    let parts = http::response::Parts::try_from(head).map_err(|error| CallError::contract(error.to_string()))?;
    Ok(Args::Response(Box::new(parts)))
}

fn is_http(interface: &Interface) -> bool {
    interface.namespace() == "wasi" && interface.package() == "http"
}

fn not_http(error: rmp_serde::decode::Error) -> CallError {
    CallError::contract(format!("the head of the HTTP message has another shape: {error}"))
}
