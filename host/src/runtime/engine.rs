//! The two engines of a process, and components compiled for one of them.

use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use trellis_lattice::contract::{Interface, Signature};

use crate::error::Result;

/// How the runtime of a process is set up.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where compiled code is cached; `None` keeps it in memory only.
    pub cache_dir: Option<PathBuf>,
    /// Instances of actors that may exist at once in this process; sizes the pools.
    pub max_instances: u32,
}

/// The engines, code cache and epoch ticker of a process, shared by all hosts in it.
pub struct Runtime {}

impl Runtime {
    /// Builds the engines.
    pub fn new(settings: Settings) -> Result<Arc<Self>> {
        let _ = settings;
        todo!()
    }

    /// Compiles `component` on a bounded pool of threads, or takes it from the cache.
    ///
    /// # Errors
    /// When it is no component, is over a limit, or uses what is not supported; names it.
    pub async fn load(self: &Arc<Self>, component: Bytes) -> Result<Arc<Compiled>> {
        let _ = component;
        todo!()
    }
}

/// A component that can be instantiated; shared by all actors with that digest.
pub struct Compiled {}

impl Compiled {
    /// Hex of the SHA-256 of the component's bytes.
    pub fn digest(&self) -> &str {
        todo!()
    }

    /// The interfaces it imports, the inert parts of WASI (io, clocks, random, cli, filesystem, sockets) left out.
    pub fn imports(&self) -> &[Interface] {
        todo!()
    }

    /// The interfaces it exports, with the signature of custom ones.
    pub fn exports(&self) -> &[(Interface, Option<Signature>)] {
        todo!()
    }
}
