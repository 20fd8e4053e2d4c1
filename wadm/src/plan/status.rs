//! How an application stands, from what planning came to.

use super::component::Course;
use super::desired::{App, Component, Scaler};
use super::established;
use super::outcome::{AppStatus, ScalerKind, ScalerStatus, State};
use super::records::{Standing, Standpoint};
use super::spread::Placement;
use super::world::World;

/// What planning one component came to.
pub(super) struct Result<'a> {
    pub(super) component: &'a Component,
    pub(super) placement: Placement,
    pub(super) course: Course,
    /// Why something of it found no host, for people.
    pub(super) shortage: Option<String>,
}

impl Result<'_> {
    /// How the component stands.
    pub(super) fn state(&self) -> (State, String) {
        let Course { is_moving, troubles, given_up, failing, ready } = &self.course;
        let wanted: u32 = self.placement.wanted.iter().sum();
        let placed: u32 = self.placement.targets.values().map(|target| target.count).sum();
        if let Some(reason) = given_up.first() {
            return (State::Failed, reason.clone());
        }
        if let Some(reason) = failing.first() {
            return (State::Unhealthy, reason.clone());
        }
        if let Some(reason) = &self.shortage {
            return (State::Waiting, format!("{} of {wanted} have no host: {reason}", wanted - placed));
        }
        if *is_moving || ready < &wanted {
            let progress = format!("{ready} of {wanted} are ready");
            let message = troubles.first().map_or(progress.clone(), |trouble| format!("{progress}: {trouble}"));
            return (State::Reconciling, message);
        }
        (State::Deployed, String::new())
    }

    /// Whether it is as desired.
    pub(super) fn is_done(&self) -> bool {
        self.state().0 == State::Deployed
    }

    fn scaler(&self, number: usize, scaler: &Scaler) -> ScalerStatus {
        let (state, message) = self.state();
        let mine = self.placement.targets.values().filter(|target| target.scaler == number);
        let placed: u32 = mine.map(|target| target.count).sum();
        ScalerStatus {
            id: scaler.id.clone(),
            kind: scaler.kind,
            name: self.component.name.clone(),
            state,
            message,
            ready: self.course.ready.min(placed),
            wanted: self.placement.wanted[number],
        }
    }
}

/// How a deployed application stands.
pub(super) fn app(world: &World<'_>, app: &App, results: &[Result<'_>], standing: &Standing) -> AppStatus {
    let mut scalers: Vec<ScalerStatus> = Vec::new();
    for result in results {
        let all = result.component.scalers.iter().enumerate();
        scalers.extend(all.map(|(number, scaler)| result.scaler(number, scaler)));
    }
    for link in &app.links {
        let health = || established::check(world, &link.link);
        scalers.push(record(standing, (&link.scaler, ScalerKind::Link, &link.title), health));
    }
    for config in app.configs.values() {
        scalers.push(record(standing, (&config.scaler, ScalerKind::Config, &config.title), || None));
    }
    let worst = scalers.iter().max_by_key(|scaler| scaler.state);
    let (mut state, mut message) = worst.map_or((State::Deployed, String::new()), |worst| {
        let message =
            if worst.message.is_empty() { String::new() } else { format!("{}: {}", worst.name, worst.message) };
        (worst.state, message)
    });
    if let Some(problem) = app.problems.first() {
        (state, message) = (State::Failed, format!("{}: {}", problem.subject, problem.message));
    }
    AppStatus { version: Some(app.version.clone()), generation: app.generation, state, message, scalers }
}

fn record(
    standing: &Standing,
    (id, kind, name): (&str, ScalerKind, &str),
    health: impl FnOnce() -> Option<(State, String)>,
) -> ScalerStatus {
    let (state, message) = match standing.get(id) {
        None => health().unwrap_or((State::Deployed, String::new())),
        Some(Standpoint::Moving(message)) => (State::Reconciling, message.clone()),
        Some(Standpoint::Waiting(message)) => (State::Waiting, message.clone()),
        Some(Standpoint::Stuck(message)) => (State::Failed, message.clone()),
    };
    let ready = u32::from(state == State::Deployed);
    ScalerStatus { id: id.to_owned(), kind, name: name.to_owned(), state, message, ready, wanted: 1 }
}
