//! What a plan asks for and was not sent yet: one line an application, in the order of stages.

use std::collections::{BTreeMap, VecDeque};

use crate::intent::AppName;
use crate::plan::{Action, Stage};

/// What keeps an application from going on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Hold {
    /// The earliest stage of which something was sent and not acknowledged.
    pub(super) unacknowledged: Option<Stage>,
    /// The earliest stage of which something failed.
    pub(super) failed: Option<Stage>,
}

impl Hold {
    /// Whether `stage` may go: when all of earlier stages was acknowledged. What failed holds back later stages too,
    /// but for stops.
    fn lets(self, stage: Stage) -> bool {
        let is_after = |earlier: Option<Stage>| earlier.is_some_and(|earlier| earlier < stage);
        !is_after(self.unacknowledged) && (stage == Stage::Stop || !is_after(self.failed))
    }
}

/// What is to be sent.
#[derive(Debug, Default)]
pub(super) struct Queue(BTreeMap<AppName, VecDeque<Action>>);

impl Queue {
    /// Puts `actions` in the place of what was there.
    pub(super) fn replace(&mut self, actions: impl Iterator<Item = Action>) {
        self.0.clear();
        for action in actions {
            self.0.entry(action.app.clone()).or_default().push_back(action);
        }
        for line in self.0.values_mut() {
            line.make_contiguous().sort_by_key(|action| action.stage);
        }
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// The next action that may go, if what holds each application is as `hold` says.
    pub(super) fn next(&mut self, hold: impl Fn(&AppName) -> Hold) -> Option<Action> {
        for (app, line) in &mut self.0 {
            let hold = hold(app);
            let first = line.front()?.stage;
            let at = if hold.lets(first) { 0 } else { line.partition_point(|action| action.stage < Stage::Stop) };
            if line.get(at).is_none_or(|action| !hold.lets(action.stage)) {
                continue;
            }
            let action = line.remove(at);
            if line.is_empty() {
                let app = app.clone();
                self.0.remove(&app);
            }
            return action;
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::{Hold, Queue};
    use crate::intent::AppName;
    use crate::plan::{Action, ActionKey, Deed, Stage};

    const STAGES: [Stage; 3] = [Stage::Config, Stage::Actor, Stage::Stop];

    fn queue() -> Queue {
        let app = AppName::parse("a").expect("valid");
        let actions = STAGES.into_iter().rev().map(|stage| Action {
            key: ActionKey::new(format!("{stage:?}")),
            app: app.clone(),
            generation: 1,
            stage,
            deed: Deed::DeleteConfig { name: "c".parse().expect("valid") },
        });
        let mut queue = Queue::default();
        queue.replace(actions);
        queue
    }

    fn check(unacknowledged: Option<Stage>, failed: Option<Stage>, expected: &[Stage]) {
        let mut queue = queue();
        let hold = Hold { unacknowledged, failed };
        let sent: Vec<_> = std::iter::from_fn(|| queue.next(|_| hold)).map(|action| action.stage).collect();
        assert_eq!(sent, expected, "{hold:?}");
    }

    #[test]
    fn a_stage_goes_when_earlier_ones_were_acknowledged_and_stops_go_although_others_failed() {
        check(None, None, &STAGES);
        check(Some(Stage::Record), None, &[]);
        check(Some(Stage::Config), None, &[Stage::Config]);
        check(None, Some(Stage::Config), &[Stage::Config, Stage::Stop]);
        check(Some(Stage::Actor), Some(Stage::Record), &[]);
    }
}
