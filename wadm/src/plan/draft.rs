//! A plan in the making: what may be sent now, what has to wait, and until when.

use std::time::Duration;

use super::action::{Action, Deed, Stage};
use super::outcome::{Plan, Problem, Wait};
use crate::intent::AppName;
use crate::observe::{Attempt, AttemptState, Observed, View};

/// A plan in the making.
pub(super) struct Draft<'a> {
    observed: &'a Observed,
    now: Duration,
    pub(super) plan: Plan,
}

/// For whom something is proposed.
#[derive(Debug, Clone, Copy)]
pub(super) struct For<'a> {
    pub(super) app: &'a AppName,
    pub(super) generation: u64,
}

/// What became of a proposal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Proposed {
    /// It is in the plan.
    Planned,
    /// It was sent earlier, and its effect is awaited.
    Underway,
    /// It waits: for its next attempt, or for a look that may be believed.
    Held(String),
    /// It failed too often.
    GivenUp(String),
}

impl Proposed {
    /// Whether it is sent by this plan, or was sent by an earlier one.
    pub(super) fn is_sent(&self) -> bool {
        matches!(self, Self::Planned | Self::Underway)
    }

    /// What people should know about it, if anything.
    pub(super) fn trouble(&self) -> Option<&str> {
        match self {
            Self::Planned | Self::Underway => None,
            Self::Held(reason) | Self::GivenUp(reason) => Some(reason),
        }
    }
}

impl<'a> Draft<'a> {
    /// An empty one.
    pub(super) fn new(observed: &'a Observed, now: Duration) -> Self {
        Self { observed, now, plan: Plan::default() }
    }

    /// Proposes something for its ordinary stage.
    pub(super) fn propose(&mut self, who: For<'_>, deed: Deed) -> Proposed {
        let stage = deed.stage();
        self.propose_at(who, stage, deed)
    }

    /// Proposes something for a stage.
    pub(super) fn propose_at(&mut self, who: For<'_>, stage: Stage, deed: Deed) -> Proposed {
        if let Some(why) = self.objection(&deed) {
            self.wait(who.app, why.clone(), None);
            return Proposed::Held(why);
        }
        let key = deed.key(who.app);
        let attempt = self.observed.attempts.get(&key).filter(|attempt| attempt.generation == who.generation);
        let (verdict, until) = match attempt.map(|attempt| (attempt, attempt.state)) {
            Some((_, AttemptState::Sent { until })) if self.now < until => (Proposed::Underway, Some(until)),
            Some((attempt, AttemptState::Failed { again_at })) if self.now < again_at => {
                (Proposed::Held(failed(attempt, again_at - self.now)), Some(again_at))
            }
            Some((attempt, AttemptState::GivenUp)) => (Proposed::GivenUp(given_up(attempt)), None),
            _ => {
                let app = who.app.clone();
                self.plan.actions.push(Action { key, app, generation: who.generation, stage, deed });
                return Proposed::Planned;
            }
        };
        let reason = verdict.trouble().unwrap_or("sent; its effect is awaited").to_owned();
        self.wake_at(until);
        self.plan.waits.push(Wait { app: who.app.clone(), key: Some(key), until, reason });
        verdict
    }

    /// Why something must not be done on the word of this look.
    fn objection(&self, deed: &Deed) -> Option<String> {
        let takes_away = matches!(
            deed,
            Deed::StopActor { .. }
                | Deed::StopProvider { .. }
                | Deed::DeleteConfig { .. }
                | Deed::DeleteLink { .. }
                | Deed::RollBack { .. }
        );
        self.doubt()
            .filter(|_| takes_away)
            .map(|why| format!("nothing is taken away while the view is unsettled: {why}"))
    }

    /// Until when something may yet appear that `app` put earlier, if that is still to come.
    pub(super) fn late_puts(&self, app: &AppName) -> Option<Duration> {
        Some(self.observed.late_puts.of(app)).filter(|until| *until > self.now)
    }

    /// Why the look may not be believed when it says that something is gone.
    pub(super) fn doubt(&self) -> Option<&str> {
        match &self.observed.view {
            View::Settled => None,
            View::Unsettled { why } => Some(why),
            View::Nothing => Some("nothing was looked at yet"),
        }
    }

    /// Something is waited for.
    pub(super) fn wait(&mut self, app: &AppName, reason: impl Into<String>, until: Option<Duration>) {
        self.wake_at(until);
        self.plan.waits.push(Wait { app: app.clone(), key: None, until, reason: reason.into() });
    }

    /// Something is wrong.
    pub(super) fn problem(&mut self, app: &AppName, subject: &str, message: impl Into<String>) {
        let problem = Problem { app: app.clone(), subject: subject.to_owned(), message: message.into() };
        if !self.plan.problems.contains(&problem) {
            self.plan.problems.push(problem);
        }
    }

    /// Planning again is worth while then.
    pub(super) fn wake_at(&mut self, at: Option<Duration>) {
        let Some(at) = at else { return };
        self.plan.next_wake = Some(self.plan.next_wake.map_or(at, |wake| wake.min(at)));
    }
}

fn failed(attempt: &Attempt, pause: Duration) -> String {
    let error = attempt.last_error.as_deref().unwrap_or("no answer");
    let times = if attempt.failures == 1 { "once".to_owned() } else { format!("{} times", attempt.failures) };
    format!("failed {times}: {error}; next attempt in {:.1} s", pause.as_secs_f64())
}

/// What to say of something that was given up.
pub(super) fn given_up(attempt: &Attempt) -> String {
    let error = attempt.last_error.as_deref().unwrap_or("no answer");
    format!("given up after {} attempts: {error}; deploy again to try again", attempt.failures)
}
