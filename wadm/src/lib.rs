//! `wadm`, the deployment manager.
//!
//! Speaks to hosts only through `lattice`; YAML stays inside [`manifest`].

#![forbid(unsafe_code)]

pub mod intent;
pub mod lease;
pub mod manifest;
pub mod observe;
pub mod plan;
