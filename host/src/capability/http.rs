//! wasi:http 0.2 and 0.3 in both directions.

/// Hooks of wasi:http: outgoing requests go to the router.
pub(crate) struct Hooks {}
