//! Arguments and results: opaque to the router, made wire once, at the host's edge.

use bytes::Bytes;
use trellis_lattice::error::CallError;
use trellis_provider_sdk as sdk;

/// The arguments of an invocation, or the value of an answer.
#[derive(Debug)]
pub enum Args {
    /// The head of an HTTP request.
    Request(Box<http::request::Parts>),
    /// The head of an HTTP response.
    Response(Box<http::response::Parts>),
    /// MessagePack.
    Wire(Bytes),
    /// WAVE text, from the command line: the arguments in parentheses, or one result.
    Wave(String),
}

impl Args {
    /// The same as bytes for the lattice.
    pub fn into_wire(self) -> Result<Bytes, CallError> {
        todo!()
    }

    /// The same for a provider.
    pub fn into_provider(self) -> Result<sdk::Args, CallError> {
        todo!()
    }
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
