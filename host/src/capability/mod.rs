//! Typed bridges between guests and the contracts that everyone has built in: one file per WIT package, all of one
//! shape: `add_to_linker`, and calls by the router.

mod builtin;
mod lines;

pub(crate) mod bus;
pub(crate) mod config;
pub(crate) mod http;
pub(crate) mod keyvalue;
pub(crate) mod logging;
pub(crate) mod messaging;
pub(crate) mod output;
pub(crate) mod secrets;

pub(crate) use lines::Allowance;

pub use builtin::{Need, builtin, is_builtin_export};
