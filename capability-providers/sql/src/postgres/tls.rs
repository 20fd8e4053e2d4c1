//! Encryption of connections: none, or rustls with the certificates of the system or of a file.

use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};
use tokio::task::JoinHandle;
use tokio_postgres::{CancelToken, Client, Config, NoTls};
use tokio_postgres_rustls::MakeRustlsConnect;
use trellis_provider_sdk::LinkError;

use crate::config::Tls;

/// Makes connections.
#[derive(Clone)]
pub(super) enum Connector {
    /// Not encrypted.
    Plain,
    /// Encrypted.
    Rustls(MakeRustlsConnect),
}

impl Connector {
    /// Reads the certificates.
    pub(super) async fn new(tls: Tls) -> Result<Self, LinkError> {
        let Tls::On { ca } = tls else { return Ok(Self::Plain) };
        let build = move || client_config(ca.as_deref());
        let built = tokio::task::spawn_blocking(build).await;
        let config = built.map_err(|error| LinkError::Unavailable(error.to_string()))??;
        Ok(Self::Rustls(MakeRustlsConnect::new(config)))
    }

    /// Connects, and gives the work of the connection to a task.
    pub(super) async fn connect(
        &self,
        server: &Config,
    ) -> Result<(Client, JoinHandle<Result<(), tokio_postgres::Error>>), tokio_postgres::Error> {
        match self {
            Self::Plain => {
                let (client, connection) = server.connect(NoTls).await?;
                Ok((client, tokio::spawn(connection)))
            }
            Self::Rustls(tls) => {
                let (client, connection) = server.connect(tls.clone()).await?;
                Ok((client, tokio::spawn(connection)))
            }
        }
    }

    /// Asks the server to break off what it does for a connection.
    pub(super) async fn cancel(&self, token: &CancelToken) -> Result<(), tokio_postgres::Error> {
        match self {
            Self::Plain => token.cancel_query(NoTls).await,
            Self::Rustls(tls) => token.cancel_query(tls.clone()).await,
        }
    }
}

fn client_config(ca: Option<&Path>) -> Result<ClientConfig, LinkError> {
    let mut roots = RootCertStore::empty();
    match ca {
        Some(file) => {
            let unreadable = |error: &dyn std::fmt::Display| {
                LinkError::Unavailable(format!("cannot read certificates from {}: {error}", file.display()))
            };
            for certificate in CertificateDer::pem_file_iter(file).map_err(|error| unreadable(&error))? {
                let certificate = certificate.map_err(|error| unreadable(&error))?;
                roots.add(certificate).map_err(|error| unreadable(&error))?;
            }
        }
        None => drop(roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs)),
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let builder = builder.map_err(|error| LinkError::Unavailable(format!("TLS cannot be set up: {error}")))?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}
