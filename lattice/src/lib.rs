//! The lattice: names, identities, messages, transports, stores and calls.
//!
//! Knows no WebAssembly, no YAML and no processes. Wire formats are in PROTOCOL.md.

#![forbid(unsafe_code)]

pub mod body;
pub mod contract;
pub mod control;
pub mod damper;
pub mod deadline;
pub mod duration;
pub mod error;
pub mod gateway;
pub mod id;
pub mod identity;
pub mod message;
pub mod policy;
pub mod rpc;
pub mod seal;
pub mod secret;
pub mod secrets;
pub mod spelling;
pub mod store;
pub mod subject;
pub mod transport;
pub mod wire;
