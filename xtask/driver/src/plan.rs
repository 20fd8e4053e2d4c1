//! Plans of large lattices: nothing runs but the planner.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use trellis_lattice::id::HostId;
use trellis_lattice::identity::key::{Key, KeyKind};
use trellis_wadm::intent::{AppIntent, AppName, Deployed, Intent};
use trellis_wadm::manifest::Manifest;
use trellis_wadm::observe::{Actor, Capacity, Host, Inventory, Observed, Readiness, Seen, View};
use trellis_wadm::plan::{Deed, Plan, plan};

use crate::process::{peak_resident_bytes, thread_cpu_time};
use crate::world::Figures;

/// The time at which everything is planned.
const NOW: Duration = Duration::from_secs(1_000);

/// Components of an application, and instances of a component.
const COMPONENTS: u32 = 10;
const INSTANCES: u32 = 10;

/// Milliseconds of processor time to plan `hosts` with ten instances each: from nothing, again when all runs, and after
/// the loss of a tenth of the hosts; and the most memory that the process had, in bytes.
pub(crate) fn measure(hosts: u32, rounds: u32) -> anyhow::Result<Figures> {
    let intent = intent(hosts * 10 / COMPONENTS / INSTANCES)?;
    let mut observed = lattice(hosts)?;
    let mut figures = Figures::new();
    let first = timed(&intent, &observed, rounds, &mut figures, "from_nothing")?;
    carry_out(&mut observed, first);
    let steady = timed(&intent, &observed, rounds, &mut figures, "steady")?;
    anyhow::ensure!(steady.actions.is_empty(), "{} actions when all runs", steady.actions.len());
    for host in observed.hosts.values_mut().step_by(10) {
        host.seen = Seen::Silent { since: Duration::ZERO };
    }
    let repaired = timed(&intent, &observed, rounds, &mut figures, "after_loss")?;
    anyhow::ensure!(!repaired.actions.is_empty(), "the loss of hosts made no difference");
    figures.insert("peak_bytes", vec![peak_resident_bytes()? as f64]);
    Ok(figures)
}

fn timed(
    intent: &Intent,
    observed: &Observed,
    rounds: u32,
    figures: &mut Figures,
    name: &'static str,
) -> anyhow::Result<Plan> {
    let mut milliseconds = Vec::new();
    let mut last = Plan::default();
    for _ in 0..rounds.max(1) {
        let before = thread_cpu_time()?;
        last = plan(intent, observed, NOW);
        milliseconds.push(thread_cpu_time()?.saturating_sub(before).as_secs_f64() * 1e3);
    }
    figures.insert(name, milliseconds);
    Ok(last)
}

/// So many applications, each component in three groups of hosts by zone, with needs that placement has to weigh.
fn intent(apps: u32) -> anyhow::Result<Intent> {
    let groups: Vec<_> = ["a", "b", "c"]
        .iter()
        .map(|zone| serde_json::json!({ "name": zone, "requirements": { "zone": zone } }))
        .collect();
    let components: Vec<_> = (0..COMPONENTS)
        .map(|number| {
            serde_json::json!({
                "name": format!("part{number}"),
                "type": "component",
                "properties": { "image": format!("registry/part{number}:1") },
                "traits": [
                    { "type": "spreadscaler", "properties": { "instances": INSTANCES, "spread": groups } },
                    { "type": "resources", "properties": { "requests": { "memory": "16Mi" } } },
                ],
            })
        })
        .collect();
    let mut intent = Intent::default();
    for number in 0..apps {
        let name = format!("app{number}");
        let manifest: Manifest = serde_json::from_value(serde_json::json!({
            "apiVersion": "core.oam.dev/v1beta1",
            "kind": "Application",
            "metadata": { "name": name, "annotations": {} },
            "spec": { "components": components },
        }))?;
        let deployed = Deployed { version: "v1".to_owned(), generation: 1, manifest: Arc::new(manifest) };
        intent.apps.insert(AppName::parse(&name)?, AppIntent::Deployed(deployed));
    }
    Ok(intent)
}

fn lattice(hosts: u32) -> anyhow::Result<Observed> {
    let mut observed = Observed {
        view: View::Settled,
        links: Some(BTreeMap::new()),
        configs: Some(BTreeMap::new()),
        owned: Some(BTreeMap::new()),
        ..Observed::default()
    };
    for number in 0..hosts {
        let zone = ["a", "b", "c"][number as usize % 3];
        let labels = [("zone", zone.to_owned()), ("arch", "x86_64".to_owned()), ("number", number.to_string())];
        let host = Host {
            name: format!("host{number}"),
            labels: labels.into_iter().map(|(key, value)| (key.to_owned(), value)).collect(),
            capacity: Capacity { memory_bytes: Some(16 << 30), cpu_millis: Some(8_000), max_instances: Some(1_000) },
            seen: Seen::Present,
            inventory: Some(Inventory::default()),
            hearsay: BTreeSet::new(),
        };
        observed.hosts.insert(HostId::parse(&Key::generate(KeyKind::Host).public())?, host);
    }
    Ok(observed)
}

/// What the lattice is once all that `plan` starts is ready.
fn carry_out(observed: &mut Observed, plan: Plan) {
    for action in plan.actions {
        let Deed::ScaleActor(scale) = action.deed else { continue };
        let inventory = observed.hosts.get_mut(&scale.host).and_then(|host| host.inventory.as_mut());
        let actor = Actor {
            reference: scale.reference,
            max_instances: scale.count,
            owner: Some(scale.owner),
            limits: Some(scale.limits),
            config: Some(scale.config.to_vec()),
            readiness: Readiness::Ready,
            digest: None,
            readiness_rule: None,
            exports: None,
        };
        inventory.expect("plans name hosts that there are").actors.insert(scale.id, actor);
    }
}
