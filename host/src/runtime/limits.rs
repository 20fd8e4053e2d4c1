//! What one actor may use.

use std::time::Duration;

/// Limits of an actor; the defaults are those of the engine profile (ARCHITECTURE.md).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Instances that run at once; more calls queue.
    pub max_instances: u32,
    /// Calls that wait for an instance; more are `overloaded`.
    pub max_queue: u32,
    /// Linear memory of one instance.
    pub memory_bytes: usize,
    /// Longest execution of one call; the call's own deadline may be sooner.
    pub execution_time: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { max_instances: 64, max_queue: 1_024, memory_bytes: 64 << 20, execution_time: Duration::from_secs(30) }
    }
}
