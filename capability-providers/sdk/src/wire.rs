//! Typed values to and from [`Args::Wire`].

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::{Answer, Args, Body, CallError};

/// Encodes the parameters of a call (a tuple or struct) or a result.
///
/// # Errors
/// `Provider` when the value has no wire form.
pub fn encode(value: &impl Serialize) -> Result<Args, CallError> {
    let bytes =
        rmp_serde::to_vec(value).map_err(|error| CallError::provider(format!("value has no wire form: {error}")))?;
    Ok(Args::Wire(bytes.into()))
}

/// Decodes the parameters of a call (into a tuple or struct) or a result.
///
/// # Errors
/// `Contract` when the bytes are of another shape.
pub fn decode<T: DeserializeOwned>(args: &Args) -> Result<T, CallError> {
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
