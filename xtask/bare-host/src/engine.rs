//! Engines with the settings of Trellis's host, and a store's state with WASI and nothing else.

use std::path::Path;

use anyhow::Context as _;
use http_body_util::BodyExt as _;
use wasmtime::component::{Component, Linker, ResourceTable};
use wasmtime::{Config, Enabled, Engine, InstanceAllocationStrategy, PoolingAllocationConfig, Store};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};
use wasmtime_wasi_http::{Error, RequestOptions, WasiBody, WasiHttpCtx, WasiHttpCtxView, WasiHttpHooks, WasiHttpView};

/// Which of the two engines.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Without component-model async.
    Plain,
    /// With it.
    Concurrent,
}

/// An engine of `kind` with keep-resident pooling and epochs that never come.
pub(crate) fn engine(kind: Kind) -> anyhow::Result<Engine> {
    let mut pool = PoolingAllocationConfig::default();
    pool.total_component_instances(2_000)
        .total_core_instances(8_000)
        .total_memories(4_000)
        .total_tables(4_000)
        .total_stacks(2_000)
        .max_memory_size(64 << 20)
        .linear_memory_keep_resident(256 << 10)
        .table_keep_resident(16 << 10)
        .async_stack_keep_resident(64 << 10)
        .pagemap_scan(Enabled::Auto);
    let mut config = Config::new();
    config
        .allocation_strategy(InstanceAllocationStrategy::Pooling(pool))
        .epoch_interruption(true)
        .wasm_component_model_async(kind == Kind::Concurrent)
        .concurrency_support(kind == Kind::Concurrent);
    Ok(Engine::new(&config)?)
}

/// Compiles the component in the file `path`, binary or text.
pub(crate) fn load(engine: &Engine, path: &Path) -> anyhow::Result<Component> {
    let bytes = wat::parse_file(path).with_context(|| format!("reading {}", path.display()))?;
    Ok(Component::new(engine, bytes)?)
}

/// A linker with WASI and wasi:http.
pub(crate) fn linker(engine: &Engine, kind: Kind) -> anyhow::Result<Linker<State>> {
    let mut linker = Linker::new(engine);
    wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
    wasmtime_wasi_http::p2::add_only_http_to_linker_async(&mut linker)?;
    if kind == Kind::Concurrent {
        wasmtime_wasi::p3::add_to_linker(&mut linker)?;
        wasmtime_wasi_http::p3::add_to_linker(&mut linker)?;
    }
    Ok(linker)
}

/// A fresh store.
pub(crate) fn store(engine: &Engine) -> Store<State> {
    let mut store = Store::new(engine, State::default());
    store.set_epoch_deadline(u64::MAX / 2);
    store
}

/// What a store holds.
#[derive(Default)]
pub(crate) struct State {
    wasi: WasiCtx,
    http: WasiHttpCtx,
    hooks: Hooks,
    table: ResourceTable,
}

impl WasiView for State {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

impl WasiHttpView for State {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        WasiHttpCtxView { hooks: &mut self.hooks, table: &mut self.table, ctx: &mut self.http }
    }
}

#[derive(Default)]
struct Hooks;

type Sent = Box<dyn Future<Output = Result<(), Error>> + Send>;
type Sending = Box<dyn Future<Output = Result<(http::Response<WasiBody>, Sent), Error>> + Send>;

impl WasiHttpHooks for Hooks {
    fn send_request(&mut self, request: http::Request<WasiBody>, _: Option<RequestOptions>, sent: Sent) -> Sending {
        // A reference host has no way out; the answer only has to be of the right type.
        drop((request.into_body(), sent));
        let response = http::Response::new(http_body_util::Empty::new().map_err(|never| match never {}).boxed_unsync());
        Box::new(async { Ok((response, Box::new(async { Ok(()) }) as Sent)) })
    }
}
