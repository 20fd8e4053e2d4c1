//! The key-value provider by its public API, as actors call it; Redis and NATS are real servers.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

mod conformance;
mod faults;
mod storing;
mod watching;
