//! wasi:http 0.2 and 0.3 in both directions.

use std::sync::Arc;

use trellis_lattice::body::Body;
use trellis_lattice::error::CallError;
use trellis_lattice::message::invocation::{Answer, Context};
use wasmtime::component::{InstancePre, Linker};

use crate::actor::Permit;
use crate::runtime::value::Args;
use crate::runtime::{EngineKind, State, Template};

/// Defines its interfaces.
pub(crate) fn add_to_linker(linker: &mut Linker<State>, kind: EngineKind) -> wasmtime::Result<()> {
    let _ = (linker, kind);
    Ok(())
}

/// Serves HTTP requests with instances of one actor.
pub(crate) struct Service {}

impl Service {
    /// The service of a component that exports wasi:http/incoming-handler 0.2 or wasi:http/handler 0.3; `None` for
    /// one that exports neither.
    pub(crate) fn of(pre: &InstancePre<State>, template: Arc<Template>) -> wasmtime::Result<Option<Self>> {
        let _ = (pre, template);
        Ok(None)
    }

    /// Serves one request. The permit is given back when the answer's body is finished or dropped.
    pub(crate) async fn call(
        &self,
        permit: Permit,
        context: Context,
        parts: Box<http::request::Parts>,
        body: Body,
    ) -> Result<Answer<Args>, CallError> {
        let _ = (permit, context, parts, body);
        todo!()
    }
}
