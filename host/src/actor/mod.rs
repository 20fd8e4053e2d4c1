//! A running actor: admission, a fresh instance per call (by wasi:http 0.3 one that served before, if it is well), and the
//! call itself.

use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;
use trellis_lattice::contract::{Interface, Signature};
use trellis_lattice::damper::Damper;
use trellis_lattice::error::{CallError, CallErrorKind};
use trellis_lattice::id::EntityId;
use trellis_lattice::message::invocation::{Answer, Context, Invocation, MAX_DEPTH};
use wasmtime::component::InstancePre;

mod admission;
mod call;

pub(crate) use admission::Permit;

use crate::capability::http::Service;
use crate::capability::keyvalue::Watcher;
use crate::capability::{Allowance, is_builtin_export};
use crate::error::{Error, ErrorKind, Result};
use crate::router::{Outcome, Router};
use crate::runtime::value::Args;
use crate::runtime::{Compiled, EngineKind, Guest, Limits, Runtime, State, Template};
use crate::setup::Setup;
use admission::Room;

/// What wasmtime counts the memory of a component in.
const PAGE_BYTES: u64 = 65_536;

/// What to run.
pub struct Spec {
    /// Its id in the lattice.
    pub id: EntityId,
    /// Its code.
    pub component: Arc<Compiled>,
    /// Its limits.
    pub limits: Limits,
    /// Its configs and secrets.
    pub setup: Setup,
}

/// A running actor. Cheap when idle: it has no instance until it is called.
pub struct Actor {
    guest: Arc<Guest>,
    component: Arc<Compiled>,
    limits: Limits,
    room: Arc<Room>,
    template: Arc<Template>,
    pre: InstancePre<State>,
    /// For HTTP, if it serves that.
    service: Option<Arc<Service>>,
    /// For changes of keys, if it listens to them.
    watcher: Option<Arc<Watcher>>,
}

impl Actor {
    /// Links its imports; no guest code runs yet.
    ///
    /// # Errors
    /// Names every import that cannot be provided, and why; or what it exports, if nothing of it can be called.
    pub fn start(runtime: &Arc<Runtime>, spec: Spec, router: Arc<Router>) -> Result<Arc<Self>> {
        let Spec { id, component, limits, setup } = spec;
        check(&id, &component, &limits)?;
        let pre = runtime.link(&component).map_err(|error| {
            Error::new(error.kind(), format!("actor {id} cannot be started: {error}")).with_source(error)
        })?;
        let guest = Arc::new(Guest {
            id: id.clone(),
            router,
            setup: ArcSwap::from_pointee(setup),
            log: Allowance::default(),
            faults: Damper::default(),
        });
        let template = Arc::new(Template::new(runtime, pre.engine().clone(), Arc::clone(&guest), limits));
        let service = Service::of(&pre, Arc::clone(&template)).map_err(|error| {
            let message = format!("actor {id} exports a wasi:http handler that cannot be called: {error:#}");
            Error::new(ErrorKind::Component, message).with_source(error)
        })?;
        let watcher = Watcher::of(&pre, Arc::clone(&template)).map(Arc::new);
        let room = Room::new(id, &limits);
        let service = service.map(Arc::new);
        Ok(Arc::new(Self { guest, component, limits, room, template, pre, service, watcher }))
    }

    /// Its id.
    pub fn id(&self) -> &EntityId {
        &self.guest.id
    }

    /// What it exports.
    pub fn exports(&self) -> &[(Interface, Option<Signature>)] {
        self.component.exports()
    }

    /// Calls it: waits for room, instantiates, calls, all within the head's deadline. Dropping the future ends the
    /// guest's execution.
    ///
    /// # Errors
    /// `Overloaded` when too many wait, `Deadline`, `Contract` when it exports no such function or one of another
    /// type, `Trap`, and what calls that it makes fail with.
    pub(crate) fn invoke(self: Arc<Self>, mut invocation: Invocation<Args>) -> Outcome<'static> {
        Box::pin(async move {
            let context = &mut invocation.head.context;
            if context.depth > MAX_DEPTH {
                return Err(CallError::denied(format!("calls are nested more than {MAX_DEPTH} deep at {}", self.id())));
            }
            let permit = match self.room.try_enter() {
                Some(permit) => permit?,
                // Boxed, because every call carries the room for this and few take it.
                None => Box::pin(self.room.enter(context.deadline)).await?,
            };
            self.cut_deadline(context);
            let deadline = context.deadline;
            // wasmtime does not let one store with async functions run inside the poll of another.
            let is_apart = self.component.kind() == EngineKind::Concurrent && context.depth > 0;
            let work = self.work(invocation, permit);
            if is_apart { Box::pin(self.run_apart(work, deadline)).await } else { self.run(work, deadline).await }
        })
    }

    /// Runs the call on a task of its own, which ends when the future is dropped.
    async fn run_apart(self: &Arc<Self>, work: Outcome<'static>, deadline: Instant) -> Result<Answer<Args>, CallError> {
        let actor = Arc::clone(self);
        let task = tokio::spawn(async move { actor.run(work, deadline).await });
        AbortOnDropHandle::new(task).await.unwrap_or_else(|error| {
            tracing::error!(actor_id = %self.id(), error = %error, "call ended unexpectedly");
            Err(CallError::trap(format!("{} trapped", self.id())))
        })
    }

    async fn run(&self, mut work: Outcome<'static>, deadline: Instant) -> Result<Answer<Args>, CallError> {
        // A call that never waits costs neither a timer nor a place in a list.
        match futures::poll!(work.as_mut()) {
            Poll::Ready(answer) => answer,
            Poll::Pending => Box::pin(self.run_on(work, deadline)).await,
        }
    }

    async fn run_on(&self, work: Outcome<'static>, deadline: Instant) -> Result<Answer<Args>, CallError> {
        tokio::select! {
            biased;
            answer = work => answer,
            () = tokio::time::sleep_until(deadline) => {
                Err(CallError::deadline(format!("{} did not answer in time", self.id())))
            }
            () = self.room.ended() => {
                let message = format!("{} was stopped during the call", self.id());
                Err(CallError::new(CallErrorKind::UnknownOutcome, message))
            }
        }
    }

    /// What the guest does for a call, boxed as what it is: nobody carries the size of another way.
    fn work(self: &Arc<Self>, invocation: Invocation<Args>, permit: Permit) -> Outcome<'static> {
        let Invocation { head, args, body } = invocation;
        let is_bridged = is_builtin_export(&head.interface);
        match (&self.service, &self.watcher) {
            (_, Some(watcher)) if is_bridged && head.interface.package() == "keyvalue" => {
                let watcher = Arc::clone(watcher);
                Box::pin(async move {
                    let _permit = permit;
                    watcher.call(head, args).await
                })
            }
            (Some(service), _) if is_bridged => {
                let service = Arc::clone(service);
                Box::pin(async move { service.call(permit, head.context, args.into_request()?, body).await })
            }
            _ => Arc::clone(self).call_function(head, args, permit),
        }
    }

    fn cut_deadline(&self, context: &mut Context) {
        context.deadline = context.deadline.min(Instant::now() + self.limits.execution_time);
    }

    /// Changes how many instances may run at once; those that run go on.
    pub fn set_max_instances(&self, max_instances: u32) {
        self.room.set_max_instances(max_instances);
    }

    /// Replaces what it is set up with: the next call sees it.
    pub fn set_up(&self, setup: Setup) {
        self.guest.setup.store(Arc::new(setup));
    }

    /// Waits for those in flight and in the queue after a successor took its place, at most for `limit`; then they are
    /// ended. None of them fails because of the change.
    pub async fn retire(&self, limit: Duration) {
        self.room.retire(limit).await;
    }

    /// Takes no new calls and waits for those in flight, at most for `limit`; then they are ended.
    pub async fn drain(&self, limit: Duration) {
        self.room.drain(limit).await;
    }
}

/// What no call could ever get past.
fn check(id: &EntityId, component: &Compiled, limits: &Limits) -> Result<()> {
    if !component.functions().is_callable() {
        let message = format!(
            "actor {id} exports nothing that can be called: it exports {}; export an interface with functions, or \
             wasi:http/incoming-handler",
            component.functions().names()
        );
        return Err(Error::new(ErrorKind::Component, message));
    }
    let needs = component.component().resources_required().and_then(|needs| needs.max_initial_memory_size);
    match needs.map(|pages| pages.saturating_mul(PAGE_BYTES)) {
        Some(needs) if needs > limits.memory_bytes as u64 => {
            let message = format!(
                "actor {id} needs {needs} bytes of memory to begin with, and its limit is {}: raise the limit",
                limits.memory_bytes
            );
            Err(Error::new(ErrorKind::Component, message))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
