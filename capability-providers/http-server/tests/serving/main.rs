//! The HTTP server by its public API, over both versions of HTTP: real sockets, actors that are closures.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod bodies;
mod endings;
mod links;
mod streams;
mod support;
