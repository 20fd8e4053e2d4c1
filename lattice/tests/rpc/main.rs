//! Calls between peers: over the memory transport, and over a real NATS server.

#![expect(clippy::unwrap_used, reason = "a test may fail where it stands")]

mod attacks;
mod bodies;
mod calls;
mod failover;
#[path = "../net/support.rs"]
#[expect(dead_code, reason = "shared with the tests of the transports, which do more with it")]
mod nats_server;
mod scene;
mod support;
mod together;
