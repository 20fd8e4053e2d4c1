//! Whether the rollout of an application has failed, and what follows.

use super::desired::{App, Component};
use super::draft::{Draft, For};
use super::placement::Subject;
use super::thing::things;
use super::world::World;
use crate::manifest::Rollback;
use crate::observe::{Progress, Readiness, Rollout};
use crate::plan::action::Deed;

/// So often a start may fail during a rollout that goes back by itself.
const MOST_FAILURES: u32 = 5;

/// What was found wrong with a rollout.
pub(super) enum Verdict {
    /// Nothing: it goes on, or is over.
    Fine,
    /// It has failed, and goes back by itself.
    Back,
    /// It has failed, and somebody has to decide.
    Stuck(String),
}

/// Judges the rollout of an application, and proposes to go back where it failed and may.
pub(super) fn judge(world: &World<'_>, app: &App, draft: &mut Draft<'_>) -> Verdict {
    let rollout = world.observed.rollouts.get(&app.name);
    let Some(rollout) = rollout.filter(|rollout| rollout.generation == app.generation) else { return Verdict::Fine };
    if rollout.progress == Progress::Complete {
        return Verdict::Fine;
    }
    let found = app.components.iter().find_map(|component| {
        let why = failure(world, app, component).or_else(|| overdue(world, component, rollout, draft))?;
        Some((component, why))
    });
    let Some((component, why)) = found else { return Verdict::Fine };
    // Going back to what has just failed would go on for ever.
    let previous = rollout.previous.as_ref().filter(|previous| **previous != app.version);
    match (component.rollout.rollback, previous) {
        (Rollback::Automatic, Some(previous)) => {
            let who = For { app: &app.name, generation: app.generation };
            draft.propose(who, Deed::RollBack { to: previous.clone(), why });
            Verdict::Back
        }
        (Rollback::Automatic, None) => Verdict::Stuck(format!("{why}; there is no earlier version to go back to")),
        (Rollback::Manual, _) => Verdict::Stuck(why),
    }
}

/// A failure that only counts where going back was asked for; elsewhere things are tried again.
fn failure(world: &World<'_>, app: &App, component: &Component) -> Option<String> {
    if component.rollout.rollback == Rollback::Manual {
        return None;
    }
    let subject = Subject { app: &app.name, generation: app.generation, component };
    let failed = world.starts(component, app.generation).find(|(_, attempt)| attempt.failures >= MOST_FAILURES);
    if let Some((host, attempt)) = failed {
        let error = attempt.last_error.as_deref().unwrap_or("no answer");
        return Some(format!("{} did not start on {}: {error}", component.name, world.entry(host).host.name));
    }
    let things = things(world, subject);
    let failing = things.iter().filter(|thing| thing.is_current && thing.is_here).find_map(|thing| {
        let Readiness::Failing { reason } = thing.readiness else { return None };
        Some((thing.host, reason))
    });
    failing.map(|(host, reason)| format!("{} fails on {}: {reason}", component.name, world.entry(host).host.name))
}

fn overdue(world: &World<'_>, component: &Component, rollout: &Rollout, draft: &mut Draft<'_>) -> Option<String> {
    let end = rollout.since.saturating_add(component.rollout.deadline);
    if world.now < end {
        draft.wake_at(Some(end));
        return None;
    }
    let seconds = component.rollout.deadline.as_secs();
    Some(format!("{} was not rolled out within {seconds} s", component.name))
}
