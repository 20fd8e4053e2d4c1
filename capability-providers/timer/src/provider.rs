//! The provider: one task for each of its links.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use trellis_interfaces::timer::HANDLER;
use trellis_provider_sdk::{
    ActiveLink, Answer, Args, CallError, Damper, Description, EntityId, Environment, Factory, Health, Interface,
    Invocation, LinkError, LinkName, Provider, Role, StringMap,
};
use uuid::Uuid;

use crate::clock::{self, Clock};
use crate::config::LinkConfig;
use crate::runner::Runner;

/// The name after `builtin:`.
pub const NAME: &str = "timer";

/// Makes timers.
pub fn factory() -> Factory {
    factory_with(clock::system())
}

/// Makes timers that go by `clock`.
pub fn factory_with(clock: Clock) -> Factory {
    Arc::new(move |environment| Ok(Arc::new(Timer::start(environment, Arc::clone(&clock)))))
}

/// A link whose task runs.
struct Running {
    config: StringMap,
    stop: CancellationToken,
    is_cut_off: Arc<AtomicBool>,
}

/// Calls actors when their time has come.
pub struct Timer {
    environment: Environment,
    clock: Clock,
    /// This instance, in this run.
    me: String,
    /// A lock, held for a few instructions: links come one at a time, health is asked for meanwhile.
    links: Mutex<HashMap<(EntityId, LinkName), Running>>,
    tasks: TaskTracker,
    /// Breaks off what drain did not wait for.
    end: CancellationToken,
}

impl Timer {
    /// Does nothing until the first link comes.
    pub fn start(environment: Environment, clock: Clock) -> Self {
        let (tasks, end) = (TaskTracker::new(), CancellationToken::new());
        Self { environment, clock, me: Uuid::new_v4().to_string(), links: Mutex::default(), tasks, end }
    }

    fn run(&self, link: &ActiveLink, config: LinkConfig) -> Running {
        let (stop, is_cut_off) = (CancellationToken::new(), Arc::new(AtomicBool::new(false)));
        let runner = Runner {
            id: self.environment.id.clone(),
            target: link.link.target.clone(),
            link: link.link.name.clone(),
            config,
            caller: Arc::clone(&self.environment.caller),
            records: Arc::clone(&self.environment.records),
            clock: Arc::clone(&self.clock),
            me: self.me.clone(),
            stop: stop.clone(),
            is_cut_off: Arc::clone(&is_cut_off),
            failures: Damper::default(),
        };
        let end = self.end.clone();
        self.tasks.spawn(async move { end.run_until_cancelled(runner.run()).await });
        Running { config: link.config.clone(), stop, is_cut_off }
    }

    /// Replaces the task of a link; the one before begins no new firing.
    fn set(&self, link: &ActiveLink, running: Option<Running>) {
        let key = (link.link.target.clone(), link.link.name.clone());
        let mut links = self.links.lock().unwrap_or_else(PoisonError::into_inner);
        let before = match running {
            Some(running) => links.insert(key, running),
            None => links.remove(&key),
        };
        if let Some(before) = before {
            before.stop.cancel();
        }
    }

    fn is_known(&self, link: &ActiveLink) -> bool {
        let key = (link.link.target.clone(), link.link.name.clone());
        let links = self.links.lock().unwrap_or_else(PoisonError::into_inner);
        links.get(&key).is_some_and(|running| running.config == link.config)
    }
}

#[async_trait]
impl Provider for Timer {
    fn description(&self) -> Description {
        let calls = vec![Interface::parse(HANDLER).expect("a constant of ours")];
        Description { name: "timer".into(), serves: Vec::new(), calls }
    }

    async fn check(&self, link: &ActiveLink) -> Result<(), LinkError> {
        LinkConfig::of(link, (self.clock)()).map(drop)
    }

    async fn link_up(&self, link: &ActiveLink) -> Result<(), LinkError> {
        if link.role != Role::Source {
            self.set(link, None);
            return Err(LinkError::Unavailable("a timer is the source of its links, not the target".to_owned()));
        }
        if self.is_known(link) {
            return Ok(());
        }
        match LinkConfig::of(link, (self.clock)()) {
            Ok(config) => {
                // The old task is told to stop before the new one looks.
                self.set(link, None);
                self.set(link, Some(self.run(link, config)));
                Ok(())
            }
            Err(error) => {
                self.set(link, None);
                Err(error)
            }
        }
    }

    async fn link_down(&self, link: &ActiveLink) {
        self.set(link, None);
    }

    async fn call(&self, invocation: Invocation<Args>) -> Result<Answer<Args>, CallError> {
        Err(CallError::contract(format!("a timer serves no calls, and {} is one", invocation.head.interface)))
    }

    async fn health(&self) -> Health {
        let links = self.links.lock().unwrap_or_else(PoisonError::into_inner);
        if links.values().any(|running| running.is_cut_off.load(Ordering::Relaxed)) {
            return Health::Unhealthy("the lattice's store does not answer, so that nothing fires".to_owned());
        }
        Health::Healthy
    }

    async fn drain(&self, limit: Duration) {
        let links = std::mem::take(&mut *self.links.lock().unwrap_or_else(PoisonError::into_inner));
        links.values().for_each(|running| running.stop.cancel());
        self.tasks.close();
        let _ = tokio::time::timeout(limit, self.tasks.wait()).await;
        self.end.cancel();
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        self.end.cancel();
    }
}
