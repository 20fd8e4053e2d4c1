//! What a store holds: the state of one instance, what all instances of an actor share, and how stores are made.

use std::collections::HashMap;
use std::sync::Arc;

use tokio::time::Instant;
use trellis_lattice::contract::Interface;
use trellis_lattice::damper::Damper;
use trellis_lattice::id::{EntityId, LinkName};
use trellis_lattice::message::invocation::Context;
use wasmtime::component::ResourceTable;
use wasmtime::{Engine, Store, StoreContextMut, StoreLimits, StoreLimitsBuilder, UpdateDeadline};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};
use wasmtime_wasi_http::WasiHttpCtx;
use wasmtime_wasi_io::IoView;

use super::engine::Runtime;
use super::fault::OutOfTime;
use super::limits::{self, Limits};
use super::ticker::Awake;
use crate::capability::Allowance;
use crate::capability::http::Via;
use crate::capability::output::{self, Channel};
use crate::router::Router;
use crate::setup::Setup;

/// What all instances of an actor share.
pub(crate) struct Guest {
    /// The actor's id: the source of its calls.
    pub(crate) id: EntityId,
    /// Where its calls go.
    pub(crate) router: Arc<Router>,
    /// Its configs and secrets.
    pub(crate) setup: arc_swap::ArcSwap<Setup>,
    /// What it may still write to the log.
    pub(crate) log: Allowance,
    /// Which of its traps are logged.
    pub(crate) faults: Damper,
}

/// On whose behalf an instance runs: its actor, the call that it serves, and the links that this call chose.
///
/// The hooks of wasi:http are implemented on it (`capability/http`), so that outgoing requests see the same.
pub(crate) struct Scope {
    /// The actor.
    pub(crate) guest: Arc<Guest>,
    /// The call that is being served; its deadline is already cut to the actor's own limit.
    pub(crate) context: Context,
    /// Links chosen by `wasmcloud:bus/lattice.set-link-name`, by interface without version.
    pub(crate) link_names: HashMap<String, LinkName>,
    /// Through which interface it last asked for a request to be sent.
    pub(crate) via: Via,
}

impl Scope {
    /// The link over which a call to `interface` goes now.
    pub(crate) fn link_for(&self, interface: &Interface) -> LinkName {
        self.link_names.get(interface.without_version()).cloned().unwrap_or_default()
    }
}

/// The state of one instance: what host functions see.
pub(crate) struct State {
    /// On whose behalf it runs.
    pub(crate) scope: Scope,
    /// wasi:http.
    pub(crate) http: WasiHttpCtx,
    /// Resources.
    pub(crate) table: ResourceTable,
    /// Made when the guest first asks for it: most calls between actors never do.
    wasi: Option<Box<WasiCtx>>,
    limits: StoreLimits,
    _awake: Awake,
}

impl WasiView for State {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        let guest = &self.scope.guest;
        let ctx = self.wasi.get_or_insert_with(|| Box::new(wasi_of(guest)));
        WasiCtxView { ctx, table: &mut self.table }
    }
}

impl IoView for State {
    fn table(&mut self) -> &mut ResourceTable {
        &mut self.table
    }
}

/// Nothing is inherited: no environment, arguments, files, sockets or stdin. Output goes to the log.
fn wasi_of(guest: &Arc<Guest>) -> WasiCtx {
    WasiCtx::builder()
        .stdout(output::stream(guest, Channel::Stdout))
        .stderr(output::stream(guest, Channel::Stderr))
        .allow_tcp(false)
        .allow_udp(false)
        .build()
}

/// How the stores of an actor are made.
pub(crate) struct Template {
    engine: Engine,
    /// Whose ticker interrupts guest code: an actor may outlive everybody else who holds it.
    runtime: Arc<Runtime>,
    guest: Arc<Guest>,
    limits: Limits,
}

impl Template {
    /// Stores on `engine`, which is one of `runtime`, for instances of `guest`.
    pub(crate) fn new(runtime: &Arc<Runtime>, engine: Engine, guest: Arc<Guest>, limits: Limits) -> Self {
        Self { engine, runtime: Arc::clone(runtime), guest, limits }
    }

    /// A store for one instance, which serves the call that `context` belongs to. Guest code in it yields with each
    /// tick of the epoch and traps after the context's deadline; host code needs a timer of its own around it.
    pub(crate) fn store(&self, context: Context) -> Store<State> {
        let scope = Scope { guest: Arc::clone(&self.guest), context, link_names: HashMap::new(), via: Via::default() };
        let mut http = WasiHttpCtx::new();
        http.set_field_size_limit(limits::HTTP_FIELDS_BYTES);
        let mut table = ResourceTable::new();
        table.set_max_capacity(limits::RESOURCES);
        let limits = StoreLimitsBuilder::new()
            .memory_size(self.limits.memory_bytes)
            .table_elements(limits::TABLE_ELEMENTS)
            .instances(limits::CORE_INSTANCES)
            .tables(limits::TABLES)
            .memories(limits::MEMORIES)
            .build();
        let state = State { scope, http, table, wasi: None, limits, _awake: self.runtime.awake() };
        let mut store = Store::new(&self.engine, state);
        store.limiter(|state| &mut state.limits);
        store.set_hostcall_fuel(limits::HOSTCALL_BYTES);
        store.set_epoch_deadline(1);
        store.epoch_deadline_callback(go_on_or_stop);
        store
    }

    /// Makes `store`, whose instance has served its call, serve the one that `context` belongs to.
    pub(crate) fn renew(&self, store: &mut Store<State>, context: Context) {
        store.data_mut().scope =
            Scope { guest: Arc::clone(&self.guest), context, link_names: HashMap::new(), via: Via::default() };
        store.set_epoch_deadline(1);
    }

    /// The actor.
    pub(crate) fn guest(&self) -> &Arc<Guest> {
        &self.guest
    }
}

fn go_on_or_stop(store: StoreContextMut<'_, State>) -> wasmtime::Result<UpdateDeadline> {
    if Instant::now() >= store.data().scope.context.deadline {
        return Err(OutOfTime.into());
    }
    Ok(UpdateDeadline::Yield(1))
}
