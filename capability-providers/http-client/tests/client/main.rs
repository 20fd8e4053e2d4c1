//! The HTTP client by its public API, against real servers on loopback.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod faults;
mod pool;
mod refusing;
mod sending;
mod support;
mod tls;
