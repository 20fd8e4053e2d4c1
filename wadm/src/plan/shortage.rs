//! Why a component finds no host.

use std::collections::BTreeMap;

use trellis_lattice::message::command::StringMap;

use super::placement::{Reject, Subject, Wishes, closed};
use super::world::{HostIndex, World};

/// Why a host gets nothing new of a component, in any of its groups; `None` when it may.
pub(super) fn verdict(
    world: &World<'_>,
    subject: Subject<'_>,
    requirements: &StringMap,
    host: HostIndex,
) -> Option<Reject> {
    let reject = closed(world.entry(host).host, requirements, &subject.component.tolerated);
    match reject {
        Some(Reject::Silent(_)) => Some(Reject::Silent(world.silence(host).unwrap_or_default())),
        Some(reject) => Some(reject),
        None => subject.unfit(world, host, Wishes::Required),
    }
}

/// The reasons of all hosts, counted, the most frequent first.
pub(super) fn summary(world: &World<'_>, subject: Subject<'_>) -> String {
    if world.hosts.is_empty() {
        return "there are no hosts".to_owned();
    }
    let mut counts: BTreeMap<String, u32> = BTreeMap::new();
    let groups: Vec<&StringMap> =
        subject.component.scalers.iter().flat_map(|scaler| &scaler.groups).map(|group| &group.requirements).collect();
    for host in 0..world.hosts.len() {
        let host = host as HostIndex;
        let verdicts: Option<Vec<Reject>> =
            groups.iter().map(|requirements| verdict(world, subject, requirements, host)).collect();
        if let Some(reject) = verdicts.and_then(|verdicts| verdicts.into_iter().next()) {
            *counts.entry(describe(&reject)).or_default() += 1;
        }
    }
    if counts.is_empty() {
        return "each of the hosts has as much of it as it has room for".to_owned();
    }
    let mut counts: Vec<(String, u32)> = counts.into_iter().collect();
    counts.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(&b.0)));
    let lines: Vec<String> = counts.iter().take(4).map(|(reason, count)| format!("{count} × {reason}")).collect();
    lines.join(", ")
}

/// What differs between hosts only by number is left out, so that it can be counted.
fn describe(reject: &Reject) -> String {
    match reject {
        Reject::Silent(_) | Reject::Full { .. } | Reject::Cordoned(_) => reject.kind().to_owned(),
        Reject::Label { key, wanted, .. } => format!("label {key} is not {wanted}"),
        other => other.to_string(),
    }
}
