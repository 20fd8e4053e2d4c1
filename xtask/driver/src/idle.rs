//! Many actors that nobody calls.

use std::path::Path;
use std::time::Duration;

use crate::calls::in_one_process;
use crate::process::{cpu_time, resident_bytes};
use crate::world::{Binary, Figures, World};

/// How long they are watched.
const WATCH: Duration = Duration::from_secs(10);

/// Bytes resident for each actor, and percent of a core while nothing happens.
pub(crate) async fn measure(component: &Path, actors: u32) -> anyhow::Result<Figures> {
    let component = Binary::of(component)?;
    let world = World::start(in_one_process(), &[component.path()]).await?;
    // The first one brings the code, which all share.
    world.run("first", component.path()).await?;
    let before = resident_bytes()?;
    for n in 0..actors {
        world.run(&format!("idle-{n}"), component.path()).await?;
    }
    world.until_present(&format!("idle-{}", actors - 1)).await?;
    let grown = resident_bytes()?.saturating_sub(before);
    let started = cpu_time()?;
    tokio::time::sleep(WATCH).await;
    let busy = cpu_time()?.saturating_sub(started);
    Ok(Figures::from([
        ("bytes", vec![grown as f64 / f64::from(actors)]),
        ("percent", vec![busy.as_secs_f64() / WATCH.as_secs_f64() * 100.0]),
    ]))
}
