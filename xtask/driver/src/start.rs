//! From the bytes of an actor to one that can be called, when its code is in the cache on disk.

use std::path::Path;
use std::time::Instant;

use anyhow::ensure;
use bytes::Bytes;

use crate::world::{Binary, Figures, runtime};

/// Nanoseconds of each start, after the one that fills the cache.
pub(crate) async fn measure(component: &Path, rounds: u32) -> anyhow::Result<Figures> {
    let bytes = Bytes::from(std::fs::read(Binary::of(component)?.path())?);
    let directory = tempfile::tempdir()?;
    let runtime = runtime(directory.path())?;
    let mut nanoseconds = Vec::new();
    for _ in 0..=rounds {
        let started = Instant::now();
        let compiled = runtime.load(bytes.clone()).await?;
        nanoseconds.push(started.elapsed().as_secs_f64() * 1e9);
        ensure!(std::sync::Arc::strong_count(&compiled) == 1, "the code is held: the next start would not load it");
    }
    let cold = nanoseconds.remove(0);
    Ok(Figures::from([("nanoseconds", nanoseconds), ("cold", vec![cold])]))
}
