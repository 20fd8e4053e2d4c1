//! What a host said when it was asked what it runs, and when to ask it again.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use trellis_lattice::id::BootId;
use trellis_lattice::message::inventory::HostInventory;
use trellis_lattice::message::presence::Running;

use super::inventory::Answer;

/// How old an answer may be before the host is asked again although nothing seems to have changed.
const STALE: Duration = Duration::from_secs(30);

/// How soon a host that did not answer is asked again.
const RETRY: Duration = Duration::from_secs(1);

/// One host's answer and what became of it.
#[derive(Debug)]
pub(super) struct Detail {
    boot: BootId,
    inventory: Option<Arc<Answer>>,
    /// When the question was sent that brought it.
    asked: Option<Instant>,
    /// How long that took.
    distance: Option<Duration>,
    /// Since when this run of it is known.
    since: Instant,
    question: Question,
}

/// Whether the host is to be asked.
#[derive(Debug, Clone, Copy)]
enum Question {
    /// Something happened, or it did not answer: it is asked at that time.
    Wanted(Instant),
    /// It is being asked; `again` when something happened meanwhile.
    Asked { again: Option<Instant> },
    /// It answered, at that time.
    Answered(Instant),
}

impl Detail {
    /// Of a host that was never asked.
    pub(super) fn unknown(boot: BootId, now: Instant) -> Self {
        Self { boot, inventory: None, asked: None, distance: None, since: now, question: Question::Wanted(now) }
    }

    /// Its presence says something else, maybe as another run.
    pub(super) fn changed(&mut self, boot: BootId, running: &[Running], now: Instant) {
        if self.boot != boot {
            // An answer that is under way is another run's. Until this one answers, what it goes on with is as it was.
            let inventory = self.inventory.as_ref().map(|answer| Arc::new(answer.only(running)));
            *self = Self { inventory, ..Self::unknown(boot, now) };
        }
        self.touched(now);
    }

    /// Something happened on it.
    pub(super) fn touched(&mut self, now: Instant) {
        self.question = match self.question {
            Question::Asked { .. } => Question::Asked { again: Some(now) },
            Question::Wanted(_) | Question::Answered(_) => Question::Wanted(now),
        };
    }

    /// It is being asked.
    pub(super) fn asking(&mut self) {
        self.question = Question::Asked { again: None };
    }

    /// What came of a question that was sent at `asked`; whether it brought anything.
    pub(super) fn answered(&mut self, asked: Instant, answer: Option<HostInventory>, now: Instant) -> bool {
        let Question::Asked { again } = self.question else { return false };
        let Some(inventory) = answer else {
            self.question = Question::Wanted(again.unwrap_or(now + RETRY));
            return false;
        };
        self.question = again.map_or(Question::Answered(asked), Question::Wanted);
        self.asked = Some(asked);
        self.distance = Some(now.duration_since(asked));
        self.inventory = Some(Arc::new(Answer::of(inventory)));
        true
    }

    /// What it said last.
    pub(super) fn inventory(&self) -> Option<Arc<Answer>> {
        self.inventory.clone()
    }

    /// When the question was sent that brought it.
    pub(super) fn asked(&self) -> Option<Instant> {
        self.asked
    }

    /// How long its last answer took.
    pub(super) fn distance(&self) -> Option<Duration> {
        self.distance
    }

    /// Since when this run of it has been known without an answer.
    pub(super) fn unanswered(&self) -> Option<Instant> {
        self.asked.is_none().then_some(self.since)
    }

    /// When it is to be asked again; `None` while it is being asked.
    pub(super) fn due(&self) -> Option<Instant> {
        match self.question {
            Question::Wanted(at) => Some(at),
            Question::Asked { .. } => None,
            Question::Answered(at) => Some(at + STALE),
        }
    }

    /// Whether it is to be asked now.
    pub(super) fn is_due(&self, now: Instant) -> bool {
        self.due().is_some_and(|due| due <= now)
    }
}
