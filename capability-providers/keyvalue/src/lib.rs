//! The built-in key-value provider: wasi:keyvalue on a file of its own, on Redis, or on NATS.
//!
//! `request` reads calls and `backend` carries them out; which backend a link has is said by its config. See
//! README.md.

#![forbid(unsafe_code)]

mod config;
mod provider;

mod request;
mod scope;

mod backend;
mod watcher;

pub use provider::{KeyValue, NAME, factory};
