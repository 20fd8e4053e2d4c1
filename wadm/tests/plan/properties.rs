//! What holds of every plan, on lattices and applications drawn at random.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::{Just, ProptestConfig, Strategy, any, prop, prop_assert, prop_assert_eq, prop_oneof, proptest};
use serde_json::{Value, json};
use trellis_lattice::id::{EntityId, HostId};
use trellis_wadm::intent::{AppIntent, AppName, Deployed, Intent};
use trellis_wadm::manifest::Manifest;
use trellis_wadm::observe::{
    Actor, CORDON_LABEL, Capacity, DRAIN_LABEL, Host, Inventory, Observed, Owner, Provider, Readiness, Seen, View,
};
use trellis_wadm::plan::{Action, Deed, Plan, State, plan};

use crate::scene::host_id;
use crate::world::carry_out;

const NOW: Duration = Duration::from_secs(1_000);

/// More rounds than any of these lattices needs.
const MOST_ROUNDS: usize = 60;

/// Everything that a property is tried on.
#[derive(Debug, Clone)]
struct Drawn {
    intent: Intent,
    observed: Observed,
}

fn host() -> impl Strategy<Value = Host> {
    let labels = prop_oneof![
        8 => Just(None),
        1 => Just(Some((CORDON_LABEL, "x"))),
        1 => Just(Some((DRAIN_LABEL, "x"))),
        1 => Just(Some(("taint.trellis.dev/gpu", "yes"))),
        1 => Just(Some(("trellis.dev/weight", "300"))),
    ];
    let seen = prop_oneof![
        8 => Just(Seen::Present),
        1 => Just(Seen::Leaving),
        1 => Just(Seen::Silent { since: NOW - Duration::from_secs(1) }),
        1 => Just(Seen::Silent { since: NOW - Duration::from_secs(60) }),
        1 => Just(Seen::CutOff { since: NOW - Duration::from_secs(60) }),
    ];
    let things = vec((0_usize..6, 0_usize..3, 1_u32..5, any::<bool>(), any::<bool>()), 0..5);
    let is_known = prop_oneof![9 => Just(true), 1 => Just(false)];
    (0_usize..3, labels, seen, option::weighted(0.2, 2_u64..12), things, is_known).prop_map(
        |(zone, label, seen, most, things, is_known)| {
            let mut labels: BTreeMap<String, String> = [("zone".to_owned(), format!("z{zone}"))].into();
            labels.extend(label.map(|(key, value)| (key.to_owned(), value.to_owned())));
            let mut inventory = Inventory::default();
            for (component, whose, count, is_old, is_ready) in things {
                let readiness = if is_ready { Readiness::Ready } else { Readiness::Starting };
                add(&mut inventory, (component, whose), (count, if is_old { "old" } else { "new" }), readiness);
            }
            let capacity = Capacity { max_instances: most, ..Capacity::default() };
            Host {
                name: String::new(),
                labels,
                capacity,
                seen,
                inventory: is_known.then_some(inventory),
                hearsay: [].into(),
            }
        },
    )
}

/// Components 0 to 3 are actors, 4 and 5 providers; owner 2 is nobody.
fn add(
    inventory: &mut Inventory,
    (component, whose): (usize, usize),
    (count, image): (u32, &str),
    readiness: Readiness,
) {
    let app = ["app0", "app1", "app0"][whose];
    let id = EntityId::parse(&format!("{app}-c{component}")).expect("an id");
    let owner = (whose < 2).then(|| {
        let app = AppName::parse(app).expect("a name");
        Arc::new(Owner { app, scaler: String::new(), spread: "default".to_owned(), generation: 0 })
    });
    if component < 4 {
        let actor = Actor {
            reference: image.into(),
            max_instances: count,
            owner,
            limits: None,
            config: None,
            digest: None,
            readiness_rule: None,
            readiness,
            exports: None,
        };
        inventory.actors.insert(id, actor);
    } else {
        let reference = Some(image.into());
        let provider = Provider { reference, owner, config: None, readiness, links: None };
        inventory.providers.insert(id, provider);
    }
}

fn component() -> impl Strategy<Value = (usize, Vec<Value>)> {
    let spread = prop_oneof![
        Just(json!([])),
        Just(json!([{ "name": "z0", "requirements": { "zone": "z0" } }])),
        Just(json!([
            { "name": "z1", "requirements": { "zone": "z1" }, "weight": 30 },
            { "name": "z2", "requirements": { "zone": "z2" }, "weight": 70 },
        ])),
        Just(json!([{ "name": "z0", "requirements": { "zone": "z0" } }, { "name": "any" }])),
    ];
    let kind = prop_oneof![4 => Just("spreadscaler"), 1 => Just("daemonscaler")];
    let extra = prop_oneof![
        4 => Just(None),
        1 => Just(Some(json!({ "type": "antiaffinity", "properties": {} }))),
        1 => Just(Some(json!({ "type": "antiaffinity", "properties": { "topology": "zone", "mode": "preferred" } }))),
        1 => Just(Some(json!({ "type": "tolerations", "properties": { "taints": [{ "key": "gpu" }] } }))),
        1 => Just(Some(json!({ "type": "tolerations", "properties": { "silence": "forever" } }))),
        1 => Just(Some(json!({ "type": "rollout", "properties": { "surge": "2", "unavailable": "1" } }))),
    ];
    (0_usize..6, 0_u32..9, spread, kind, extra).prop_map(|(number, instances, spread, kind, extra)| {
        let scaler = json!({ "type": kind, "properties": { "instances": instances, "spread": spread } });
        (number, [scaler].into_iter().chain(extra).collect())
    })
}

fn app(name: &'static str) -> impl Strategy<Value = Option<(AppName, AppIntent)>> {
    let components = vec(component(), 0..4);
    let kind = prop_oneof![6 => Just(0), 1 => Just(1), 1 => Just(2)];
    (components, kind).prop_map(move |(components, kind)| {
        let app = AppName::parse(name).expect("a name");
        match kind {
            0 => Some((app, AppIntent::Deployed(deployed(name, components)))),
            1 => Some((app, AppIntent::Undeployed { generation: 2 })),
            _ => None,
        }
    })
}

fn deployed(name: &str, components: Vec<(usize, Vec<Value>)>) -> Deployed {
    let components: BTreeMap<usize, Vec<Value>> = components.into_iter().collect();
    let components: Vec<Value> = components
        .into_iter()
        .map(|(number, traits)| {
            let kind = if number < 4 { "component" } else { "capability" };
            let properties = json!({ "image": "new" });
            json!({ "name": format!("c{number}"), "type": kind, "properties": properties, "traits": traits })
        })
        .collect();
    // An application without components is none.
    let nothing = json!({ "name": "c9", "type": "component", "properties": { "image": "new" } });
    let components = if components.is_empty() { vec![nothing] } else { components };
    let manifest = json!({
        "apiVersion": "core.oam.dev/v1beta1",
        "kind": "Application",
        "metadata": { "name": name, "annotations": {} },
        "spec": { "components": components },
    });
    let manifest: Manifest = serde_json::from_value(manifest).unwrap_or_else(|error| panic!("{error}"));
    Deployed { version: "v1".to_owned(), generation: 1, manifest: Arc::new(manifest) }
}

fn drawn() -> impl Strategy<Value = Drawn> {
    (vec(host(), 0..7), app("app0"), app("app1")).prop_map(|(hosts, first, second)| Drawn {
        intent: Intent { apps: first.into_iter().chain(second).collect() },
        observed: Observed {
            view: View::Settled,
            hosts: hosts.into_iter().enumerate().map(named).collect(),
            links: Some(BTreeMap::new()),
            configs: Some(BTreeMap::new()),
            owned: Some(BTreeMap::new()),
            ..Observed::default()
        },
    })
}

fn named((index, host): (usize, Host)) -> (HostId, Host) {
    let name = format!("h{index}");
    (host_id(&name), Host { name, ..host })
}

/// Plans and carries out until there is nothing to do.
fn converge(intent: &Intent, observed: &mut Observed, mut each: impl FnMut(&Plan, &Observed)) -> Plan {
    let mut trace = Vec::new();
    for _ in 0..MOST_ROUNDS {
        let plan = plan(intent, observed, NOW);
        each(&plan, observed);
        if plan.actions.is_empty() {
            return plan;
        }
        trace.push(plan.actions.iter().map(ToString::to_string).collect::<Vec<_>>());
        carry_out(observed, &plan.actions, &Readiness::Ready);
    }
    panic!("no end of it: {:#?}", &trace[MOST_ROUNDS - 4..]);
}

/// What runs of each actor where it can be reached, and is ready.
fn ready(observed: &Observed) -> BTreeMap<EntityId, u32> {
    let mut ready = BTreeMap::new();
    let here = observed.hosts.values().filter(|host| host.is_here());
    for (id, actor) in here.flat_map(|host| &host.inventory).flat_map(|inventory| &inventory.actors) {
        if actor.readiness.is_ready() && actor.owner.is_some() {
            *ready.entry(id.clone()).or_default() += actor.max_instances;
        }
    }
    ready
}

fn takes_away(action: &Action, observed: &Observed) -> bool {
    match &action.deed {
        Deed::StopActor { .. } | Deed::StopProvider { .. } | Deed::RollBack { .. } => true,
        Deed::DeleteConfig { .. } | Deed::DeleteLink { .. } => true,
        Deed::ScaleActor(actor) | Deed::UpdateActor(actor) => {
            let inventory = observed.hosts[&actor.host].inventory.as_ref();
            inventory
                .and_then(|inventory| inventory.actors.get(&actor.id))
                .is_some_and(|a| a.max_instances > actor.count)
        }
        Deed::PutLink { .. } | Deed::RestoreLink { .. } => false,
        Deed::StartProvider(_) | Deed::UpdateProvider(_) => false,
        Deed::RecordOwned { .. } | Deed::PutConfig { .. } => false,
    }
}

/// Where an action is done, and to what.
fn subject(action: &Action) -> Option<(&HostId, &EntityId)> {
    match &action.deed {
        Deed::ScaleActor(actor) | Deed::UpdateActor(actor) => Some((&actor.host, &actor.id)),
        Deed::StartProvider(provider) | Deed::UpdateProvider(provider) => Some((&provider.host, &provider.id)),
        Deed::StopActor { host, id, .. } | Deed::StopProvider { host, id } => Some((host, id)),
        _ => None,
    }
}

/// An actor of `instances` on hosts that are all alike, converged.
fn alike(hosts: usize, instances: u32) -> Drawn {
    let scaler = json!({ "type": "spreadscaler", "properties": { "instances": instances } });
    let app = AppName::parse("app0").expect("a name");
    let intent = Intent { apps: [(app, AppIntent::Deployed(deployed("app0", vec![(0, vec![scaler])])))].into() };
    let mut observed = Observed {
        view: View::Settled,
        hosts: (0..hosts).map(|index| named((index, plain_host()))).collect(),
        links: Some(BTreeMap::new()),
        configs: Some(BTreeMap::new()),
        owned: Some(BTreeMap::new()),
        ..Observed::default()
    };
    converge(&intent, &mut observed, |_, _| {});
    Drawn { intent, observed }
}

fn plain_host() -> Host {
    let (labels, capacity) = (BTreeMap::new(), Capacity::default());
    let inventory = Some(Inventory::default());
    Host { name: String::new(), labels, capacity, seen: Seen::Present, inventory, hearsay: [].into() }
}

fn counts(observed: &Observed) -> BTreeMap<HostId, u32> {
    let actors = |host: &Host| {
        host.inventory.iter().flat_map(|inventory| inventory.actors.values()).map(|a| a.max_instances).sum()
    };
    observed.hosts.iter().map(|(id, host)| (id.clone(), actors(host))).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_same_look_gives_the_same_plan(drawn in drawn()) {
        let again = drawn.clone();
        prop_assert_eq!(plan(&drawn.intent, &drawn.observed, NOW), plan(&again.intent, &again.observed, NOW));
    }

    #[test]
    fn carried_out_plans_come_to_an_end_and_statuses_tell_the_truth(drawn in drawn()) {
        let Drawn { intent, mut observed } = drawn;
        let last = converge(&intent, &mut observed, |_, _| {});
        for (app, status) in &last.apps {
            if status.state == State::Deployed {
                prop_assert!(status.scalers.iter().all(|scaler| scaler.ready == scaler.wanted), "{app}: {status:?}");
            }
            if status.state == State::Reconciling {
                let waits = last.waits.iter().any(|wait| wait.app == *app);
                let silent = observed.hosts.values().any(|host| !host.is_here());
                let unready = observed.hosts.values().flat_map(|host| &host.inventory).any(|inventory| {
                    inventory.actors.values().any(|actor| !actor.readiness.is_ready())
                        || inventory.providers.values().any(|provider| !provider.readiness.is_ready())
                });
                prop_assert!(waits || silent || unready, "{app} stands still: {status:?}");
            }
        }
    }

    #[test]
    fn an_unsettled_view_takes_nothing_away(drawn in drawn()) {
        let Drawn { intent, mut observed } = drawn;
        observed.view = View::Unsettled { why: "a test".to_owned() };
        let plan = plan(&intent, &observed, NOW);
        let taken: Vec<&Action> = plan.actions.iter().filter(|action| takes_away(action, &observed)).collect();
        prop_assert!(taken.is_empty(), "{taken:?}");
    }

    #[test]
    fn only_what_is_its_own_and_only_hosts_that_answer_are_touched(drawn in drawn()) {
        let Drawn { intent, observed } = drawn;
        for action in &plan(&intent, &observed, NOW).actions {
            let Some((host, id)) = subject(action) else { continue };
            prop_assert!(intent.apps.contains_key(action.app.as_str()), "{action}");
            let host = &observed.hosts[host];
            prop_assert!(host.is_here(), "{action} goes to a silent host");
            let inventory = host.inventory.as_ref().expect("what it runs is known");
            let owner = inventory.actors.get(id).map(|actor| &actor.owner);
            let owner = owner.or(inventory.providers.get(id).map(|provider| &provider.owner));
            let is_own = |owner: &Option<Arc<Owner>>| owner.as_ref().is_some_and(|owner| owner.app == action.app);
            prop_assert!(owner.is_none_or(is_own), "{action} touches what belongs to somebody else");
        }
    }

    #[test]
    fn what_is_ready_never_falls_below_what_is_wanted(drawn in drawn()) {
        let Drawn { intent, mut observed } = drawn;
        let before = ready(&observed);
        let mut low: BTreeMap<EntityId, u32> = before.clone();
        let last = converge(&intent, &mut observed, |_, observed| {
            let now = ready(observed);
            for (id, low) in &mut low {
                *low = (*low).min(now.get(id).copied().unwrap_or(0));
            }
        });
        for (app, status) in &last.apps {
            for scaler in status.scalers.iter().filter(|_| status.version.is_some()) {
                let id = EntityId::parse(&format!("{app}-{}", scaler.name)).expect("an id");
                let (Some(before), Some(low)) = (before.get(&id), low.get(&id)) else { continue };
                // One may be unavailable where the rollout says so.
                prop_assert!(*low + 1 >= scaler.wanted.min(*before), "{id}: {before} -> {low} of {}", scaler.wanted);
            }
        }
    }

    #[test]
    fn a_lost_host_moves_only_what_it_ran(hosts in 2_usize..12, instances in 1_u32..40, lost in any::<prop::sample::Index>()) {
        let Drawn { intent, mut observed } = alike(hosts, instances);
        let before = counts(&observed);
        let lost = observed.hosts.keys().nth(lost.index(hosts)).expect("one of them").clone();
        observed.hosts.get_mut(&lost).expect("it is there").seen = Seen::Silent { since: NOW - Duration::from_secs(60) };
        let plan = converge(&intent, &mut observed, |_, _| {});
        let after = counts(&observed);
        let others = before.iter().filter(|(host, _)| **host != lost);
        let started: u32 = others.clone().map(|(host, count)| after[host].saturating_sub(*count)).sum();
        prop_assert!(others.clone().all(|(host, count)| after[host] >= *count), "{before:?} -> {after:?}");
        prop_assert_eq!(started, before[&lost]);
        prop_assert_eq!(plan.apps.values().next().map(|status| status.state), Some(State::Deployed));
    }

    #[test]
    fn a_new_host_takes_no_more_than_its_share(hosts in 1_usize..12, instances in 1_u32..40) {
        let Drawn { intent, mut observed } = alike(hosts, instances);
        let before = counts(&observed);
        let (new, host) = named((hosts, plain_host()));
        observed.hosts.insert(new.clone(), host);
        converge(&intent, &mut observed, |_, _| {});
        let after = counts(&observed);
        let share = instances / u32::try_from(hosts + 1).expect("few");
        prop_assert!(after[&new] <= share, "{after:?}");
        prop_assert!(before.iter().all(|(host, count)| after[host] <= *count), "{before:?} -> {after:?}");
        prop_assert_eq!(after.values().sum::<u32>(), instances);
    }
}
