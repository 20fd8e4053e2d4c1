//! How calls over a link behave when its target does not: timeout, retries, breaker, concurrency; as the link's source
//! config says, or as is usual for what its target is.
//!
//! Decisions only, which the router carries out in `router/guarded.rs`. What may be said is the lattice's
//! ([`trellis_lattice::policy`]). What is counted is counted on this host.

mod breaker;
mod defaults;
mod guard;
mod places;
mod table;

pub(crate) use defaults::Defaults;
pub(crate) use guard::{Guard, Nature, Permit};
pub(crate) use places::Place;
pub(crate) use table::Guards;
