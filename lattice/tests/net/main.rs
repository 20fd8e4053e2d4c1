//! Transports, stores and the gateway by their public API, with real nats-servers.

mod store;
mod support;
mod transport;
