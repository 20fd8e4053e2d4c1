//! Whether actors are ready, by the rules that they were started with: a task an actor asks it over and over, and its
//! host says in the inventory what came of that. What to do about it is for whoever reads that.
//!
//! [`judge`] decides, [`probe`] asks.

mod judge;
mod probe;

use std::sync::Arc;

use serde_json::json;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};
use tokio_util::task::AbortOnDropHandle;
use trellis_lattice::contract::Interface;
use trellis_lattice::message::event::EventName;
use trellis_lattice::message::inventory::{Readiness, ReadinessState};
use trellis_lattice::message::readiness::{HttpProbe, Rule};

use self::judge::Judge;
use crate::actor::Actor;
use crate::announce::Announcer;
use crate::capability::is_builtin_export;
use crate::error::{Error, ErrorKind, Result};

/// Follows one actor. Dropping it ends its task.
#[derive(Debug)]
pub(crate) struct Follower {
    rule: Rule,
    standing: watch::Receiver<Readiness>,
    _task: AbortOnDropHandle<()>,
}

impl Follower {
    /// Begins to follow `actor`, which was started just now. Changes are told by event.
    ///
    /// # Errors
    /// `Config` when the rule asks for HTTP and the actor does not serve it.
    pub(crate) fn start(actor: Arc<Actor>, rule: Rule, announcer: Announcer) -> Result<Self> {
        if let Some(probe) = &rule.http {
            require_http(&actor, probe)?;
        }
        let judge = Judge::new(rule.clone(), Instant::now());
        let (show, standing) = watch::channel(judge.standing(Instant::now()));
        let task = AbortOnDropHandle::new(tokio::spawn(follow(Task { actor, judge, show, announcer })));
        Ok(Self { rule, standing, _task: task })
    }

    /// The rule that it goes by.
    pub(crate) fn rule(&self) -> &Rule {
        &self.rule
    }

    /// How the actor stands.
    pub(crate) fn now(&self) -> Readiness {
        self.standing.borrow().clone()
    }
}

fn require_http(actor: &Actor, probe: &HttpProbe) -> Result<()> {
    let serves = |(interface, _): &(Interface, _)| is_builtin_export(interface);
    if actor.exports().iter().any(serves) {
        return Ok(());
    }
    let message = format!(
        "{} is to be ready when it answers GET {}, and it exports no wasi:http/incoming-handler: remove `http` of its \
         readiness",
        actor.id(),
        probe.path
    );
    Err(Error::new(ErrorKind::Config, message))
}

struct Task {
    actor: Arc<Actor>,
    judge: Judge,
    show: watch::Sender<Readiness>,
    announcer: Announcer,
}

async fn follow(mut task: Task) {
    loop {
        if let Some(probe) = task.judge.due(Instant::now()).cloned()
            && let Some(answer) = probe::ask(&task.actor, &probe).await
        {
            task.judge.answered(answer, Instant::now());
        }
        task.tell();
        let Some(next) = task.judge.next(Instant::now()) else { return };
        sleep_until(next).await;
    }
}

impl Task {
    /// Shows how the actor stands, and tells it if it is another state than before.
    fn tell(&self) {
        let now = self.judge.standing(Instant::now());
        let mut is_other = false;
        self.show.send_if_modified(|shown| {
            is_other = shown.state != now.state;
            let is_news = *shown != now;
            shown.clone_from(&now);
            is_news
        });
        if is_other {
            log(&self.actor, &now);
            let data = json!({"component_id": self.actor.id().as_str(), "state": now.state, "reason": now.reason});
            self.announcer.emit(EventName::ComponentReadinessChanged, data);
        }
    }
}

fn log(actor: &Actor, now: &Readiness) {
    let reason = now.reason.as_deref().unwrap_or_default();
    match now.state {
        ReadinessState::Failing => tracing::warn!(actor_id = %actor.id(), error = reason, "actor is not ready"),
        _ => tracing::info!(actor_id = %actor.id(), state = ?now.state, "readiness of actor changed"),
    }
}

#[cfg(test)]
mod tests;
