//! One component calls another in a loop: the host forwards dynamic values into a fresh instance of the other.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context as _, anyhow};
use wasmtime::Engine;
use wasmtime::component::types::ComponentItem;
use wasmtime::component::{Component, ComponentExportIndex, InstancePre, Linker};

use crate::engine::{self, Kind, State};

/// How much to measure.
#[derive(Clone, Copy)]
pub(crate) struct Plan {
    /// Calls per batch.
    pub(crate) count: u32,
    /// Batches.
    pub(crate) batches: u32,
}

/// Nanoseconds per call of each batch, after one that does not count.
pub(crate) async fn measure(caller: &Path, callee: &Path, function: &str, plan: Plan) -> anyhow::Result<Vec<u64>> {
    let engine = engine::engine(Kind::Plain)?;
    let callee = engine::load(&engine, callee)?;
    let callee_pre = engine::linker(&engine, Kind::Plain)?.instantiate_pre(&callee)?;
    let caller = engine::load(&engine, caller)?;
    let mut linker = engine::linker(&engine, Kind::Plain)?;
    forward_imports(&mut linker, &caller, &callee, &callee_pre)?;
    let mut store = engine::store(&engine);
    let instance = linker.instantiate_async(&mut store, &caller).await?;
    let run = find_export(&engine, &caller, function)?;
    let run = instance.get_typed_func::<(u32,), (u32,)>(&mut store, run)?;
    let mut nanoseconds = Vec::new();
    for _ in 0..=plan.batches {
        let start = Instant::now();
        run.call_async(&mut store, (plan.count,)).await?;
        nanoseconds.push(u64::try_from(start.elapsed().as_nanos())? / u64::from(plan.count));
    }
    nanoseconds.remove(0);
    Ok(nanoseconds)
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
            let ComponentItem::ComponentFunc(_) = item.ty else { continue };
            let (_, index) =
                callee.get_export(Some(&export), name).with_context(|| format!("{interface} has no {name}"))?;
            let target = Arc::new((engine.clone(), pre.clone(), index));
            instance.func_new_async(name, move |_, _, params, results| {
                let target = Arc::clone(&target);
                Box::new(async move {
                    let (engine, pre, index) = &*target;
                    let mut store = engine::store(engine);
                    let instance = pre.instantiate_async(&mut store).await?;
                    let function = instance.get_func(&mut store, index).expect("the index is of this component");
                    function.call_async(&mut store, params, results).await
                })
            })?;
        }
    }
    Ok(())
}
