//! A thousand actors that nobody calls.

use anyhow::{Context, Result};

use super::Setting;
use super::calls::figures;
use super::figure::Figure;

pub(super) fn measure(setting: &Setting) -> Result<Vec<Figure>> {
    let mut driver = setting.cores.server(&setting.driver);
    let mut figures = figures(driver.arg("idle").arg(setting.guests.join("hello.wasm")))?;
    let mut take = |name: &str| figures.remove(name).with_context(|| format!("the driver did not measure {name}"));
    let kib = take("bytes")?.into_iter().map(|bytes| bytes / 1024.0).collect();
    Ok(vec![
        Figure::absolute("idle.actor_kib", "KiB", kib).at_most(64.0),
        Figure::absolute("idle.cpu_percent", "% of a core", take("percent")?).at_most(1.0),
    ])
}
