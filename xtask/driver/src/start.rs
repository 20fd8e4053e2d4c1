//! From the command to start an actor to the event that it runs, when its code is in the cache on disk.

use std::path::Path;
use std::time::Instant;

use crate::calls::in_one_process;
use crate::world::{Binary, Figures, World};

/// Nanoseconds of each start, after the one that fills the cache. Nothing else holds the code: each start loads it.
pub(crate) async fn measure(component: &Path, rounds: u32) -> anyhow::Result<Figures> {
    let component = Binary::of(component)?;
    let world = World::start(in_one_process(), &[component.path()]).await?;
    let mut nanoseconds = Vec::new();
    for _ in 0..=rounds {
        let started = Instant::now();
        world.run("actor", component.path()).await?;
        nanoseconds.push(started.elapsed().as_secs_f64() * 1e9);
        world.stop("actor", component.path()).await?;
    }
    let cold = nanoseconds.remove(0);
    Ok(Figures::from([("nanoseconds", nanoseconds), ("cold", vec![cold])]))
}
