//! Values as MessagePack in serde's shapes, by type: what goes over the lattice and to providers.
//!
//! record, tuple and parameters = array · variant = its case's name, or a map from the name to the payload · enum =
//! its name · flags = array of names · char = string · list<u8> = bin · option = the value or nil; an option in an
//! option = nil or an array of one · result = serde's `Ok` and `Err` · no result = nil.

mod read;
mod write;

pub(super) use read::Reader;
pub(super) use write::Writer;

use trellis_lattice::error::CallError;
use wasmtime::component::Val;

use super::Part;
use super::types::FuncType;

/// A value is not of the type that it should be of, or over the bounds of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// Another shape, or bytes that are cut off or left over.
    Shape,
    /// More than a guest could take.
    TooLarge,
}

impl Fault {
    pub(super) fn of(self, what: &str) -> CallError {
        match self {
            Self::Shape => CallError::contract(format!("{what} of the call are not of the type of its function")),
            Self::TooLarge => CallError::too_large(format!("{what} of the call are larger than a guest can take")),
        }
    }
}

/// `part`, which is of the type that `ty` says, as bytes.
///
/// # Errors
/// `Contract` when it is of another type.
pub(super) fn encode(part: &Part<Val>, ty: &FuncType) -> Result<Vec<u8>, CallError> {
    let mut writer = Writer::default();
    let written = match part {
        Part::Params(values) => writer.params(values, ty),
        Part::Result(value) => match (value, &ty.result) {
            (Some(value), Some(ty)) => writer.value(value, ty),
            (None, None) => writer.nil(),
            _ => Err(Fault::Shape),
        },
    };
    written.map_err(|fault| fault.of(part.name()))?;
    Ok(writer.into_bytes())
}

/// The parameters that `bytes` hold.
///
/// # Errors
/// `Contract` when they are of another type, `TooLarge` when they are over the bounds of a call.
pub(super) fn decode_params(bytes: &[u8], ty: &FuncType) -> Result<Vec<Val>, CallError> {
    Reader::all(bytes, |reader| reader.params(ty)).map_err(|fault| fault.of("the arguments"))
}

/// The result that `bytes` hold.
///
/// # Errors
/// As [`decode_params`].
pub(super) fn decode_result(bytes: &[u8], ty: &FuncType) -> Result<Option<Val>, CallError> {
    let read = |reader: &mut Reader<'_>| match &ty.result {
        Some(ty) => reader.value(ty).map(Some),
        None => reader.nil().map(|()| None),
    };
    Reader::all(bytes, read).map_err(|fault| fault.of("the result"))
}

#[cfg(test)]
mod tests;
