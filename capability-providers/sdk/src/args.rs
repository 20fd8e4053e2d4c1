//! Arguments and results as a provider sees them.

use bytes::Bytes;

/// The arguments of an invocation, or the value of an answer.
#[derive(Debug)]
pub enum Args {
    /// MessagePack in serde's shapes: the parameters as one array, a result as itself (see [`crate::wire`]).
    Wire(Bytes),
    /// The head of an HTTP request; the body travels beside it.
    Request(Box<http::request::Parts>),
    /// The head of an HTTP response; the body travels beside it.
    Response(Box<http::response::Parts>),
}
