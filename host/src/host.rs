//! A host: owns the parts and their tasks, starts them in order, drains them on stop.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use trellis_lattice::id::HostId;
use trellis_lattice::identity::key::Key;
use trellis_lattice::identity::trust::Trust;
use trellis_lattice::store::SharedStore;
use trellis_lattice::transport::SharedTransport;
use trellis_provider_sdk::Factory;

use crate::config::Config;
use crate::error::Result;
use crate::runtime::Runtime;

/// What a host is composed of. Hosts in one process share the runtime, the store and the transport.
pub struct Parts {
    /// The bus.
    pub transport: SharedTransport,
    /// Links, configs and claims of the lattice.
    pub store: SharedStore,
    /// Engines and code cache.
    pub runtime: Arc<Runtime>,
    /// Built-in providers by the name after `builtin:`, e.g. `http-server`.
    pub builtins: BTreeMap<String, Factory>,
    /// The host's key.
    pub key: Key,
    /// The token that the lattice's authority signed for that key.
    pub token: String,
    /// Whom the lattice trusts.
    pub trust: Arc<Trust>,
}

/// A running host. Dropping it ends its tasks without a drain; [`Host::stop`] is the polite way.
pub struct Host {}

impl Host {
    /// Starts a host: joins the lattice, serves control, and takes up its last assignment if the config says so.
    ///
    /// # Errors
    /// When the token does not hold, the data directory cannot be used, or the store does not answer.
    pub async fn start(config: Config, parts: Parts) -> Result<Self> {
        let _ = (config, parts);
        todo!()
    }

    /// Its id.
    pub fn id(&self) -> &HostId {
        todo!()
    }

    /// Waits until somebody asks for the host to stop (`host.stop`) and returns how long the drain may take. The
    /// caller then calls [`Host::stop`].
    pub async fn stopped(&self) -> Duration {
        todo!()
    }

    /// Takes no new work, lets what is in flight finish for at most `drain`, says goodbye, and ends.
    pub async fn stop(self, drain: Duration) {
        let _ = drain;
        todo!()
    }
}
