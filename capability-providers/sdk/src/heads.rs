//! [`Args`] to and from bytes: the heads of HTTP messages have a form of their own, all else is bytes already.

use bytes::Bytes;
use http::{request, response};
use serde::de::DeserializeOwned;
use trellis_interfaces::http::{RequestHead, ResponseHead};

use crate::{Args, CallError, Interface};

/// As bytes.
///
/// # Errors
/// `Contract` when an HTTP head has no wire form.
pub fn to_bytes(args: Args) -> Result<Bytes, CallError> {
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
pub fn arguments(interface: &Interface, bytes: Bytes) -> Result<Args, CallError> {
    if is_http(interface) { request(&bytes).map(Box::new).map(Args::Request) } else { Ok(Args::Wire(bytes)) }
}

/// The result of a call to `interface`.
///
/// # Errors
/// `Contract` when an HTTP response was expected and is not there.
pub fn value(interface: &Interface, bytes: Bytes) -> Result<Args, CallError> {
    if is_http(interface) { response(&bytes).map(Box::new).map(Args::Response) } else { Ok(Args::Wire(bytes)) }
}

/// The head of the HTTP request that `bytes` are.
///
/// # Errors
/// `Contract` when they are none.
pub fn request(bytes: &[u8]) -> Result<request::Parts, CallError> {
    head::<RequestHead, _>(bytes)
}

/// The head of the HTTP response that `bytes` are.
///
/// # Errors
/// `Contract` when they are none.
pub fn response(bytes: &[u8]) -> Result<response::Parts, CallError> {
    head::<ResponseHead, _>(bytes)
}

fn head<Head, Parts>(bytes: &[u8]) -> Result<Parts, CallError>
where
    Head: DeserializeOwned,
    Parts: TryFrom<Head, Error: std::fmt::Display>,
{
    let head: Head = rmp_serde::from_slice(bytes)
        .map_err(|error| CallError::contract(format!("bytes are not the head of an HTTP message: {error}")))?;
    Parts::try_from(head).map_err(|error| CallError::contract(error.to_string()))
}

fn is_http(interface: &Interface) -> bool {
    interface.namespace() == "wasi" && interface.package() == "http"
}
