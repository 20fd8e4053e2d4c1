//! What travels in a lattice, as types: calls, links, presence, and the control messages and events of lattice v1.
//!
//! Shapes only. How they are encoded is [`crate::wire`]'s (ours) or JSON by serde (lattice v1's).

pub mod command;
pub mod event;
pub mod fence;
pub mod inventory;
pub mod invocation;
pub mod lease;
pub mod link;
pub mod pin;
pub mod presence;
pub mod readiness;
pub mod record;
