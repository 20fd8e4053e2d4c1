//! The order of planning: applications by name, in each the components, then its records, then what is left over.

use std::time::Duration;

use super::action::Action;
use super::component::Mover;
use super::desired::{App, Component, Desired, desired};
use super::draft::{self, Draft, For};
use super::explain;
use super::gone;
use super::outcome::{Plan, State};
use super::placement::{Keep, Subject};
use super::pool::Pools;
use super::records::{Records, missing};
use super::rollout::{self, Verdict};
use super::shortage;
use super::spread::Placer;
use super::status;
use super::thing::{running, things};
use super::world::{HostIndex, World};
use crate::intent::Intent;
use crate::manifest::Patience;
use crate::observe::{AttemptState, Observed, View};

/// So many components' shortages are explained in one plan: explaining one looks at every host.
const MOST_SHORTAGES: usize = 20;

/// Up to so many components times hosts, a plan explains itself; beyond, [`explain`](explain::explain) does it for one
/// application.
const MOST_EXPLAINED: usize = 2_000;

/// What to do so that the lattice becomes what is intended. `now` is the time since an arbitrary start, on the same
/// clock as the times in `observed`.
///
/// Nothing is planned on [`View::Nothing`].
pub fn plan(intent: &Intent, observed: &Observed, now: Duration) -> Plan {
    let desired = desired(intent);
    let mut planner = Planner::new(&desired, observed, now);
    let components: usize = desired.apps.iter().map(|app| app.components.len()).sum();
    let mut explanations = Vec::new();
    for app in &desired.apps {
        planner.app(app, &mut |placed, world| {
            if components * observed.hosts.len() <= MOST_EXPLAINED {
                explanations.extend(explain::of(placed, world));
            }
        });
    }
    for gone in &desired.gone {
        let status = gone::remove(&planner.world, gone, &mut planner.draft);
        planner.draft.plan.apps.insert(gone.name.clone(), status);
    }
    let mut plan = planner.finish();
    plan.explanations = explanations;
    plan
}

/// A pass over all applications.
pub(super) struct Planner<'a> {
    pub(super) world: World<'a>,
    pub(super) pools: Pools,
    pub(super) draft: Draft<'a>,
    shortages: usize,
}

/// Told of each component once it is placed, before its room is taken by others.
pub(super) type Witness<'w> = dyn FnMut(&Placed<'_, '_>, &World<'_>) + 'w;

/// A component that was placed.
pub(super) struct Placed<'p, 'r> {
    pub(super) subject: Subject<'p>,
    pub(super) result: &'r status::Result<'p>,
}

impl<'a> Planner<'a> {
    pub(super) fn new(desired: &Desired, observed: &'a Observed, now: Duration) -> Self {
        Self {
            world: World::new(observed, desired, now),
            pools: Pools::default(),
            draft: Draft::new(observed, now),
            shortages: 0,
        }
    }

    /// Plans one application that is to run.
    pub(super) fn app(&mut self, app: &App, witness: &mut Witness<'_>) {
        for problem in &app.problems {
            self.draft.plan.problems.push(problem.clone());
        }
        let verdict = rollout::judge(&self.world, app, &mut self.draft);
        if matches!(verdict, Verdict::Back) {
            let status = rolling_back(app);
            self.draft.plan.apps.insert(app.name.clone(), status);
            return;
        }
        let mut results: Vec<status::Result<'_>> = Vec::with_capacity(app.components.len());
        for component in &app.components {
            let result = self.component(app, component);
            let subject = Subject { app: &app.name, generation: app.generation, component };
            witness(&Placed { subject, result: &result }, &self.world);
            results.push(result);
        }
        let is_done = results.iter().all(status::Result::is_done) && app.problems.is_empty();
        let has_orphans = gone::has_orphans(&self.world, app);
        if has_orphans && is_done {
            gone::remove_orphans(&self.world, app, &mut self.draft);
        } else if has_orphans {
            let reason = "components that are no longer in the manifest stop when the others are ready";
            self.draft.wait(&app.name, reason, None);
        }
        let who = For { app: &app.name, generation: app.generation };
        let records =
            Records { observed: self.world.observed, who, app: Some(app), may_erase: is_done && !has_orphans };
        let standing = records.run(&mut self.draft, |id| {
            results.iter().filter(|result| result.component.id == *id).all(status::Result::is_done)
        });
        let mut status = status::app(&self.world, app, &results, &standing);
        if has_orphans && status.state == State::Deployed {
            status.state = State::Reconciling;
            "components that are no longer in the manifest are being stopped".clone_into(&mut status.message);
        }
        if let Verdict::Stuck(why) = verdict {
            self.draft.problem(&app.name, "", format!("its rollout has failed: {why}"));
            (status.state, status.message) = (State::Failed, format!("its rollout has failed: {why}"));
        }
        self.draft.plan.apps.insert(app.name.clone(), status);
    }

    fn component<'c>(&mut self, app: &'c App, component: &'c Component) -> status::Result<'c> {
        let subject = Subject { app: &app.name, generation: app.generation, component };
        let things = things(&self.world, subject);
        let running = running(&things);
        let (world, pools) = (&mut self.world, &mut self.pools);
        let placement = Placer { world, pools, subject, running: &running }.place();
        let held = missing(&component.external, self.world.observed);
        if let Some(message) = &held {
            self.draft.problem(&app.name, &component.name, message.as_str());
        }
        let held = held.or_else(|| self.hearsay(component));
        if placement.targets.values().any(|target| target.keep == Some(Keep::Wait)) {
            self.await_silence(subject, &running);
        }
        let mover = Mover {
            world: &self.world,
            draft: &mut self.draft,
            subject,
            things: &things,
            placement: &placement,
            held,
            course: Default::default(),
        };
        let mut course = mover.run();
        let shortage = (!placement.short.is_empty()).then(|| self.shortage(subject));
        if let Some(reason) = &shortage {
            self.draft.wait(&app.name, format!("{} has no host for all of it: {reason}", component.name), None);
        }
        if shortage.is_some() {
            course.given_up.extend(self.given_up(subject));
        }
        status::Result { component, placement, course, shortage }
    }

    /// Which host may run it already: nothing is started before that is known, or believed to be lost.
    fn hearsay(&self, component: &Component) -> Option<String> {
        let mut hosts = self.world.hearsay(&component.id).iter();
        let host = *hosts.find(|host| !self.world.is_lost(**host, component))?;
        let name = &self.world.entry(host).host.name;
        Some(format!("host {name} says that it runs {}, and has not said yet how", component.name))
    }

    /// Where starting it was given up, if anywhere.
    fn given_up(&self, subject: Subject<'_>) -> Option<String> {
        let mut starts = self.world.starts(subject.component, subject.generation);
        let (host, attempt) = starts.find(|(_, attempt)| attempt.state == AttemptState::GivenUp)?;
        let host = &self.world.entry(host).host.name;
        Some(format!("on {host}: {}", draft::given_up(attempt)))
    }

    fn shortage(&mut self, subject: Subject<'_>) -> String {
        self.shortages += 1;
        if self.shortages > MOST_SHORTAGES {
            return "no host that fits has room".to_owned();
        }
        shortage::summary(&self.world, subject)
    }

    /// Until when silent hosts are waited for, if not for ever.
    fn await_silence(&mut self, subject: Subject<'_>, running: &[super::spread::Running<'_>]) {
        let left = |host: HostIndex| match (self.world.silence(host)?, self.world.patience(host, subject.component)) {
            (silence, Patience::For(limit)) => limit.checked_sub(silence).filter(|left| !left.is_zero()),
            (_, Patience::Forever) => None,
        };
        let until = running.iter().filter_map(|running| left(running.host)).min().map(|left| self.world.now + left);
        let reason = match until {
            Some(_) => format!("hosts that run {} are silent", subject.component.name),
            None => format!("hosts that run {} are silent; it counts as running there", subject.component.name),
        };
        self.draft.wait(subject.app, reason, until);
    }

    /// The plan, in the order in which it is to be done.
    pub(super) fn finish(self) -> Plan {
        let is_blind = self.world.observed.view == View::Nothing;
        let mut plan = self.draft.plan;
        plan.actions.sort_by(|a: &Action, b: &Action| (&a.app, a.stage).cmp(&(&b.app, b.stage)));
        plan.problems.sort();
        plan.problems.dedup();
        if is_blind {
            plan.actions.clear();
        }
        plan
    }
}

fn rolling_back(app: &App) -> super::outcome::AppStatus {
    super::outcome::AppStatus {
        version: Some(app.version.clone()),
        generation: app.generation,
        state: State::Failed,
        message: "its rollout has failed; the version before is deployed again".to_owned(),
        scalers: Vec::new(),
    }
}
