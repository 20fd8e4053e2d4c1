//! One component calls another in a loop: the host forwards dynamic values into a fresh instance of the other.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context as _, anyhow};
use wasmtime::Engine;
use wasmtime::component::types::ComponentItem;
use wasmtime::component::{Component, ComponentExportIndex, InstancePre, Linker, Val};

use crate::engine::{self, Kind, State};

/// How much to measure.
#[derive(Clone, Copy)]
pub(crate) struct Plan {
    /// Calls per batch.
    pub(crate) count: u32,
    /// Batches.
    pub(crate) batches: u32,
    /// The engine: async functions need the concurrent one.
    pub(crate) kind: Kind,
}

/// Nanoseconds per call of each batch, after one that does not count.
pub(crate) async fn measure(caller: &Path, callee: &Path, function: &str, plan: Plan) -> anyhow::Result<Vec<u64>> {
    let engine = engine::engine(plan.kind)?;
    let callee = engine::load(&engine, callee)?;
    let callee_pre = engine::linker(&engine, plan.kind)?.instantiate_pre(&callee)?;
    let caller = engine::load(&engine, caller)?;
    let mut linker = engine::linker(&engine, plan.kind)?;
    forward_imports(&mut linker, &caller, &callee, &callee_pre)?;
    let mut store = engine::store(&engine);
    let instance = linker.instantiate_async(&mut store, &caller).await?;
    let run = find_export(&engine, &caller, function)?;
    let run = instance.get_typed_func::<(u32,), (u32,)>(&mut store, run)?;
    let mut nanoseconds = Vec::new();
    for _ in 0..=plan.batches {
        let start = Instant::now();
        match plan.kind {
            Kind::Plain => run.call_async(&mut store, (plan.count,)).await?,
            Kind::Concurrent => {
                store.run_concurrent(async |accessor| run.call_concurrent(accessor, (plan.count,)).await).await??
            }
        };
        nanoseconds.push(u64::try_from(start.elapsed().as_nanos())? / u64::from(plan.count));
    }
    nanoseconds.remove(0);
    Ok(nanoseconds)
}

/// A function of the component that is called.
struct Target {
    engine: Engine,
    pre: InstancePre<State>,
    index: ComponentExportIndex,
}

impl Target {
    async fn call(&self, params: &[Val], results: &mut [Val]) -> wasmtime::Result<()> {
        let mut store = engine::store(&self.engine);
        let instance = self.pre.instantiate_async(&mut store).await?;
        let function = instance.get_func(&mut store, self.index).expect("the index is of this component");
        function.call_async(&mut store, params, results).await
    }

    /// On a task of its own: `run_concurrent` must not be entered while another store's is being polled.
    async fn call_concurrent(self: Arc<Self>, params: &[Val], results: &mut [Val]) -> wasmtime::Result<()> {
        let params = params.to_vec();
        let mut values = results.to_vec();
        let call = tokio::spawn(async move {
            let mut store = engine::store(&self.engine);
            let instance = self.pre.instantiate_async(&mut store).await?;
            let function = instance.get_func(&mut store, self.index).expect("the index is of this component");
            store
                .run_concurrent(async |accessor| function.call_concurrent(accessor, &params, &mut values).await)
                .await??;
            wasmtime::error::Ok(values)
        });
        results.clone_from_slice(&call.await??);
        Ok(())
    }
}

fn find_export(engine: &Engine, component: &Component, function: &str) -> anyhow::Result<ComponentExportIndex> {
    for (interface, item) in component.component_type().exports(engine) {
        if let ComponentItem::ComponentInstance(_) = item.ty {
            let (_, instance) = component.get_export(None, interface).context("it was listed")?;
            if let Some((_, index)) = component.get_export(Some(&instance), function) {
                return Ok(index);
            }
        }
    }
    Err(anyhow!("no exported interface has a function {function:?}"))
}

fn forward_imports(
    linker: &mut Linker<State>,
    caller: &Component,
    callee: &Component,
    pre: &InstancePre<State>,
) -> anyhow::Result<()> {
    let engine = caller.engine().clone();
    for (interface, item) in caller.component_type().imports(&engine) {
        let ComponentItem::ComponentInstance(functions) = item.ty else { continue };
        let Some((_, export)) = callee.get_export(None, interface) else { continue };
        let mut instance = linker.instance(interface)?;
        for (name, item) in functions.exports(&engine) {
            let ComponentItem::ComponentFunc(ty) = item.ty else { continue };
            let (_, index) =
                callee.get_export(Some(&export), name).with_context(|| format!("{interface} has no {name}"))?;
            let target = Arc::new(Target { engine: engine.clone(), pre: pre.clone(), index });
            if ty.async_() {
                instance.func_new_concurrent(name, move |_, _, params, results| {
                    let target = Arc::clone(&target);
                    Box::pin(async move { target.call_concurrent(params, results).await })
                })?;
            } else {
                instance.func_new_async(name, move |_, _, params, results| {
                    let target = Arc::clone(&target);
                    Box::new(async move { target.call(params, results).await })
                })?;
            }
        }
    }
    Ok(())
}
