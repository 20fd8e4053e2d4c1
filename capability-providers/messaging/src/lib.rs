//! The built-in messaging: wasmcloud:messaging on a queue in the provider's own file, on NATS, or on JetStream.
//!
//! A broker feeds messages to the lanes of a link (`lanes`), which hand them to the actor, in order where that is asked
//! for, and again when it failed. What an actor sends goes to the broker of its link. See README.md.

#![forbid(unsafe_code)]

mod config;
mod provider;

mod broker;
mod consumer;
mod lanes;
mod sink;
mod subject;
mod transform;

mod embedded;
mod jetstream;
mod nats;

pub use provider::{Messaging, NAME, factory};
