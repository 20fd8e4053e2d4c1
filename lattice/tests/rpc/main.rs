//! Calls between peers: over the memory transport, and over a real NATS server.

mod attacks;
mod bodies;
mod calls;
mod failover;
mod support;
