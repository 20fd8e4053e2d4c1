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

/// The largest component that is compiled.
pub(crate) const COMPONENT_BYTES: usize = 32 << 20;
/// Elements of one table.
pub(crate) const TABLE_ELEMENTS: usize = 20_000;
/// Core instances, tables and linear memories of one instance of an actor.
pub(crate) const CORE_INSTANCES: usize = 64;
/// Tables of one instance of an actor.
pub(crate) const TABLES: usize = 64;
/// Linear memories of one instance of an actor.
pub(crate) const MEMORIES: usize = 64;
/// Resources that one instance holds at once.
pub(crate) const RESOURCES: usize = 4_096;
/// What a guest may hand to the host in one call; a list of dynamic values costs 32 an element.
pub(crate) const HOSTCALL_BYTES: usize = 16 << 20;
/// Names and values of the HTTP fields of one message.
pub(crate) const HTTP_FIELDS_BYTES: usize = 32 << 10;
/// HTTP fields of one message; those of a table of headers cost more to hold than their bytes.
pub(crate) const HTTP_FIELDS: usize = 128;
