//! Why the hosts of a scaler are its hosts, and others are not.

use std::collections::BTreeMap;
use std::time::Duration;

use trellis_lattice::id::HostId;

use super::desired::desired;
use super::outcome::{Choice, Explanation, MOST_REJECTED};
use super::placement::{Keep, Reject};
use super::planner::{Placed, Planner};
use super::shortage::verdict;
use super::spread::Target;
use super::world::{HostIndex, World};
use crate::intent::{AppName, Intent};
use crate::observe::Observed;

/// Why the components of `app` are placed as [`plan`](super::plan) places them: one explanation for each group of hosts
/// of each scaler. Empty when the application is not deployed.
pub fn explain(intent: &Intent, observed: &Observed, now: Duration, app: &AppName) -> Vec<Explanation> {
    let desired = desired(intent);
    let mut planner = Planner::new(&desired, observed, now);
    let mut explanations = Vec::new();
    for wanted in &desired.apps {
        let is_meant = wanted.name == *app;
        planner.app(wanted, &mut |placed, world| {
            if is_meant {
                explanations.extend(of(placed, world));
            }
        });
        if is_meant {
            break;
        }
    }
    explanations
}

/// All explanations of one component.
pub(super) fn of(placed: &Placed<'_, '_>, world: &World<'_>) -> Vec<Explanation> {
    let component = placed.subject.component;
    let scalers = component.scalers.iter().enumerate();
    let groups = scalers.flat_map(|(number, scaler)| {
        scaler.groups.iter().enumerate().map(move |(index, group)| ((number, index), group))
    });
    groups
        .map(|(at, group)| {
            let mut explanation = Explanation {
                app: placed.subject.app.clone(),
                component: component.name.clone(),
                spread: group.name.clone(),
                share: group.share.clone(),
                chosen: Vec::new(),
                rejected: Vec::new(),
                more_rejected: BTreeMap::new(),
            };
            for host in 0..world.hosts.len() {
                let host = HostIndex::try_from(host).expect("fewer hosts than 2^32");
                let id = world.entry(host).id.clone();
                match placed.result.placement.targets.get(&host) {
                    Some(target) if (target.scaler, target.group) == at => {
                        let why = why(target.keep);
                        explanation.chosen.push(Choice { host: id, count: target.count, why });
                    }
                    other => {
                        let reject = verdict(world, placed.subject, &group.requirements, host);
                        explanation.reject(id, reject, other);
                    }
                }
            }
            explanation
        })
        .collect()
}

fn why(keep: Option<Keep>) -> &'static str {
    match keep {
        None => "fits, and is among the least busy for its weight",
        Some(Keep::Stay) => "runs it already",
        Some(Keep::NoMore) => "runs it already; gets no more, as it is cordoned or tainted",
        Some(Keep::Wait) => "runs it, as far as is known; it is silent, and waited for",
        Some(Keep::Lost | Keep::Move) => "runs it still",
    }
}

impl Explanation {
    fn reject(&mut self, host: HostId, reject: Option<Reject>, other: Option<&Target>) {
        let (kind, text) = match reject {
            Some(reject) => (reject.kind(), reject.to_string()),
            None if other.is_some() => ("serves another group", "serves another group of this component".to_owned()),
            None => ("not needed", "would do; others are less busy or run it already".to_owned()),
        };
        if self.rejected.len() < MOST_REJECTED {
            self.rejected.push((host, text));
        } else {
            *self.more_rejected.entry(kind.to_owned()).or_default() += 1;
        }
    }
}
