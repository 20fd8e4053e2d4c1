//! wasmcloud:bus.

use wasmtime::component::Linker;

use crate::runtime::{EngineKind, State};

/// Defines its interfaces.
pub(crate) fn add_to_linker(linker: &mut Linker<State>, kind: EngineKind) -> wasmtime::Result<()> {
    let _ = (linker, kind);
    Ok(())
}
