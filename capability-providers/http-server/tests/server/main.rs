//! The HTTP server by its public API: real sockets, actors that are closures.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod serving;
mod support;
mod transport;
