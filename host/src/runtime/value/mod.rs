//! Arguments and results: opaque to the router, made wire once, at the host's edge.

use std::sync::Arc;

use bytes::Bytes;
use trellis_lattice::error::CallError;
use trellis_provider_sdk as sdk;
use wasmtime::component::Val;

mod flat;
mod pack;
mod types;
pub(crate) mod wave;

pub(crate) use flat::{Flat, Leaf};
pub(crate) use types::{FuncType, MAX_DEPTH, MAX_NODES, Type, Unsupported};

/// The arguments of an invocation, or the value of an answer.
#[derive(Debug, Clone)]
pub enum Args {
    /// Values of an actor on this host.
    Values(Values),
    /// The head of an HTTP request.
    Request(Box<http::request::Parts>),
    /// The head of an HTTP response.
    Response(Box<http::response::Parts>),
    /// MessagePack.
    Wire(Bytes),
    /// WAVE text, from the command line: the arguments in parentheses, or one result.
    Wave(String),
}

/// Values of an actor, which have not been made bytes.
#[derive(Debug, Clone)]
pub struct Values(Held);

#[derive(Debug, Clone)]
enum Held {
    Flat(Part<Flat>),
    Component(Part<Val>, Arc<FuncType>),
}

/// All parameters of a call, or its result.
#[derive(Debug, Clone)]
pub(crate) enum Part<T> {
    Params(Vec<T>),
    Result(Option<T>),
}

impl<T> Part<T> {
    fn name(&self) -> &'static str {
        match self {
            Self::Params(_) => "the arguments",
            Self::Result(_) => "the result",
        }
    }

    fn map<U>(self, f: impl FnMut(T) -> U) -> Part<U> {
        match self {
            Self::Params(values) => Part::Params(values.into_iter().map(f).collect()),
            Self::Result(value) => Part::Result(value.map(f)),
        }
    }
}

impl Args {
    /// The same as bytes for the lattice; of WAVE, its text.
    ///
    /// # Errors
    /// `Contract` when a value is not of the type it came with.
    pub fn into_wire(self) -> Result<Bytes, CallError> {
        self.into_provider().and_then(sdk::heads::to_bytes)
    }

    /// The same for a provider: HTTP heads as they are, all else as bytes.
    ///
    /// # Errors
    /// As [`Args::into_wire`].
    pub fn into_provider(self) -> Result<sdk::Args, CallError> {
        Ok(match self {
            Self::Request(parts) => sdk::Args::Request(parts),
            Self::Response(parts) => sdk::Args::Response(parts),
            Self::Values(values) => sdk::Args::Wire(values.into_wire()?),
            Self::Wire(bytes) => sdk::Args::Wire(bytes),
            Self::Wave(text) => sdk::Args::Wire(text.into()),
        })
    }

    /// The head of the HTTP request that this is, if it came over the lattice from its bytes.
    ///
    /// # Errors
    /// `Contract` when it is no such head.
    pub fn into_request(self) -> Result<Box<http::request::Parts>, CallError> {
        match self {
            Self::Request(parts) => Ok(parts),
            Self::Wire(bytes) => sdk::heads::request(&bytes).map(Box::new),
            _ => Err(CallError::contract("values came where an HTTP request is expected")),
        }
    }

    /// The head of the HTTP response that this is, if it came over the lattice from its bytes.
    ///
    /// # Errors
    /// `Contract` when it is no such head.
    pub fn into_response(self) -> Result<Box<http::response::Parts>, CallError> {
        match self {
            Self::Response(parts) => Ok(parts),
            Self::Wire(bytes) => sdk::heads::response(&bytes).map(Box::new),
            _ => Err(CallError::contract("values came where an HTTP response is expected")),
        }
    }

    /// Values of kinds that need no type.
    pub(crate) fn flat(part: Part<Flat>) -> Self {
        Self::Values(Values(Held::Flat(part)))
    }

    /// Values of the type `ty`.
    pub(crate) fn component(part: Part<Val>, ty: &Arc<FuncType>) -> Self {
        Self::Values(Values(Held::Component(part, Arc::clone(ty))))
    }
}

impl Values {
    fn into_wire(self) -> Result<Bytes, CallError> {
        let bytes = match self.0 {
            Held::Flat(part) => flat::encode(&part),
            Held::Component(part, ty) => pack::encode(&part, &ty),
        };
        bytes.map(Bytes::from)
    }
}

impl FuncType {
    /// Arguments for a call by dynamic values.
    ///
    /// # Errors
    /// `Contract` when they are of another type.
    pub(crate) fn params(&self, args: Args) -> Result<Vec<Val>, CallError> {
        match args {
            Args::Values(Values(Held::Component(Part::Params(values), _))) => Ok(values),
            Args::Values(Values(Held::Flat(part))) => match part.map(Val::from) {
                Part::Params(values) => Ok(values),
                Part::Result(_) => Err(unexpected()),
            },
            Args::Wire(bytes) => pack::decode_params(&bytes, self),
            _ => Err(unexpected()),
        }
    }

    /// The result of a call for a caller by dynamic values.
    ///
    /// # Errors
    /// `Contract` when it is of another type.
    pub(crate) fn result(&self, args: Args) -> Result<Option<Val>, CallError> {
        match args {
            Args::Values(Values(Held::Component(Part::Result(value), _))) => Ok(value),
            Args::Values(Values(Held::Flat(part))) => match part.map(Val::from) {
                Part::Result(value) => Ok(value),
                Part::Params(_) => Err(unexpected()),
            },
            Args::Wire(bytes) => pack::decode_result(&bytes, self),
            _ => Err(unexpected()),
        }
    }

    /// Arguments for a call by a typed wrapper.
    ///
    /// # Errors
    /// `Contract` when they are of another type.
    pub(crate) fn flat_params(&self, args: Args) -> Result<Vec<Flat>, CallError> {
        match args {
            Args::Values(Values(Held::Flat(Part::Params(values)))) => Ok(values),
            Args::Values(Values(Held::Component(Part::Params(values), _))) if values.len() == self.params.len() => {
                let flat = values.into_iter().zip(&self.params).map(|(value, (_, ty))| Flat::of(value, ty));
                flat.collect::<Option<_>>().ok_or_else(unexpected)
            }
            Args::Wire(bytes) => flat::decode_params(&bytes, self),
            _ => Err(unexpected()),
        }
    }

    /// The result of a call for a caller by a typed wrapper.
    ///
    /// # Errors
    /// `Contract` when it is of another type.
    pub(crate) fn flat_result(&self, args: Args) -> Result<Option<Flat>, CallError> {
        match args {
            Args::Values(Values(Held::Flat(Part::Result(value)))) => Ok(value),
            Args::Values(Values(Held::Component(Part::Result(value), _))) => match (value, &self.result) {
                (Some(value), Some(ty)) => Flat::of(value, ty).map(Some).ok_or_else(unexpected),
                (None, None) => Ok(None),
                _ => Err(unexpected()),
            },
            Args::Wire(bytes) => flat::decode_result(&bytes, self),
            _ => Err(unexpected()),
        }
    }
}

fn unexpected() -> CallError {
    CallError::contract("arguments or result are of another kind than the function's type says")
}

impl From<sdk::Args> for Args {
    fn from(args: sdk::Args) -> Self {
        match args {
            sdk::Args::Wire(bytes) => Self::Wire(bytes),
            sdk::Args::Request(parts) => Self::Request(parts),
            sdk::Args::Response(parts) => Self::Response(parts),
        }
    }
}
