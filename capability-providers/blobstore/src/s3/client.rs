//! How an S3 server is talked to.

use std::time::Duration;

use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::client::{HttpClient, HttpConnector};
use object_store::{BackoffConfig, ClientOptions, Error, RetryConfig};
use reqwest::redirect::Policy;
use trellis_provider_sdk::LinkError;

use crate::config::S3;

/// How long a connection may take to be made.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a server may send nothing in the middle of an answer.
const READ_TIMEOUT: Duration = Duration::from_secs(30);
/// For how long, and how often, what a server refused or lost is asked again. All that is asked may be repeated.
const RETRY_TIMEOUT: Duration = Duration::from_secs(10);
const RETRIES: usize = 4;
const BACKOFF: BackoffConfig =
    BackoffConfig { init_backoff: Duration::from_millis(50), max_backoff: Duration::from_secs(2), base: 2. };

/// A client of the bucket that `config` names. Nothing is asked of the server.
pub(super) fn client(config: &S3) -> Result<AmazonS3, LinkError> {
    // Only the first caller in a process sets it, and all of them set the same.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut builder = AmazonS3Builder::new()
        .with_bucket_name(&config.bucket)
        .with_region(&config.region)
        .with_access_key_id(&config.access_key_id)
        .with_secret_access_key(config.secret_access_key.reveal())
        .with_virtual_hosted_style_request(false)
        .with_http_connector(Connector)
        .with_retry(RetryConfig { backoff: BACKOFF, max_retries: RETRIES, retry_timeout: RETRY_TIMEOUT });
    if let Some(endpoint) = &config.endpoint {
        builder = builder.with_endpoint(endpoint);
    }
    if let Some(token) = &config.session_token {
        builder = builder.with_token(token.reveal());
    }
    builder.build().map_err(|error| LinkError::Unavailable(format!("no client for the S3 server can be made: {error}")))
}

/// Makes connections to the server that is named and to no other: no proxy that the environment names, and no redirect.
#[derive(Debug)]
struct Connector;

impl HttpConnector for Connector {
    fn connect(&self, _: &ClientOptions) -> object_store::Result<HttpClient> {
        // There is no limit for an answer as a whole: it may be large, and the deadline of its call ends it.
        let client = reqwest::Client::builder()
            .no_proxy()
            .redirect(Policy::none())
            .connect_timeout(CONNECT_TIMEOUT)
            .read_timeout(READ_TIMEOUT)
            .build()
            .map_err(|error| Error::Generic { store: "S3", source: Box::new(error) })?;
        Ok(HttpClient::new(client))
    }
}
