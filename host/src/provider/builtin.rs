//! Starting a provider that is built into this binary: `builtin:<name>`.

use std::collections::BTreeMap;
use std::sync::Arc;

use trellis_provider_sdk as sdk;

use super::supervisor::guarded;
use crate::error::{Error, ErrorKind, Result};

/// The factory called `name`.
///
/// # Errors
/// `Config` when there is none, with those that there are.
pub(super) fn factory<'a>(builtins: &'a BTreeMap<String, sdk::Factory>, name: &str) -> Result<&'a sdk::Factory> {
    builtins.get(name).ok_or_else(|| {
        let shown: String = name.chars().take(200).collect();
        let message = format!("{shown:?} is not built into this host; there are: {}", known(builtins));
        Error::new(ErrorKind::Config, message)
    })
}

/// The references to all that is built in.
pub(super) fn known(builtins: &BTreeMap<String, sdk::Factory>) -> String {
    builtins.keys().map(|name| format!("builtin:{name}")).collect::<Vec<_>>().join(", ")
}

/// Makes the provider in this process.
///
/// # Errors
/// `Unavailable` when it cannot be made.
pub(super) async fn make(factory: &sdk::Factory, environment: sdk::Environment) -> Result<Arc<dyn sdk::Provider>> {
    let (id, factory) = (environment.id.clone(), Arc::clone(factory));
    guarded(async { factory(environment) })
        .await
        .map_err(|error| Error::new(ErrorKind::Unavailable, format!("provider {id}: {error}")).with_source(error))
}
