//! SQL by the provider's public API, as actors call it: one suite for both backends, on real files and a real server.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod actor;
mod attacks;
mod backend;
mod conflicts;
mod contract;
mod faults;
mod limits;
mod migrations;
mod server;
mod transactions;
