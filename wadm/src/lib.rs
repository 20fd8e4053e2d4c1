//! `wadm`, the deployment manager.
//!
//! Speaks to hosts only through `lattice`; YAML stays inside [`manifest`].

#![forbid(unsafe_code)]

pub mod api;
pub mod catalog;
mod clock;
mod execute;
pub mod intent;
pub mod lease;
pub mod manifest;
pub mod observe;
pub mod plan;
pub mod reconcile;
pub mod status;
mod wadm;

pub use execute::RollBack;
pub use wadm::{Parts, Settings, Wadm};
