//! From the bytes of the lattice to arguments and values: what they mean depends on the interface.

use bytes::Bytes;
use trellis_interfaces::http::{RequestHead, ResponseHead};
use trellis_lattice::contract::Interface;
use trellis_lattice::error::CallError;
use trellis_lattice::message::invocation::Encoding;

use crate::runtime::value::Args;

/// The arguments of a call to `interface` that came as `bytes`.
pub(super) fn arguments(interface: &Interface, encoding: Encoding, bytes: Bytes) -> Result<Args, CallError> {
    if encoding == Encoding::Wave {
        let text = std::str::from_utf8(&bytes).map_err(|_| CallError::contract("the arguments are not UTF-8 text"))?;
        return Ok(Args::Wave(text.to_owned()));
    }
    if !is_http(interface) {
        return Ok(Args::Wire(bytes));
    }
    let head: RequestHead = rmp_serde::from_slice(&bytes).map_err(not_http)?;
    let parts = http::request::Parts::try_from(head).map_err(|error| CallError::contract(error.to_string()))?;
    Ok(Args::Request(Box::new(parts)))
}

/// The result of a call to `interface` that came as `bytes`.
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
