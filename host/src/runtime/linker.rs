//! What a component is linked to: WASI, the contracts that everyone has built in, and the polyfill for the rest.

/// Which of the two engines a linker is for: host functions that `async func` imports need can only be defined on one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum EngineKind {
    /// Without component-model async: WASI 0.2, and cheaper calls.
    Plain,
    /// With component-model async: WASI 0.3.
    Concurrent,
}
