//! The WebAssembly side: engines, compiled code, limits, values, and the linking of custom interfaces.
//!
//! `wasmtime` is known here, in `capability/` and in `actor/`, nowhere else.

pub mod value;

mod check;
mod compiled;
pub(crate) mod declared;
mod engine;
mod eviction;
mod exports;
mod fault;
mod limits;
mod linker;
mod polyfill;
mod pool;
mod precompiled;
mod shape;
mod store;
mod ticker;

pub use compiled::Compiled;
pub use engine::{Runtime, Settings};
pub(crate) use exports::{Function, Typed, is_compatible};
pub(crate) use fault::call_error;
pub(crate) use limits::HTTP_FIELDS;
pub use limits::Limits;
pub(crate) use linker::EngineKind;
pub(crate) use store::{Guest, Scope, State, Template};
