//! The WebAssembly side: engines, compiled code, limits, values, and the linking of custom interfaces.
//!
//! `wasmtime` is known here, in `capability/` and in `actor/`, nowhere else.

pub mod value;

mod engine;
mod fault;
mod limits;
mod linker;
mod polyfill;
mod precompiled;
mod store;

pub use engine::{Compiled, Runtime, Settings};
pub(crate) use fault::call_error;
pub use limits::Limits;
pub(crate) use linker::EngineKind;
pub(crate) use store::{Guest, Scope, State, Template};
