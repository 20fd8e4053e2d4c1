//! The HTTP server on the wire: what it says to bytes that are wrong, slow, too many or encrypted.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod closing;
mod crowd;
mod frames;
mod http2;
mod memory;
mod slow;
mod smuggling;
mod support;
mod tls;
mod usage;
