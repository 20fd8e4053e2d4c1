//! Components in OCI registries: with which credentials, what a tag means now, and the bytes, which are held against
//! their digest.
//!
//! Both layouts are read: the one of Wasm artifacts (`application/wasm`) and that of wasmCloud 1.x.

mod credential;
mod fault;
mod pull;
mod push;

use std::collections::BTreeMap;
use std::future::Future;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use oci_client::Client;
use oci_client::client::{ClientConfig, ClientProtocol};
use oci_client::errors::OciDistributionError;
use oci_client::secrets::RegistryAuth;
use trellis_lattice::message::command::RegistryCredential;

pub use self::pull::{Resolved, Wanted};
pub use self::push::{Image, Pushed};
pub use super::reference::ImageRef;
use crate::error::{Error, ErrorKind, Result};

/// The longest that a connection may take, and that a registry may say nothing.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const SILENCE_TIMEOUT: Duration = Duration::from_secs(15);
/// The longest that a transfer may take, however steadily it goes on.
const TRANSFER_TIMEOUT: Duration = Duration::from_secs(180);
/// Registries that credentials are kept for; more are refused.
const MAX_TOLD: usize = 256;

/// How registries are reached.
#[derive(Debug, Clone, Default)]
pub struct Access {
    /// Where `docker login` keeps credentials: a `config.json`. `None` asks nobody.
    pub docker_config: Option<PathBuf>,
    /// Registries, as `host:port`, that are spoken to without TLS. Those on loopback always are.
    pub insecure: Vec<String>,
}

/// How many bytes of how many have gone.
pub type Progress = Arc<dyn Fn(u64, u64) + Send + Sync>;

/// The registries, with the credentials for them.
#[derive(Debug, Default)]
pub struct Registries {
    access: Access,
    /// By registry: what the lattice told (`registry.put`). It wins over the file.
    told: ArcSwap<BTreeMap<String, RegistryCredential>>,
}

impl Registries {
    /// Reached by `access`.
    pub fn new(access: Access) -> Self {
        Self { access, told: ArcSwap::default() }
    }

    /// Takes credentials that the lattice tells; those for other registries stay.
    ///
    /// # Errors
    /// When one is of no use, or they are too many.
    pub(crate) fn tell(&self, credentials: BTreeMap<String, RegistryCredential>) -> Result<(), String> {
        for (registry, credential) in &credentials {
            credential::auth_of(credential).map_err(|why| format!("the credentials for {registry:?}: {why}"))?;
        }
        let mut all = BTreeMap::clone(&self.told.load());
        all.extend(credentials.into_iter().map(|(name, told)| (credential::host_of(&name).to_owned(), told)));
        if all.len() > MAX_TOLD {
            return Err(format!("this host keeps credentials for {MAX_TOLD} registries at most"));
        }
        self.told.store(Arc::new(all));
        Ok(())
    }

    /// A connection for `image`, with the credentials for its registry.
    ///
    /// # Errors
    /// `Config` when the file with credentials is damaged, `Unavailable` when this machine has no certificates.
    pub async fn connect(&self, image: &ImageRef) -> Result<Connection> {
        let registry = image.registry();
        let auth = match self.told.load().get(registry) {
            Some(told) => credential::auth_of(told).map_err(|why| Error::new(ErrorKind::Config, why))?,
            None => credential::from_docker(self.access.docker_config.as_deref(), registry).await?,
        };
        let is_plain = is_loopback(registry) || self.access.insecure.iter().any(|listed| listed == registry);
        let config = ClientConfig {
            protocol: if is_plain { ClientProtocol::Http } else { ClientProtocol::Https },
            connect_timeout: Some(CONNECT_TIMEOUT),
            read_timeout: Some(SILENCE_TIMEOUT),
            platform_resolver: None,
            user_agent: concat!("trellis/", env!("CARGO_PKG_VERSION")),
            ..ClientConfig::default()
        };
        // Reads the machine's certificates, which takes its time.
        let client = tokio::task::spawn_blocking(move || client(config)).await;
        let unusable = |error: String| Error::new(ErrorKind::Unavailable, format!("cannot reach registries: {error}"));
        let client =
            client.map_err(|error| unusable(error.to_string()))?.map_err(|error| unusable(error.to_string()))?;
        Ok(Connection { client, image: image.clone(), auth })
    }
}

fn client(config: ClientConfig) -> Result<Client, OciDistributionError> {
    // It is an error only in that somebody installed one before.
    let _ = rustls::crypto::ring::default_provider().install_default();
    Client::try_from(config)
}

/// Whether `registry` is on this machine, by its name.
fn is_loopback(registry: &str) -> bool {
    let host = match registry.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
        _ => registry,
    };
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

/// For one artifact in one registry. Credentials go to that registry, and to where it says that tokens are issued.
pub struct Connection {
    client: Client,
    image: ImageRef,
    auth: RegistryAuth,
}

impl Connection {
    /// Awaits `work` with the registry, at most for as long as a transfer may take.
    async fn within<T>(&self, what: &str, work: impl Future<Output = Result<T, OciDistributionError>>) -> Result<T> {
        match tokio::time::timeout(TRANSFER_TIMEOUT, work).await {
            Ok(Ok(done)) => Ok(done),
            Ok(Err(error)) => Err(fault::explain(what, &self.image, error)),
            Err(_) => {
                let seconds = TRANSFER_TIMEOUT.as_secs();
                let message = format!("cannot {what} {}: it has taken longer than {seconds} s", self.image);
                Err(Error::new(ErrorKind::Unavailable, message))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::is_loopback;

    #[test]
    fn only_this_machine_is_spoken_to_without_tls_unasked() {
        for own in ["localhost", "localhost:5000", "127.0.0.1:5000", "127.9.9.9", "[::1]:5000"] {
            assert!(is_loopback(own), "{own}");
        }
        for other in ["registry.example", "10.0.0.1:5000", "localhost.example:5000", "127.0.0.1.example", "0.0.0.0:1"] {
            assert!(!is_loopback(other), "{other}");
        }
    }
}
