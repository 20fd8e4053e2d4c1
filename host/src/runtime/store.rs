//! What a store holds: the state of one instance, and what all instances of an actor share.

use std::collections::HashMap;
use std::sync::Arc;

use trellis_lattice::contract::Interface;
use trellis_lattice::id::{EntityId, LinkName};
use trellis_lattice::message::command::StringMap;
use trellis_lattice::message::invocation::Context;
use wasmtime::component::ResourceTable;
use wasmtime_wasi::WasiCtx;
use wasmtime_wasi_http::WasiHttpCtx;

use crate::router::Router;

/// What all instances of an actor share.
pub(crate) struct Guest {
    /// The actor's id: the source of its calls.
    pub(crate) id: EntityId,
    /// Where its calls go.
    pub(crate) router: Arc<Router>,
    /// Its config, as it is now.
    pub(crate) config: arc_swap::ArcSwap<StringMap>,
}

/// The state of one instance: what host functions see.
pub(crate) struct State {
    /// The actor.
    pub(crate) guest: Arc<Guest>,
    /// The call that is being served.
    pub(crate) context: Context,
    /// Links chosen by `wasmcloud:bus/lattice.set-link-name`, by interface without version.
    pub(crate) link_names: HashMap<String, LinkName>,
    /// WASI.
    pub(crate) wasi: WasiCtx,
    /// wasi:http.
    pub(crate) http: WasiHttpCtx,
    /// The hooks of wasi:http: outgoing requests go to the router.
    pub(crate) hooks: crate::capability::http::Hooks,
    /// Resources.
    pub(crate) table: ResourceTable,
}

impl State {
    /// The link over which a call to `interface` goes now.
    pub(crate) fn link_for(&self, interface: &Interface) -> LinkName {
        self.link_names.get(interface.without_version()).cloned().unwrap_or_default()
    }
}
