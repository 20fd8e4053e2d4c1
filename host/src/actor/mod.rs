//! A running actor: admission, a fresh instance per call (or a reused one for WASI 0.3), and the call itself.

mod admission;

use std::sync::Arc;
use std::time::Duration;

use trellis_lattice::contract::{Interface, Signature};
use trellis_lattice::error::CallError;
use trellis_lattice::id::EntityId;
use trellis_lattice::message::command::StringMap;
use trellis_lattice::message::invocation::{Answer, Invocation};

pub(crate) use admission::Permit;

use crate::error::Result;
use crate::router::Router;
use crate::runtime::value::Args;
use crate::runtime::{Compiled, Limits, Runtime};

/// What to run.
pub struct Spec {
    /// Its id in the lattice.
    pub id: EntityId,
    /// Its code.
    pub component: Arc<Compiled>,
    /// Its limits.
    pub limits: Limits,
    /// Its configs merged.
    pub config: StringMap,
}

/// A running actor. Cheap when idle: it has no instance until it is called.
pub struct Actor {}

impl Actor {
    /// Links its imports; no guest code runs yet.
    ///
    /// # Errors
    /// Names every import that cannot be provided, and why.
    pub fn start(runtime: &Arc<Runtime>, spec: Spec, router: Arc<Router>) -> Result<Arc<Self>> {
        let _ = (runtime, spec, router);
        todo!()
    }

    /// Its id.
    pub fn id(&self) -> &EntityId {
        todo!()
    }

    /// What it exports.
    pub fn exports(&self) -> &[(Interface, Option<Signature>)] {
        todo!()
    }

    /// Calls it: waits for room, instantiates, calls, all within the head's deadline. Dropping the future ends the
    /// guest's execution.
    pub async fn invoke(&self, invocation: Invocation<Args>) -> Result<Answer<Args>, CallError> {
        let _ = invocation;
        todo!()
    }

    /// Changes how many instances may run at once; those that run go on.
    pub fn set_max_instances(&self, max_instances: u32) {
        let _ = max_instances;
        todo!()
    }

    /// Replaces its config: the next call sees it.
    pub fn set_config(&self, config: StringMap) {
        let _ = config;
        todo!()
    }

    /// Takes no new calls and waits for those in flight, at most for `limit`; then they are ended.
    pub async fn drain(&self, limit: Duration) {
        let _ = limit;
        todo!()
    }
}
