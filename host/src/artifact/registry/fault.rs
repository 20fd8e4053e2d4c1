//! What a registry's error means to whoever wanted the artifact. Texts of the registry and URLs, which may carry
//! tokens, stay out of it.

use oci_client::errors::{OciDistributionError as Fault, OciErrorCode};

use super::ImageRef;
use crate::error::{Error, ErrorKind};

/// `fault` at the attempt to `what` (pull, push) `image`.
pub(super) fn explain(what: &str, image: &ImageRef, fault: Fault) -> Error {
    let (kind, why) = judge(image, fault);
    Error::new(kind, format!("cannot {what} {image}: {why}"))
}

fn judge(image: &ImageRef, fault: Fault) -> (ErrorKind, String) {
    let registry = image.registry();
    match fault {
        Fault::UnauthorizedError { .. } | Fault::AuthenticationFailure(_) => (ErrorKind::Refused, denied(registry)),
        Fault::RegistryError { envelope, .. } => judge_code(registry, envelope.errors.first().map(|error| &error.code)),
        Fault::ServerError { code: 401 | 403, .. } => (ErrorKind::Refused, denied(registry)),
        Fault::ServerError { code: 404, .. } | Fault::ImageManifestNotFoundError(_) => absent(registry),
        Fault::ServerError { code, .. } => (ErrorKind::Unavailable, format!("{registry} answered {code}")),
        Fault::DigestError(error) => {
            (ErrorKind::Component, format!("what {registry} sent is not what it should be: {error}"))
        }
        Fault::RequestError(error) => (ErrorKind::Unavailable, unreached(registry, &error.without_url())),
        Fault::IoError(error) => (ErrorKind::Unavailable, format!("the transfer broke off: {error}")),
        Fault::ManifestParsingError(_) | Fault::VersionedParsingError(_) | Fault::JsonError(_) => {
            (ErrorKind::Component, format!("{registry} sent a manifest that is none"))
        }
        Fault::RegistryTokenDecodeError(_) => (ErrorKind::Refused, format!("{registry} issued no usable token")),
        other => {
            let text: String = other.to_string().chars().take(200).collect();
            (ErrorKind::Unavailable, text)
        }
    }
}

fn judge_code(registry: &str, code: Option<&OciErrorCode>) -> (ErrorKind, String) {
    match code {
        Some(OciErrorCode::Unauthorized | OciErrorCode::Denied) => (ErrorKind::Refused, denied(registry)),
        Some(
            OciErrorCode::ManifestUnknown
            | OciErrorCode::NameUnknown
            | OciErrorCode::NotFound
            | OciErrorCode::BlobUnknown,
        ) => absent(registry),
        Some(code) => (ErrorKind::Unavailable, format!("{registry} answered {code:?}")),
        None => (ErrorKind::Unavailable, format!("{registry} refused without a reason")),
    }
}

fn denied(registry: &str) -> String {
    format!(
        "{registry} does not let us with the credentials that we have: log in with `docker login {registry}`, or tell \
         the lattice (registry.put)"
    )
}

fn absent(registry: &str) -> (ErrorKind, String) {
    (ErrorKind::NotFound, format!("{registry} has no artifact of that name and tag"))
}

/// An error with its causes, of which the last says what happened.
fn unreached(registry: &str, error: &dyn std::error::Error) -> String {
    let mut text = format!("{registry} cannot be reached: {error}");
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text.chars().take(400).collect()
}
