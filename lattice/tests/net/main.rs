//! Transports, stores and the gateway by their public API, with real nats-servers.

mod access;
mod gateway;
mod nats;
mod store;
mod support;
mod transport;
