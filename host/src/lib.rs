//! The host: runs actors, supervises providers, serves control. A library; the binary is in `cli/`.

pub mod actor;
pub mod announce;
pub mod artifact;
pub mod assignment;
pub mod capability;
mod capacity;
pub mod config;
pub mod control;
pub mod error;
mod held;
pub mod host;
pub mod inspect;
mod kept;
pub mod links;
pub mod policy;
pub mod provider;
mod pulse;
mod readiness;
mod records;
mod resilience;
mod roster;
pub mod router;
pub mod runtime;
mod secrets;
mod setup;
mod standing;
