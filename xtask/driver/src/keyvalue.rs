//! An actor that reads a key through the built-in provider, and the same one doing nothing, in turns; both called by
//! another actor on the same host.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Instant;

use anyhow::ensure;
use bytes::Bytes;

use crate::calls::in_one_process;
use crate::world::{Binary, Figures, Target, World};

/// Calls of a batch, and batches of a round, whose median counts.
const COUNT: u32 = 1_000;
const BATCHES: usize = 5;

/// The length of the value that is read.
const VALUE_BYTES: u32 = 64;

/// Microseconds per call of each round, after one that does not count.
pub(crate) async fn measure(caller: &Path, reader: &Path, rounds: u32) -> anyhow::Result<Figures> {
    let (caller, reader) = (Binary::of(caller)?, Binary::of(reader)?);
    let provider = (trellis_provider_keyvalue::NAME.to_owned(), trellis_provider_keyvalue::factory());
    let components = [caller.path(), reader.path()];
    let world = World::start_with(in_one_process(), &components, BTreeMap::from([provider]), Native::default()).await?;
    world.provide("kv", "builtin:keyvalue").await?;
    world.link("reader", "kv", "wasi:keyvalue/store").await?;
    world.run("reader", reader.path()).await?;
    world.link("caller", "reader", "bench:keyvalue/reader").await?;
    world.run("caller", caller.path()).await?;
    world.until_present("caller").await?;
    let [nothing, get, set] = ["nothing", "get", "set"].map(|name| format!("bench:keyvalue/driver.{name}"));
    call(&world, &set, 1).await?;
    let read = call(&world, &get, 1).await?;
    ensure!(read == VALUE_BYTES, "a value of {VALUE_BYTES} bytes was read as one of {read}");
    let mut figures = Figures::new();
    for round in 0..=rounds {
        for (name, function) in [("get", &get), ("nothing", &nothing)] {
            let took = microseconds(&world, function).await?;
            if round > 0 {
                figures.entry(name).or_default().push(took);
            }
        }
    }
    Ok(figures)
}

/// What it costs to start the loop is taken off.
async fn microseconds(world: &World, function: &str) -> anyhow::Result<f64> {
    let mut batches = Vec::new();
    for _ in 0..BATCHES {
        let started = Instant::now();
        call(world, function, 1).await?;
        let overhead = started.elapsed();
        let started = Instant::now();
        call(world, function, COUNT).await?;
        let calls = started.elapsed().saturating_sub(overhead);
        batches.push(calls.as_secs_f64() * 1e6 / f64::from(COUNT - 1));
    }
    batches.sort_by(f64::total_cmp);
    Ok(batches[BATCHES / 2])
}

async fn call(world: &World, function: &str, count: u32) -> anyhow::Result<u32> {
    let args: Bytes = rmp_serde::to_vec(&(count,))?.into();
    Ok(rmp_serde::from_slice(&world.call(&Target::parse("caller", function)?, args).await?)?)
}
