//! The certificates of a listener: by the name that a client asks for, and as their files are now.

use std::fmt;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use http::{HeaderMap, Method};
use rustls::ServerConfig;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tokio_util::task::AbortOnDropHandle;
use tracing::{info, warn};
use trellis_provider_sdk::LinkError;

use crate::filter::Filter;
use crate::route::{Asked, Found, Pattern, Table};

/// How often the files are looked at.
const RELOAD: Duration = Duration::from_secs(1);

/// Where a certificate and its key are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Files {
    /// The certificate and those between it and a root, PEM.
    pub(crate) certificates: PathBuf,
    /// Its private key, PEM.
    pub(crate) key: PathBuf,
}

/// When a file was changed, and which one it is.
type Stamp = [(SystemTime, u64, u64); 2];

impl Files {
    fn load(&self) -> Result<CertifiedKey, String> {
        let certificates = &self.certificates;
        let unreadable =
            |path: &Path, error: &dyn fmt::Display| format!("{} cannot be read as PEM: {error}", path.display());
        let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_file_iter(certificates)
            .and_then(Iterator::collect)
            .map_err(|error| unreadable(certificates, &error))?;
        if chain.is_empty() {
            return Err(format!("{} has no certificate", certificates.display()));
        }
        let key = PrivateKeyDer::from_pem_file(&self.key).map_err(|error| unreadable(&self.key, &error))?;
        CertifiedKey::from_der(chain, key, &crypto())
            .map_err(|error| format!("{} and {} are not a pair: {error}", certificates.display(), self.key.display()))
    }

    fn stamp(&self) -> std::io::Result<Stamp> {
        let stamp = |path: &Path| {
            let metadata = path.metadata()?;
            Ok::<_, std::io::Error>((metadata.modified()?, metadata.len(), metadata.ino()))
        };
        Ok([stamp(&self.certificates)?, stamp(&self.key)?])
    }
}

fn crypto() -> CryptoProvider {
    rustls::crypto::ring::default_provider()
}

/// A certificate that follows its files. While they are not a pair it stays what it was.
pub(crate) struct Certificate {
    current: Arc<ArcSwap<CertifiedKey>>,
    _following: AbortOnDropHandle<()>,
}

impl Certificate {
    /// Reads it.
    pub(crate) async fn read(files: Files) -> Result<Self, LinkError> {
        let read = tokio::task::spawn_blocking(move || {
            // Before the files, so that a change meanwhile is seen.
            let stamp = files.stamp().ok();
            files.load().map(|certificate| (files, stamp, certificate))
        });
        let read = read.await.unwrap_or_else(|error| Err(format!("reading broke off: {error}")));
        let (files, stamp, certificate) =
            read.map_err(|error| LinkError::Unavailable(format!("`tls_cert` and `tls_key`: {error}")))?;
        let current = Arc::new(ArcSwap::from_pointee(certificate));
        let following = tokio::spawn(follow(files, stamp, current.clone()));
        Ok(Self { current, _following: AbortOnDropHandle::new(following) })
    }
}

async fn follow(files: Files, mut seen: Option<Stamp>, current: Arc<ArcSwap<CertifiedKey>>) {
    let files = Arc::new(files);
    loop {
        tokio::time::sleep(RELOAD).await;
        let (looked_at, before) = (files.clone(), seen);
        let look = tokio::task::spawn_blocking(move || {
            let stamp = looked_at.stamp().ok();
            (stamp, (stamp != before && stamp.is_some()).then(|| looked_at.load()))
        });
        let Ok((stamp, loaded)) = look.await else { return };
        seen = stamp.or(seen);
        match loaded {
            None => {}
            Some(Ok(certificate)) => {
                current.store(Arc::new(certificate));
                info!(file = %files.certificates.display(), "certificate reloaded");
            }
            Some(Err(error)) => warn!(%error, "certificate not reloaded"),
        }
    }
}

/// Chooses by the name that a client asks for, as requests choose their link; the first one when none fits.
struct ByName {
    first: Arc<Certificate>,
    table: Table<Arc<Certificate>>,
}

impl fmt::Debug for ByName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ByName")
    }
}

impl ResolvesServerCert for ByName {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let (method, headers) = (&Method::GET, &HeaderMap::new());
        let found =
            hello.server_name().and_then(|host| match self.table.find(Asked { host, path: "/", method, headers }) {
                Found::Target(certificate) => Some(certificate),
                Found::OtherMethods(_) | Found::Nothing => None,
            });
        Some(found.unwrap_or(&self.first).current.load_full())
    }
}

/// TLS with these certificates, by the hosts that they are for; `None` without any.
pub(crate) fn config(
    certificates: impl IntoIterator<Item = (Option<String>, Arc<Certificate>)>,
) -> Result<Option<Arc<ServerConfig>>, LinkError> {
    let mut certificates: Vec<_> = certificates.into_iter().collect();
    let Some((_, first)) = certificates.first().cloned() else { return Ok(None) };
    certificates.sort_by(|(one, _), (other, _)| one.cmp(other));
    certificates.dedup_by(|(one, _), (other, _)| one == other);
    let for_all = |host| Pattern { host, path: "/".to_owned(), filter: Filter::default() };
    let patterns = certificates.into_iter().map(|(host, certificate)| (for_all(host), certificate));
    let by_name = ByName { first, table: Table::new(patterns) };
    let builder = ServerConfig::builder_with_provider(Arc::new(crypto())).with_safe_default_protocol_versions();
    let builder = builder.map_err(|error| LinkError::Unavailable(format!("TLS cannot be set up: {error}")))?;
    let mut config = builder.with_no_client_auth().with_cert_resolver(Arc::new(by_name));
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Some(Arc::new(config)))
}
