//! From the bytes of the lattice to arguments and values: what they mean depends on the interface.

use bytes::Bytes;
use trellis_lattice::contract::Interface;
use trellis_lattice::error::CallError;
use trellis_lattice::message::invocation::Encoding;
use trellis_provider_sdk::heads;

use crate::runtime::value::Args;

/// The arguments of a call to `interface` that came as `bytes`.
pub(super) fn arguments(interface: &Interface, encoding: Encoding, bytes: Bytes) -> Result<Args, CallError> {
    if encoding == Encoding::Wave {
        let text = std::str::from_utf8(&bytes).map_err(|_| CallError::contract("the arguments are not UTF-8 text"))?;
        return Ok(Args::Wave(text.to_owned()));
    }
    heads::arguments(interface, bytes).map(Args::from)
}

/// The result of a call to `interface` that came as `bytes`.
pub(super) fn value(interface: &Interface, bytes: Bytes) -> Result<Args, CallError> {
    heads::value(interface, bytes).map(Args::from)
}
