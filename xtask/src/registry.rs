//! Finds docker-registry for the tests, or fetches it into the cache.

use std::path::PathBuf;

use anyhow::{Context, Result};

use crate::environment::Environment;
use crate::package;

const PROGRAM: &str = "docker-registry";

/// The registry that is there already: named by `TRELLIS_DOCKER_REGISTRY`, on the search path, or fetched before.
pub(crate) fn find(environment: &Environment) -> Option<PathBuf> {
    let cached = package::cached(PROGRAM, environment);
    let named = environment.docker_registry.clone();
    named.or_else(|| environment.find_program(PROGRAM)).or_else(|| cached.is_file().then_some(cached))
}

/// The registry that is there, or a fetched one from Debian's packages.
///
/// # Errors
/// If there is none and none can be fetched; the message says what to install.
pub(crate) fn prepare(environment: &Environment) -> Result<PathBuf> {
    if let Some(registry) = find(environment) {
        return Ok(registry);
    }
    package::fetch(PROGRAM, environment).context(
        "there is no docker-registry, and none could be fetched: install it (`apt-get install docker-registry`, or the \
         `registry` of a release of CNCF Distribution) or name one in TRELLIS_DOCKER_REGISTRY",
    )
}
