//! The built-in key-value store: wasi:keyvalue on one file per provider.
//!
//! Reads are transactions of their own and never wait for writes. Writes go to one thread, which puts all that wait
//! into one transaction, so that many callers share one fsync. See README.md.

#![forbid(unsafe_code)]

mod config;
mod provider;

mod scope;

mod change;
mod store;
mod writer;

pub use provider::{KeyValue, NAME, factory};
