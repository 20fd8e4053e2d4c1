//! How calls over a link behave when its target does not: timeout, retries, breaker; as the link's source config says.
//!
//! Decisions only, which the router carries out in `router/guarded.rs`. What is counted is counted on this host.

mod breaker;
mod guard;
mod policy;
mod table;

pub(crate) use guard::{Guard, Nature};
pub(crate) use policy::{Policy, says_something};
pub(crate) use table::Guards;
