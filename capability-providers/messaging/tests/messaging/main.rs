//! Messaging by its public API, as actors and hosts use it, on each of its brokers.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod bench;
mod conformance;
mod durable;
mod embedded;
mod faults;
mod load;
mod server;
