//! Who is believed to be who they say: the root certificates of a link, and TLS with them.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};
use trellis_provider_sdk::LinkError;

/// Where root certificates come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Roots {
    /// Mozilla's, built in.
    Webpki,
    /// Those of the machine.
    System,
    /// A PEM file, and no others.
    File(PathBuf),
}

impl Roots {
    /// Reads `webpki`, `system` or a path.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        match text {
            "webpki" => Some(Self::Webpki),
            "system" => Some(Self::System),
            _ => Path::new(text).is_absolute().then(|| Self::File(text.into())),
        }
    }

    /// TLS with them, by ring. Reads files: not for an async thread.
    pub(crate) fn config(&self) -> Result<ClientConfig, LinkError> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let builder = builder.map_err(|error| LinkError::Unavailable(format!("TLS cannot be set up: {error}")))?;
        Ok(builder.with_root_certificates(self.load()?).with_no_client_auth())
    }

    fn load(&self) -> Result<RootCertStore, LinkError> {
        let mut store = RootCertStore::empty();
        let certificates = match self {
            Self::Webpki => {
                store.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
                Vec::new()
            }
            Self::System => rustls_native_certs::load_native_certs().certs,
            Self::File(path) => read(path)?,
        };
        // A machine may have a certificate that is of no use here.
        store.add_parsable_certificates(certificates);
        if !store.is_empty() {
            return Ok(store);
        }
        Err(LinkError::Unavailable(match self {
            Self::File(path) => format!("`tls_roots`: {} has no usable certificate: PEM is expected", path.display()),
            _ => {
                "`tls_roots` is \"system\", and this machine has no root certificates: install them, or say \"webpki\""
                    .to_owned()
            }
        }))
    }
}

fn read(path: &Path) -> Result<Vec<CertificateDer<'static>>, LinkError> {
    let unreadable = |error: &dyn std::fmt::Display| {
        LinkError::Unavailable(format!("`tls_roots`: {} cannot be read: {error}", path.display()))
    };
    let certificates = CertificateDer::pem_file_iter(path).map_err(|error| unreadable(&error))?;
    certificates.collect::<Result<_, _>>().map_err(|error| unreadable(&error))
}
