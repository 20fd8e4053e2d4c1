//! The contracts that everyone has built in, as they travel: names of interfaces and functions, and the types of
//! their parameters and results. The WIT packages themselves are in `wit/`.
//!
//! All of it is MessagePack in serde's shapes: records and parameter lists are arrays, variants go by their WIT
//! name, `list<u8>` is binary, a result is serde's `Ok` or `Err`. No behaviour lives here.

#![forbid(unsafe_code)]

pub mod http;
pub mod keyvalue;
pub mod messaging;
