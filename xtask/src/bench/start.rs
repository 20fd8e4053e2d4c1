//! Starting: an actor from the code cache, and a whole `trellis up` until its first answer.

use std::time::Instant;

use anyhow::{Context, Result};

use super::Setting;
use super::calls::figures;
use super::figure::Figure;
use super::process::{Server, free_address};

pub(super) fn measure(setting: &Setting) -> Result<Vec<Figure>> {
    let mut driver = setting.cores.server(&setting.driver);
    let mut figures = figures(driver.arg("start").arg(setting.guests.join("hello.wasm")))?;
    let cached = figures.remove("nanoseconds").context("the driver did not measure starts")?;
    let cached = cached.into_iter().map(|nanoseconds| nanoseconds / 1e6).collect();
    let first = first_responses(setting)?;
    Ok(vec![
        Figure::absolute("start.cached", "ms", cached).at_most(1.0),
        Figure::absolute("up.first_response", "ms", first).at_most(150.0),
    ])
}

/// Milliseconds from the start of the process to the first answer, after one start that fills the cache.
fn first_responses(setting: &Setting) -> Result<Vec<f64>> {
    let directory = tempfile::tempdir()?;
    let mut milliseconds = Vec::new();
    for _ in 0..=setting.rounds {
        let address = free_address()?;
        let mut command = setting.cores.server(&setting.trellis);
        command.arg("up").arg(setting.guests.join("hello.wasm"));
        command.arg("--data-dir").arg(directory.path().join("data")).args(["--http", &address.to_string()]);
        let started = Instant::now();
        let mut server = Server::start(&mut command, &directory.path().join("trellis.log"))?;
        server.until_answers(address)?;
        milliseconds.push(started.elapsed().as_secs_f64() * 1e3);
    }
    milliseconds.remove(0);
    Ok(milliseconds)
}
