//! `wadm`, the deployment manager: so far, what an application manifest is made of.
//!
//! Speaks to hosts only through `lattice`; YAML stays inside [`manifest`].

#![forbid(unsafe_code)]

pub mod intent;
pub mod lease;
pub mod manifest;
