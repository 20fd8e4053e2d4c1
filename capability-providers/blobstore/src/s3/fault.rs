//! What errors of an S3 server mean to the caller.

use http::StatusCode;
use object_store::Error;
use object_store::retry::RetryError;
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
        match status(error) {
            Some(StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) => {
                format!(
                    "{server} refuses the access key for bucket {bucket:?}; see access_key_id and secret_access_key"
                )
            }
            Some(StatusCode::NOT_FOUND) => format!("{server} has no bucket {bucket:?}; make it, or see the key bucket"),
            _ => format!("{server} cannot be reached, or does not answer as it should"),
        }
    }

    /// That it says nothing.
    pub(super) fn silent(&self) -> String {
        format!("{} did not answer", self.server)
    }

    /// The failure of a call.
    pub(super) fn call_error(&self, error: &Error) -> CallError {
        let description = self.describe(error);
        eprintln!("DEBUG {error:?}");
        if let Some(left_out) = self.admitted.admit() {
            // An answer that refuses a key repeats what was sent to be signed.
            let detail = if matches!(error, Error::Generic { .. }) { error.to_string() } else { String::new() };
            let detail: String = detail.chars().take(500).collect();
            tracing::warn!(left_out, error = %detail, "{description}");
        }
        CallError::provider(description)
    }
}

/// What the server answered, if it did. Some errors have a kind of their own and some do not, by request.
fn status(error: &Error) -> Option<StatusCode> {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = cause {
        if let Some(answered) = error.downcast_ref::<RetryError>() {
            return answered.status();
        }
        cause = error.source();
    }
    None
}
