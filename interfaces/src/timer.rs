//! trellis:timer as it travels.

use serde::{Deserialize, Serialize};

/// `handler`, with its version.
pub const HANDLER: &str = "trellis:timer/handler@0.1.0";

/// The function that an actor exports. Its parameters are a [`Fire`]; a `Result<(), String>` comes back.
pub const FIRE: &str = "fire";

/// The parameters of `handler.fire`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fire {
    /// The firing.
    pub event: Tick,
}

/// A firing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tick {
    /// Which timer.
    pub name: String,
    /// The same for all attempts at one firing, and for no other.
    pub key: String,
    /// When it was due, in milliseconds since 1970 in UTC.
    pub scheduled_ms: u64,
    /// When this attempt began.
    pub fired_ms: u64,
    /// 1, or more after attempts that failed.
    pub attempt: u32,
    /// How many firings before this one were left out.
    pub missed: u32,
}
