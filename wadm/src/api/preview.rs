//! What deploying a manifest would do, without doing it.

use std::sync::Arc;

use super::difference::difference;
use super::message::GetResult;
use super::planned::{CallInfo, ChoiceInfo, EndInfo, ExplanationInfo, PlanReply, Rejection};
use super::server::Preview;
use super::standing::named;
use crate::catalog::Catalog;
use crate::intent::{AppIntent, AppName, Deployed, Intent};
use crate::manifest::{Manifest, Problems};
use crate::plan::{Call, End, Explanation, Plan, calls};

/// What deploying `manifest` would do.
pub(super) async fn plan(catalog: &Catalog, preview: &Preview, manifest: Manifest) -> PlanReply {
    let Ok(app) = AppName::parse(&manifest.metadata.name) else {
        return refused(GetResult::Error, format!("application name {} is not valid", manifest.metadata.name));
    };
    let intent = catalog.intent();
    let deployed = match intent.apps.get(&app) {
        Some(AppIntent::Deployed(deployed)) => Some(deployed.manifest.clone()),
        _ => None,
    };
    let difference = difference(deployed.as_deref(), &manifest);
    let wanted = wanting(&intent, &app, manifest);
    let preview = preview.clone();
    // Plans of large lattices take long.
    let planned = tokio::task::spawn_blocking(move || {
        let (plan, observed) = preview(&wanted)?;
        let calls = calls(&wanted, &observed, &app);
        Some(PlanReply { calls: calls.iter().map(called).collect(), ..told(&app, &plan) })
    });
    let Some(reply) = planned.await.expect("planning does not panic") else {
        return refused(GetResult::Error, "no look at the lattice was taken yet: try again in a moment".to_owned());
    };
    PlanReply { difference, ..reply }
}

/// The reply for a manifest with problems.
pub(super) fn wrong(problems: Problems) -> PlanReply {
    let message = problems.to_string();
    PlanReply { manifest_problems: problems.problems, ..refused(GetResult::Error, message) }
}

/// The reply when there is no plan.
pub(super) fn refused(result: GetResult, message: String) -> PlanReply {
    PlanReply {
        result,
        message,
        name: String::new(),
        manifest_problems: Vec::new(),
        difference: Default::default(),
        actions: Vec::new(),
        waits: Vec::new(),
        problems: Vec::new(),
        explanations: Vec::new(),
        calls: Vec::new(),
    }
}

fn called(call: &Call) -> CallInfo {
    let end = |end: &End| EndInfo {
        id: end.id.to_string(),
        image: end.image.to_string(),
        runs: end.runs.iter().map(ToString::to_string).collect(),
    };
    CallInfo {
        source: end(&call.source),
        target: end(&call.target),
        link: call.link.clone(),
        contracts: call.contracts.clone(),
    }
}

/// `intent`, but with `manifest` deployed.
fn wanting(intent: &Intent, app: &AppName, manifest: Manifest) -> Intent {
    let generation = intent.apps.get(app).map_or(0, AppIntent::generation) + 1;
    let version = manifest.metadata.annotations.get("version").cloned().unwrap_or_default();
    let mut intent = intent.clone();
    let deployed = Deployed { version, generation, manifest: Arc::new(manifest) };
    intent.apps.insert(app.clone(), AppIntent::Deployed(deployed));
    intent
}

fn told(app: &AppName, plan: &Plan) -> PlanReply {
    let actions: Vec<String> =
        plan.actions.iter().filter(|action| action.app == *app).map(|action| action.to_string()).collect();
    let waits = plan.waits.iter().filter(|wait| wait.app == *app).map(|wait| wait.reason.clone()).collect();
    let problems = plan.problems.iter().filter(|problem| problem.app == *app);
    let explanations = plan.explanations.iter().filter(|explanation| explanation.app == *app);
    PlanReply {
        name: app.to_string(),
        actions,
        waits,
        problems: problems.map(|problem| named(&problem.subject, &problem.message)).collect(),
        explanations: explanations.map(explained).collect(),
        ..refused(GetResult::Success, String::new())
    }
}

fn explained(explanation: &Explanation) -> ExplanationInfo {
    let chosen = explanation.chosen.iter().map(|choice| ChoiceInfo {
        host: choice.host.to_string(),
        count: choice.count,
        why: choice.why.to_owned(),
    });
    let rejected = explanation.rejected.iter();
    ExplanationInfo {
        component: explanation.component.clone(),
        spread: explanation.spread.clone(),
        share: explanation.share.clone(),
        chosen: chosen.collect(),
        rejected: rejected.map(|(host, why)| Rejection { host: host.to_string(), why: why.clone() }).collect(),
        more_rejected: explanation.more_rejected.clone(),
    }
}
