//! The WebAssembly side: engines, compiled code, limits, values, and the linking of custom interfaces.
//!
//! `wasmtime` is known here, in `capability/` and in `actor/`, nowhere else.

pub mod value;

mod engine;
mod limits;
mod linker;
mod polyfill;
mod precompiled;
mod store;

pub use engine::{Compiled, Runtime, Settings};
pub use limits::Limits;
pub(crate) use store::{Guest, State};
