//! Plans of large lattices: processor time and memory, and how they grow.

use std::collections::BTreeMap;
use std::process::Command;

use anyhow::{Context, Result};

use super::calls::figures;
use super::figure::Figure;
use super::{Setting, process};

/// Hosts, each with ten instances, and the figures' names.
const CURVE: [(u32, &str); 4] =
    [(1_250, "plan.cpu_1k25"), (2_500, "plan.cpu_2k5"), (5_000, "plan.cpu_5k"), (10_000, "plan.cpu_10k")];

pub(super) fn measure(setting: &Setting) -> Result<Vec<Figure>> {
    let mut measured = Vec::new();
    let mut costs = Vec::new();
    for (hosts, name) in CURVE {
        let mut driver = setting.cores.server(&setting.driver);
        let rounds = setting.rounds.to_string();
        let mut values = figures(driver.args(["plan", &hosts.to_string(), "--rounds", &rounds]))?;
        let mut take = |name: &str| values.remove(name).with_context(|| format!("the driver did not measure {name}"));
        // The dearest of the three kinds of plan is the figure.
        let kinds = [take("from_nothing")?, take("steady")?, take("after_loss")?];
        let dearest = kinds.into_iter().max_by(|a, b| median(a).total_cmp(&median(b))).unwrap_or_default();
        costs.push((f64::from(hosts), median(&dearest)));
        let mut figure = Figure::absolute(name, "ms", dearest);
        if hosts == 10_000 {
            figure = figure.at_most(2_000.0);
            let mib = take("peak_bytes")?.into_iter().map(|bytes| bytes / (1 << 20) as f64).collect();
            measured.push(Figure::absolute("plan.rss_10k_mib", "MiB", mib).at_most(1_024.0));
        }
        measured.push(figure);
    }
    measured.extend(growth(&costs));
    measured.extend(converge(setting)?);
    Ok(measured)
}

/// Once each: 1,000 hosts until 10,000 instances run, and again after the loss of a tenth, with the time it takes to be
/// sure of that loss. On all processors: nothing else runs meanwhile.
fn converge(setting: &Setting) -> Result<Vec<Figure>> {
    let Some(converge) = &setting.converge else { return Ok(Vec::new()) };
    let measured: BTreeMap<String, f64> = process::json(&mut Command::new(converge))?;
    let take = |name: &str| measured.get(name).copied().with_context(|| format!("`converge` did not measure {name}"));
    Ok(vec![
        Figure::absolute("plan.converge_1k", "ms", vec![take("plan.converge_1k")?]),
        Figure::absolute("plan.converge_1k_loss", "ms", vec![take("converged_again_ms")?]),
    ])
}

/// How much more the largest costs than n log n would make of the smallest: 1 is exactly n log n, less is cheaper.
fn growth(costs: &[(f64, f64)]) -> Option<Figure> {
    let (&(few, cheap), &(many, dear)) = (costs.first()?, costs.last()?);
    let expected = cheap * (many * many.ln()) / (few * few.ln());
    Some(Figure::absolute("plan.growth", "of n log n", vec![dear / expected]).at_most(1.5))
}

fn median(values: &[f64]) -> f64 {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(0.0)
}
