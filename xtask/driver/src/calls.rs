//! One actor calls another on the same host, through router, link check and limits.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use trellis_lattice::store::memory::MemoryStore;
use trellis_lattice::transport::memory::MemoryBus;

use crate::world::{Binary, Bus, Figures, Target, World};

/// What to measure.
pub(crate) struct Plan {
    /// `interface.function` of the caller.
    pub(crate) function: String,
    /// The interface of the callee.
    pub(crate) interface: String,
    /// Calls per batch.
    pub(crate) count: u32,
    /// Batches.
    pub(crate) batches: u32,
}

/// Nanoseconds per call of each batch, after one that does not count. What it costs to start the loop is taken off.
pub(crate) async fn measure(caller: &Path, callee: &Path, plan: &Plan) -> anyhow::Result<Figures> {
    let (caller, callee) = (Binary::of(caller)?, Binary::of(callee)?);
    let world = World::start(in_one_process(), &[caller.path(), callee.path()]).await?;
    world.run("callee", callee.path()).await?;
    world.link("caller", "callee", &plan.interface).await?;
    world.run("caller", caller.path()).await?;
    world.until_present("caller").await?;
    let target = Target::parse("caller", &plan.function)?;
    let (one, many) = (count(1)?, count(plan.count)?);
    let mut nanoseconds = Vec::new();
    for _ in 0..=plan.batches {
        let started = Instant::now();
        world.call(&target, one.clone()).await?;
        let overhead = started.elapsed();
        let started = Instant::now();
        world.call(&target, many.clone()).await?;
        let calls = started.elapsed().saturating_sub(overhead);
        nanoseconds.push(calls.as_secs_f64() * 1e9 / f64::from(plan.count - 1));
    }
    nanoseconds.remove(0);
    Ok(Figures::from([("nanoseconds", nanoseconds)]))
}

/// A bus and a store in memory.
pub(crate) fn in_one_process() -> Bus {
    let bus = MemoryBus::new();
    let (host, caller) = (Arc::new(bus.endpoint("host")), Arc::new(bus.endpoint("caller")));
    Bus { host, caller, store: Arc::new(MemoryStore::new()) }
}

fn count(count: u32) -> anyhow::Result<Bytes> {
    Ok(rmp_serde::to_vec(&(count,))?.into())
}
