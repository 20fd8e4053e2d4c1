//! The engine profile: which proposals, how guests are interrupted, and pools sized from what the machine allows.

use wasmtime::{
    Config, Enabled, Engine, InstanceAllocationStrategy, PoolingAllocationConfig, RegallocAlgorithm, Strategy,
    WasmFeatures,
};

use super::limits;
use super::linker::EngineKind;
use crate::error::{Error, ErrorKind, Result};

/// Fewer instances than this are no pool worth having.
const MIN_INSTANCES: u32 = 16;
/// Mappings that a live instance needs, with its part of the other engine's stack pool.
const MAPPINGS_PER_INSTANCE: u64 = 12;
/// Address space of one linear memory: its reservation of 4 GiB, which saves all bounds checks, and its guard.
const MEMORY_SLOT_BYTES: u64 = (4 << 30) + (32 << 20);
/// Linear memories that instances have, at most, on average.
const MEMORIES_PER_INSTANCE: u32 = 2;
/// What one engine may reserve of the 128 TiB that a process has.
const ADDRESS_SPACE_BYTES: u64 = 40 << 40;

/// WebAssembly 3 without gc, exceptions, threads, memory64 and stack switching; the component model, with async on
/// the engine for it.
pub(super) fn features(kind: EngineKind) -> WasmFeatures {
    let core = WasmFeatures::MUTABLE_GLOBAL
        | WasmFeatures::SATURATING_FLOAT_TO_INT
        | WasmFeatures::SIGN_EXTENSION
        | WasmFeatures::REFERENCE_TYPES
        | WasmFeatures::CALL_INDIRECT_OVERLONG
        | WasmFeatures::MULTI_VALUE
        | WasmFeatures::BULK_MEMORY
        | WasmFeatures::BULK_MEMORY_OPT
        | WasmFeatures::SIMD
        | WasmFeatures::RELAXED_SIMD
        | WasmFeatures::TAIL_CALL
        | WasmFeatures::FLOATS
        | WasmFeatures::MULTI_MEMORY
        | WasmFeatures::EXTENDED_CONST
        | WasmFeatures::COMPONENT_MODEL;
    match kind {
        EngineKind::Plain => core,
        EngineKind::Concurrent => core | WasmFeatures::CM_ASYNC,
    }
}

/// An engine of `kind` with room for `instances`, or for as many as the machine allows.
///
/// # Errors
/// `Unavailable` when not even a few fit, saying what to change.
pub(super) fn engine(kind: EngineKind, instances: u32) -> Result<Engine> {
    let mut instances = fitting(instances);
    loop {
        let error = match Engine::new(&config(kind, instances)) {
            Ok(engine) => return Ok(engine),
            Err(error) => error,
        };
        if instances <= MIN_INSTANCES {
            let message =
                format!("no room for a pool of {instances} instances: raise `ulimit -v` and vm.max_map_count");
            return Err(Error::new(ErrorKind::Unavailable, message).with_source(error));
        }
        instances = (instances / 2).max(MIN_INSTANCES);
        tracing::warn!(error = %error, instances, "pool of instances was made smaller");
    }
}

/// As many of `instances` as there are mappings and addresses for.
fn fitting(instances: u32) -> u32 {
    let mappings = max_map_count() / MAPPINGS_PER_INSTANCE;
    let addresses = ADDRESS_SPACE_BYTES / (MEMORY_SLOT_BYTES * u64::from(MEMORIES_PER_INSTANCE));
    let most = u32::try_from(mappings.min(addresses)).unwrap_or(u32::MAX).max(MIN_INSTANCES);
    if instances > most {
        tracing::warn!(wanted = instances, instances = most, "vm.max_map_count or address space bounds the pool");
    }
    instances.clamp(MIN_INSTANCES, most)
}

/// The kernel's bound on mappings of a process, or its default where it cannot be read.
fn max_map_count() -> u64 {
    let text = std::fs::read_to_string("/proc/sys/vm/max_map_count");
    text.ok().and_then(|text| text.trim().parse().ok()).unwrap_or(65_530)
}

fn config(kind: EngineKind, instances: u32) -> Config {
    let mut config = Config::new();
    config
        .strategy(Strategy::Cranelift)
        .cranelift_regalloc_algorithm(RegallocAlgorithm::Backtracking)
        .wasm_features(WasmFeatures::all(), false)
        .wasm_features(features(kind), true)
        .relaxed_simd_deterministic(true)
        .concurrency_support(kind == EngineKind::Concurrent)
        .epoch_interruption(true)
        .memory_reservation(4 << 30)
        .memory_guard_size(32 << 20)
        .allocation_strategy(InstanceAllocationStrategy::Pooling(pool(kind, instances)));
    config
}

/// What is dirty of a memory is set back in place, up to `linear_memory_keep_resident`. From Linux 6.7 on the kernel says
/// which pages those are (PAGEMAP_SCAN); before it, wasmtime takes the lowest for them, which of a Rust guest are the
/// unused end of its stack: its other pages are unmapped then, and faulted in by each call.
fn pool(kind: EngineKind, instances: u32) -> PoolingAllocationConfig {
    let stacks = match kind {
        EngineKind::Plain => instances,
        EngineKind::Concurrent => instances.saturating_mul(2),
    };
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(instances)
        .total_core_instances(instances.saturating_mul(16))
        .total_memories(instances.saturating_mul(MEMORIES_PER_INSTANCE))
        .total_tables(instances.saturating_mul(4))
        .total_stacks(stacks)
        .table_elements(limits::TABLE_ELEMENTS)
        .max_memories_per_module(8)
        .max_tables_per_module(16)
        .max_core_instances_per_component(64)
        .linear_memory_keep_resident(256 << 10)
        .table_keep_resident(16 << 10)
        .async_stack_keep_resident(64 << 10)
        .max_unused_warm_slots(100)
        .pagemap_scan(Enabled::Auto);
    pool
}

#[cfg(test)]
mod tests {
    use super::{EngineKind, engine, fitting};

    #[test]
    fn both_engines_can_be_built() {
        for kind in [EngineKind::Plain, EngineKind::Concurrent] {
            engine(kind, 16).expect("builds");
        }
    }

    #[test]
    fn a_pool_fits_the_machine() {
        assert_eq!(fitting(0), 16);
        assert_eq!(fitting(100), 100);
        assert!(fitting(u32::MAX) < 10_000);
    }
}
