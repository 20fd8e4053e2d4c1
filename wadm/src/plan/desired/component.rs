//! One component of a manifest: its scalers with their shares, its needs, and what it keeps apart from.

use std::time::Duration;

use trellis_lattice::id::EntityId;
use trellis_lattice::message::command::StringMap;
use trellis_lattice::message::readiness::{HttpProbe, Rule};

use super::configs::Configs;
use super::model::{Apart, Component, Group, Mode, Needs, RolloutRule, Scaler};
use crate::intent::AppName;
use crate::manifest::{self, Amount, Kind, Rollback, Source, Spread, Trait};
use crate::observe::Limits;
use crate::plan::name;
use crate::plan::outcome::ScalerKind;
use crate::plan::share::largest_remainder;

/// How long a rollout may take unless the manifest says otherwise.
const DEADLINE: Duration = Duration::from_secs(600);

/// How long a start may take until it is ready unless the manifest says otherwise.
const READY_WITHIN: Duration = Duration::from_secs(60);

/// How often an actor is asked whether it is ready unless the manifest says otherwise.
const PROBED_EVERY: Duration = Duration::from_secs(5);

/// How long its answer may take unless the manifest says otherwise.
const PROBE_TIMEOUT: Duration = Duration::from_secs(1);

/// The share of a group that says none.
const WEIGHT: u32 = 100;

/// Reads a component that has an image of its own; `ids` knows the ids of this application's components.
pub(super) fn component(
    read: &manifest::Component,
    id: EntityId,
    configs: &mut Configs<'_>,
    ids: impl Fn(&str) -> Option<EntityId>,
) -> Option<Component> {
    let Source::Image(image) = &read.properties.source else { return None };
    let names = configs.names(&read.properties.config, &read.properties.secrets);
    let mut component = Component {
        name: read.name.clone(),
        kind: read.kind,
        reference: image.as_str().into(),
        config: names.all.into(),
        external: names.external,
        scalers: Vec::new(),
        needs: Needs::default(),
        limits: Limits::default(),
        readiness: None,
        most_on_host: None,
        apart: Vec::new(),
        tolerated: Vec::new(),
        patience: None,
        rollout: rule(&manifest::Rollout::default(), Rollback::Manual),
        id,
    };
    for item in &read.traits {
        apply(item, &mut component, configs.app, &ids);
    }
    if component.scalers.is_empty() {
        let one = manifest::Scaler { instances: 1, spread: Vec::new() };
        component.scalers.push(spread_scaler(&one, configs.app, &component.id));
    }
    Some(component)
}

fn apply(item: &Trait, component: &mut Component, app: &AppName, ids: &impl Fn(&str) -> Option<EntityId>) {
    match item {
        Trait::SpreadScaler(scaler) => component.scalers.push(spread_scaler(scaler, app, &component.id)),
        Trait::DaemonScaler(scaler) => component.scalers.push(daemon_scaler(scaler, app, &component.id)),
        Trait::Resources(resources) => {
            let bytes = |size: Option<manifest::ByteSize>| size.map(|size| size.0);
            let millis = |time: manifest::Span| u64::try_from(time.0.as_millis()).unwrap_or(u64::MAX);
            component.limits = Limits {
                memory_bytes: bytes(resources.limits.memory),
                execution_ms: resources.limits.execution.map(millis),
            };
            component.needs = Needs {
                memory_bytes: bytes(resources.requests.memory).unwrap_or(0),
                cpu_millis: resources.requests.cpu.map_or(0, |cpu| cpu.millis),
            };
            component.most_on_host = resources.limits.concurrency;
        }
        Trait::AntiAffinity(wish) => component.apart.push(Apart {
            from: wish.components.iter().filter_map(|name| ids(name)).collect(),
            topology: wish.topology.clone(),
            strength: wish.mode,
            mode: Mode::Own,
        }),
        Trait::Tolerations(tolerations) => {
            component.tolerated = tolerations.taints.clone();
            component.patience = tolerations.silence.or(component.patience);
        }
        Trait::Rollout(rollout) => component.rollout = rule(rollout, rollout.rollback),
        Trait::Readiness(readiness) if component.kind == Kind::Actor => {
            component.readiness = Some(rule_of(readiness).to_text().into());
        }
        Trait::Readiness(_) => {}
        Trait::Link(_) | Trait::Resilience(_) | Trait::Routes(_) => {}
    }
}

fn rule_of(readiness: &manifest::Readiness) -> Rule {
    let ms = |span: Option<manifest::Span>, default: Duration| {
        u64::try_from(span.map_or(default, |span| span.0).as_millis()).unwrap_or(u64::MAX)
    };
    let http = readiness.http.as_ref().map(|probe| HttpProbe {
        path: probe.path.clone(),
        host: probe.host.clone(),
        status: probe.status.and_then(|status| u16::try_from(status).ok()),
        every_ms: ms(probe.every, PROBED_EVERY),
        timeout_ms: ms(probe.timeout, PROBE_TIMEOUT),
    });
    Rule { http, settle_ms: ms(readiness.settle, Duration::ZERO), deadline_ms: ms(readiness.deadline, READY_WITHIN) }
}

fn rule(rollout: &manifest::Rollout, rollback: Rollback) -> RolloutRule {
    RolloutRule {
        surge: rollout.surge.unwrap_or(Amount::Percent(25)),
        unavailable: rollout.unavailable.unwrap_or(Amount::Count(0)),
        deadline: rollout.deadline.map_or(DEADLINE, |span| span.0),
        rollback,
    }
}

fn spread_scaler(scaler: &manifest::Scaler, app: &AppName, id: &EntityId) -> Scaler {
    let weights: Vec<u64> = scaler.spread.iter().map(|spread| weight(spread).into()).collect();
    let total: u64 = weights.iter().sum();
    let shares = largest_remainder(scaler.instances, &weights);
    let mut groups: Vec<Group> = scaler
        .spread
        .iter()
        .zip(shares)
        .map(|(spread, instances)| {
            let share = format!("{instances} of {} (weight {} of {total})", scaler.instances, weight(spread));
            group(spread, instances, share)
        })
        .collect();
    if groups.is_empty() {
        groups.push(anywhere(scaler.instances, format!("{} anywhere", scaler.instances)));
    }
    Scaler { id: name::scaler(app, ScalerKind::Spread, id.as_str()), kind: ScalerKind::Spread, groups }
}

fn daemon_scaler(scaler: &manifest::Scaler, app: &AppName, id: &EntityId) -> Scaler {
    let share = format!("{} on each host", scaler.instances);
    let each = |spread| group(spread, scaler.instances, share.clone());
    let mut groups: Vec<Group> = scaler.spread.iter().map(each).collect();
    if groups.is_empty() {
        groups.push(anywhere(scaler.instances, share));
    }
    Scaler { id: name::scaler(app, ScalerKind::Daemon, id.as_str()), kind: ScalerKind::Daemon, groups }
}

fn weight(spread: &Spread) -> u32 {
    spread.weight.unwrap_or(WEIGHT)
}

fn group(spread: &Spread, instances: u32, share: String) -> Group {
    Group { name: spread.name.clone(), requirements: spread.requirements.clone(), instances, share }
}

fn anywhere(instances: u32, share: String) -> Group {
    Group { name: "default".to_owned(), requirements: StringMap::new(), instances, share }
}
