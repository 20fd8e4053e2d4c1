//! wasi:logging: into the log of the host, under the actor's id.

use wasmtime::component::{ComponentType, Lift, Linker};

use super::lines::{LINE_BYTES, clean};
use crate::runtime::{EngineKind, Guest, State};

/// The names it goes by.
const NAMES: [&str; 2] = ["wasi:logging/logging@0.1.0-draft", "wasi:logging/logging"];

#[derive(Debug, Clone, Copy, ComponentType, Lift)]
#[component(enum)]
#[repr(u8)]
#[expect(dead_code, reason = "values come from guests only")]
enum Level {
    #[component(name = "trace")]
    Trace,
    #[component(name = "debug")]
    Debug,
    #[component(name = "info")]
    Info,
    #[component(name = "warn")]
    Warn,
    #[component(name = "error")]
    Error,
    #[component(name = "critical")]
    Critical,
}

/// Defines its interfaces.
pub(crate) fn add_to_linker(linker: &mut Linker<State>, _kind: EngineKind) -> wasmtime::Result<()> {
    for name in NAMES {
        linker.instance(name)?.func_wrap("log", |store, (level, context, message): (Level, String, String)| {
            log(&store.data().scope.guest, level, &context, &message);
            Ok(())
        })?;
    }
    Ok(())
}

fn log(guest: &Guest, level: Level, context: &str, message: &str) {
    let bytes = message.len().min(LINE_BYTES) + context.len().min(LINE_BYTES);
    if !guest.log.admits(&guest.id, bytes) {
        return;
    }
    let (id, context, message) = (&guest.id, clean(context.as_bytes()), clean(message.as_bytes()));
    match level {
        Level::Trace => tracing::trace!(target: "trellis::actor", actor_id = %id, context, "{message}"),
        Level::Debug => tracing::debug!(target: "trellis::actor", actor_id = %id, context, "{message}"),
        Level::Info => tracing::info!(target: "trellis::actor", actor_id = %id, context, "{message}"),
        Level::Warn => tracing::warn!(target: "trellis::actor", actor_id = %id, context, "{message}"),
        Level::Error => tracing::error!(target: "trellis::actor", actor_id = %id, context, "{message}"),
        Level::Critical => {
            tracing::error!(target: "trellis::actor", actor_id = %id, context, critical = true, "{message}")
        }
    }
}
