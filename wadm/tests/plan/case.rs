//! A case file: a scene, and what is to happen in it, step by step.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use serde::Deserialize;
use trellis_wadm::intent::AppName;
use trellis_wadm::observe::Readiness;
use trellis_wadm::plan::{Deed, Plan, plan};

use crate::scene::{Scene, host_id};
use crate::world::carry_out;

#[derive(Debug, Deserialize)]
struct Case {
    /// What the case shows, as a sentence.
    says: String,
    #[serde(flatten)]
    rest: toml::Table,
}

/// What is to happen.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Expect {
    /// All actions, in order. Absent: any.
    actions: Option<Vec<String>>,
    /// With which limits actors are scaled, by id: `64 MiB, 250 ms`, each `-` when there is none.
    #[serde(default)]
    limits: BTreeMap<String, String>,
    /// The state of applications.
    #[serde(default)]
    state: BTreeMap<String, String>,
    /// What the message of an application has in it.
    #[serde(default)]
    message: BTreeMap<String, String>,
    /// What problems have in them; there are no others. Absent: any.
    problems: Option<Vec<String>>,
    /// What some wait has in it.
    #[serde(default)]
    waits: Vec<String>,
    /// What the reason for a host to be rejected has in it, by host.
    #[serde(default)]
    rejected: BTreeMap<String, String>,
    /// In so many seconds it is worth while to plan again.
    wakes_in: Option<f64>,
    /// Before this step, what the step before started is `ready` (also when absent), `starting`, `not ready: …` or failing.
    started: Option<String>,
    /// Before this step, so many seconds go by.
    seconds: Option<f64>,
}

/// Runs the case in `file`; the error shows what was expected and what came.
pub(crate) fn run(file: &Path) -> Result<(), String> {
    let name = file.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let text = std::fs::read_to_string(file).expect("readable");
    let mut case: Case = toml::from_str(&text).map_err(|error| format!("{name}: {error}"))?;
    let mut steps: Vec<Expect> = Vec::new();
    for key in ["expect", "then"] {
        match case.rest.remove(key) {
            Some(toml::Value::Array(all)) => {
                for step in all {
                    steps.push(step.try_into().map_err(|error| format!("{name}: {error}"))?);
                }
            }
            Some(step) => steps.push(step.try_into().map_err(|error| format!("{name}: {error}"))?),
            None => {}
        }
    }
    assert!(!steps.is_empty(), "{name} expects nothing");
    let scene: Scene = case.rest.try_into().map_err(|error| format!("{name}: {error}"))?;
    play(&scene, &steps).map_err(|error| format!("{name} ({}):\n{error}", case.says))
}

fn play(scene: &Scene, steps: &[Expect]) -> Result<(), String> {
    let intent = scene.intent();
    let mut observed = scene.observed();
    let mut now = scene.now();
    let mut last: Option<Plan> = None;
    for (number, step) in steps.iter().enumerate() {
        if let Some(last) = last {
            let readiness = match step.started.as_deref() {
                None | Some("ready") => Readiness::Ready,
                Some("starting") => Readiness::Starting,
                Some(reason) if reason.starts_with("not ready: ") => Readiness::Waiting { reason: reason.to_owned() },
                Some(reason) => Readiness::Failing { reason: reason.to_owned() },
            };
            carry_out(&mut observed, &last.actions, &readiness);
        }
        now += Duration::from_secs_f64(step.seconds.unwrap_or(0.0));
        let plan = plan(&intent, &observed, now);
        check(scene, step, &plan, now).map_err(|error| format!("step {}: {error}", number + 1))?;
        last = Some(plan);
    }
    Ok(())
}

fn check(scene: &Scene, step: &Expect, plan: &Plan, now: Duration) -> Result<(), String> {
    let named = |text: String| scene.host.keys().fold(text, |text, name| text.replace(host_id(name).as_str(), name));
    let actions: Vec<String> = plan.actions.iter().map(|action| named(action.to_string())).collect();
    if let Some(expected) = &step.actions {
        same("actions", expected, &actions)?;
    }
    for (id, limits) in &step.limits {
        same(&format!("limits of {id}"), &BTreeSet::from([limits.clone()]), &limits_of(plan, id))?;
    }
    for (app, state) in &step.state {
        let status = &plan.apps[&AppName::parse(app).expect("a name")];
        same(&format!("state of {app} ({})", status.message), state, &format!("{:?}", status.state))?;
    }
    for (app, message) in &step.message {
        let status = &plan.apps[&AppName::parse(app).expect("a name")];
        contains(&format!("message of {app}"), message, &[named(status.message.clone())])?;
    }
    let problems: Vec<String> =
        plan.problems.iter().map(|problem| named(format!("{}: {}", problem.subject, problem.message))).collect();
    if let Some(expected) = &step.problems {
        same("number of problems", &expected.len(), &problems.len())
            .map_err(|error| format!("{error}\n{problems:?}"))?;
        expected.iter().try_for_each(|problem| contains("problems", problem, &problems))?;
    }
    let waits: Vec<String> = plan.waits.iter().map(|wait| named(wait.reason.clone())).collect();
    step.waits.iter().try_for_each(|wait| contains("waits", wait, &waits))?;
    for (host, reason) in &step.rejected {
        let rejected = plan.explanations.iter().flat_map(|explanation| &explanation.rejected);
        let reasons: Vec<String> =
            rejected.filter(|(id, _)| *id == host_id(host)).map(|(_, reason)| named(reason.clone())).collect();
        contains(&format!("why not {host}"), reason, &reasons)?;
    }
    if let Some(seconds) = step.wakes_in {
        let wake = plan.next_wake.map(|wake| (wake - now).as_secs_f64());
        same("next wake", &Some(seconds), &wake)?;
    }
    Ok(())
}

/// The limits with which the actor `id` is scaled.
fn limits_of(plan: &Plan, id: &str) -> BTreeSet<String> {
    let scaled = plan.actions.iter().filter_map(|action| match &action.deed {
        Deed::ScaleActor(actor) | Deed::UpdateActor(actor) if actor.id.as_str() == id => Some(actor.limits),
        _ => None,
    });
    let text = |number: Option<u64>, unit: &str| number.map_or("-".to_owned(), |number| format!("{number} {unit}"));
    scaled
        .map(|limits| {
            let memory = text(limits.memory_bytes.map(|bytes| bytes >> 20), "MiB");
            format!("{memory}, {}", text(limits.execution_ms, "ms"))
        })
        .collect()
}

fn same<T: PartialEq + std::fmt::Debug>(what: &str, expected: &T, found: &T) -> Result<(), String> {
    if expected == found { Ok(()) } else { Err(format!("{what}:\n  expected {expected:#?}\n  found {found:#?}")) }
}

fn contains(what: &str, expected: &str, found: &[String]) -> Result<(), String> {
    let is_there = found.iter().any(|text| text.contains(expected));
    if is_there { Ok(()) } else { Err(format!("{what}:\n  expected {expected:?}\n  found {found:#?}")) }
}
