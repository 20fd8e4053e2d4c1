//! Typed values to and from [`Args::Wire`].

use serde::{Deserialize, Serialize};

use crate::{Answer, Args, Body, CallError};

/// What most values fit in, so that they are not moved while they grow.
const USUAL_BYTES: usize = 128;

/// Encodes the parameters of a call (a tuple or struct) or a result.
///
/// # Errors
/// `Provider` when the value has no wire form.
pub fn encode(value: &impl Serialize) -> Result<Args, CallError> {
    let mut bytes = Vec::with_capacity(USUAL_BYTES);
    rmp_serde::encode::write(&mut bytes, value)
        .map_err(|error| CallError::provider(format!("value has no wire form: {error}")))?;
    Ok(Args::Wire(bytes.into()))
}

/// Decodes the parameters of a call (into a tuple or struct) or a result. Texts may be borrowed.
///
/// # Errors
/// `Contract` when the bytes are of another shape.
pub fn decode<'a, T: Deserialize<'a>>(args: &'a Args) -> Result<T, CallError> {
    match args {
        Args::Wire(bytes) => rmp_serde::from_slice(bytes)
            .map_err(|error| CallError::contract(format!("arguments are not of the expected shape: {error}"))),
        Args::Request(_) | Args::Response(_) => {
            Err(CallError::contract("an HTTP message came where values are expected"))
        }
    }
}

/// An answer with `value` and no body.
///
/// # Errors
/// As [`encode`].
pub fn answer(value: &impl Serialize) -> Result<Answer<Args>, CallError> {
    Ok(Answer { value: encode(value)?, body: Body::Empty })
}
