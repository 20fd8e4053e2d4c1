//! Whether actors that call each other still fit together once an application is deployed: their images are read here,
//! and the types of what one calls are held against those of what the other one has.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::Serialize;
use tokio::time::timeout;
use trellis_host::artifact;
use trellis_host::artifact::registry::Registries;
use trellis_host::inspect::{self, Contracts, Mismatch};
use trellis_wadm::api::{CallInfo, EndInfo};

use crate::context::Context;

/// How long one image may take to be read.
const PATIENCE: Duration = Duration::from_secs(20);

/// One contract between two actors.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Fit {
    source: String,
    source_image: String,
    target: String,
    target_image: String,
    link: String,
    contract: String,
    when: When,
    verdict: Verdict,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    reasons: Vec<String>,
}

/// When the two call each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum When {
    /// Once everything is deployed.
    Afterwards,
    /// Until one of them is replaced.
    Meanwhile,
}

/// Whether calls succeed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Verdict {
    Fits,
    Broken,
    /// An image could not be read.
    Unknown,
}

impl Fit {
    /// Whether calls fail once everything is deployed.
    pub(super) fn is_broken(&self) -> bool {
        (self.when, self.verdict) == (When::Afterwards, Verdict::Broken)
    }

    /// Whether there is something to know about it.
    pub(super) fn is_doubtful(&self) -> bool {
        self.verdict != Verdict::Fits
    }
}

impl std::fmt::Display for Fit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { source, target, contract, source_image, target_image, .. } = self;
        let verdict = match (self.verdict, self.when) {
            (Verdict::Fits, _) => return write!(f, "= {source} -> {target}: {contract} fits"),
            (Verdict::Unknown, _) => "? ",
            (Verdict::Broken, When::Afterwards) => "! ",
            (Verdict::Broken, When::Meanwhile) => "! until it is rolled out: ",
        };
        let reasons = self.reasons.join("; ");
        write!(f, "{verdict}{source} ({source_image}) -> {target} ({target_image}): {contract}: {reasons}")
    }
}

/// Holds the ends of `calls` against each other.
pub(super) async fn check(context: &Context, calls: &[CallInfo]) -> Vec<Fit> {
    let images = Images::read(&context.registries(), calls).await;
    let mut fits: Vec<Fit> = Vec::new();
    for call in calls {
        for (source, target, when) in pairs(call) {
            fits.extend(call.contracts.iter().filter_map(|contract| {
                let (verdict, reasons) = images.compare(source, target, contract)?;
                Some(Fit {
                    source: call.source.id.clone(),
                    source_image: source.to_owned(),
                    target: call.target.id.clone(),
                    target_image: target.to_owned(),
                    link: call.link.clone(),
                    contract: contract.clone(),
                    when,
                    verdict,
                    reasons,
                })
            }));
        }
    }
    // What will fit in the end and does so meanwhile is one thing to know.
    fits.retain(|fit| fit.when == When::Afterwards || fit.is_doubtful());
    fits
}

/// Which image of the source calls which one of the target.
fn pairs(call: &CallInfo) -> Vec<(&str, &str, When)> {
    let CallInfo { source, target, .. } = call;
    let mut pairs = vec![(source.image.as_str(), target.image.as_str(), When::Afterwards)];
    pairs.extend(replaced(source).map(|old| (old, target.image.as_str(), When::Meanwhile)));
    pairs.extend(replaced(target).map(|old| (source.image.as_str(), old, When::Meanwhile)));
    pairs
}

/// What runs of an end and is to be replaced.
fn replaced(end: &EndInfo) -> impl Iterator<Item = &str> {
    end.runs.iter().filter(|image| **image != end.image).map(String::as_str)
}

/// What the images import and export, or why that is not known.
struct Images(BTreeMap<String, Result<Contracts, String>>);

impl Images {
    async fn read(registries: &Registries, calls: &[CallInfo]) -> Self {
        let ends = calls.iter().flat_map(|call| [&call.source, &call.target]);
        let names: BTreeSet<&String> = ends.flat_map(|end| end.runs.iter().chain([&end.image])).collect();
        let mut images = BTreeMap::new();
        for name in names {
            images.insert(name.clone(), contracts(registries, name).await);
        }
        Self(images)
    }

    /// Whether `source` can call `contract` of `target`; `None` when it does not.
    fn compare(&self, source: &str, target: &str, contract: &str) -> Option<(Verdict, Vec<String>)> {
        let (source, target) = match (&self.0[source], &self.0[target]) {
            (Ok(source), Ok(target)) => (source, target),
            (Err(error), _) | (_, Err(error)) => return Some((Verdict::Unknown, vec![error.clone()])),
        };
        let called: Vec<_> =
            source.imports.iter().filter(|import| import.interface.without_version() == contract).collect();
        if called.is_empty() {
            return None;
        }
        let reasons = called.iter().flat_map(|import| import.mismatches(&target.exports));
        let reasons: Vec<String> = reasons.map(|reason: Mismatch| reason.to_string()).collect();
        Some((if reasons.is_empty() { Verdict::Fits } else { Verdict::Broken }, reasons))
    }
}

async fn contracts(registries: &Registries, image: &str) -> Result<Contracts, String> {
    let bytes = match timeout(PATIENCE, artifact::bytes(image, registries)).await {
        Ok(Ok(bytes)) => bytes,
        Ok(Err(error)) => return Err(format!("{image} cannot be read from here: {error}")),
        Err(_) => return Err(format!("{image} was not read within {} s", PATIENCE.as_secs())),
    };
    let read = tokio::task::spawn_blocking(move || inspect::contracts(&bytes)).await;
    match read {
        Ok(Ok(contracts)) => Ok(contracts),
        Ok(Err(error)) => Err(format!("{image}: {error}")),
        Err(_) => Err(format!("{image} could not be looked at")),
    }
}

#[cfg(test)]
mod tests {
    use trellis_wadm::api::{CallInfo, EndInfo};

    use super::{When, pairs};

    fn end(id: &str, image: &str, runs: &[&str]) -> EndInfo {
        EndInfo { id: id.to_owned(), image: image.to_owned(), runs: runs.iter().map(|run| (*run).to_owned()).collect() }
    }

    #[test]
    fn what_runs_calls_what_is_new_and_is_called_by_it_until_it_is_replaced() {
        let (source, target) = (end("cart", "cart:2", &["cart:1"]), end("till", "till:2", &["till:1", "till:2"]));
        let call = CallInfo { source, target, link: "default".to_owned(), contracts: Vec::new() };
        assert_eq!(
            pairs(&call),
            [
                ("cart:2", "till:2", When::Afterwards),
                ("cart:1", "till:2", When::Meanwhile),
                ("cart:2", "till:1", When::Meanwhile),
            ]
        );
    }
}
