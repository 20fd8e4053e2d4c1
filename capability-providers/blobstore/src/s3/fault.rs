//! What errors of an S3 server mean to the caller.

use object_store::Error;
use trellis_provider_sdk::{CallError, Damper};

use crate::config::S3;

/// Says whose error it is; the detail goes to the log.
pub(super) struct Faults {
    server: String,
    bucket: String,
    admitted: Damper,
}

impl Faults {
    /// Those of the server that `config` names.
    pub(super) fn new(config: &S3) -> Self {
        let server = match &config.endpoint {
            Some(endpoint) => format!("the S3 server {endpoint}"),
            None => format!("S3 in {}", config.region),
        };
        Self { server, bucket: config.bucket.clone(), admitted: Damper::default() }
    }

    /// What `error` is in one sentence.
    pub(super) fn describe(&self, error: &Error) -> String {
        let Self { server, bucket, .. } = self;
        match error {
            Error::Unauthenticated { .. } | Error::PermissionDenied { .. } => {
                format!(
                    "{server} refuses the access key for bucket {bucket:?}; see access_key_id and secret_access_key"
                )
            }
            Error::NotFound { .. } => format!("{server} has no bucket {bucket:?}; make it, or see the key bucket"),
            _ => format!("{server} cannot be reached, or does not answer as it should"),
        }
    }

    /// That it does not list a bucket that it lets the key into.
    pub(super) fn unlisted(&self) -> String {
        let Self { server, bucket, .. } = self;
        format!("{server} does not list bucket {bucket:?}: it is not there, or the access key may not list it")
    }

    /// That it says nothing.
    pub(super) fn silent(&self) -> String {
        format!("{} did not answer", self.server)
    }

    /// The failure of a call.
    pub(super) fn call_error(&self, error: &Error) -> CallError {
        let description = self.describe(error);
        if let Some(left_out) = self.admitted.admit() {
            // An answer that refuses a key repeats what was sent to be signed.
            let detail = if matches!(error, Error::Generic { .. }) { error.to_string() } else { String::new() };
            let detail: String = detail.chars().take(500).collect();
            tracing::warn!(left_out, error = %detail, "{description}");
        }
        CallError::provider(description)
    }
}
