//! How an application stands, in the shapes of the API: what the last plan came to, held against the catalog, because
//! a status from before a deploy says nothing about it.

use super::message::{ScalerStatus, Status, StatusInfo, StatusType};
use crate::catalog::App;
use crate::plan::{AppStatus, State};
use crate::status;

/// How `app` stands by the status of `board`.
pub(super) fn standing(app: &App, board: &status::Status) -> Status {
    let version = app.deployed.clone().unwrap_or_default();
    let Some(found) = board.apps.get(&app.name).filter(|found| found.generation >= app.generation) else {
        let info = match app.generation {
            0 => StatusInfo { status_type: StatusType::Undeployed, message: "never deployed".to_owned() },
            _ => StatusInfo { status_type: StatusType::Reconciling, message: "not planned yet".to_owned() },
        };
        return Status { info, version, generation: app.generation, ..Status::default() };
    };
    let (name, of_app) = (&app.name, |of: &crate::intent::AppName| *of == app.name);
    let problems = board.problems.iter().filter(|problem| of_app(&problem.app));
    let waits = board.waits.iter().filter(|wait| wait.app == *name);
    Status {
        info: StatusInfo { status_type: status_type(found.state), message: found.message.clone() },
        scalers: scalers(found),
        version,
        components: Vec::new(),
        generation: found.generation,
        problems: problems.map(|problem| named(&problem.subject, &problem.message)).collect(),
        waits: waits.map(|wait| wait.reason.clone()).collect(),
    }
}

/// `subject: message`, or the message alone when it is about the whole.
pub(super) fn named(subject: &str, message: &str) -> String {
    if subject.is_empty() { message.to_owned() } else { format!("{subject}: {message}") }
}

fn scalers(found: &AppStatus) -> Vec<ScalerStatus> {
    let scalers = found.scalers.iter().map(|scaler| ScalerStatus {
        id: scaler.id.clone(),
        kind: scaler.kind.as_str().to_owned(),
        name: scaler.name.clone(),
        info: StatusInfo { status_type: status_type(scaler.state), message: scaler.message.clone() },
        ready: scaler.ready,
        wanted: scaler.wanted,
    });
    scalers.collect()
}

fn status_type(state: State) -> StatusType {
    match state {
        State::Undeployed => StatusType::Undeployed,
        State::Deployed => StatusType::Deployed,
        State::Reconciling => StatusType::Reconciling,
        State::Waiting => StatusType::Waiting,
        State::Unhealthy => StatusType::Unhealthy,
        State::Failed => StatusType::Failed,
    }
}
