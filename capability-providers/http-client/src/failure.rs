//! What goes wrong on the way to a server and back, as the error of the call.

use std::error::Error;
use std::io;

use trellis_interfaces::http::ErrorCode;
use trellis_provider_sdk::{CallError, CallErrorKind};

/// An error of `kind` that a guest sees as `code`.
pub(crate) fn failure(kind: CallErrorKind, code: ErrorCode, message: impl std::fmt::Display) -> CallError {
    CallError::new(kind, code.describe(message))
}

/// No connection was made, so nothing was asked.
pub(crate) fn connecting(error: &(dyn Error + 'static), target: &dyn std::fmt::Display) -> CallError {
    if let Some(error) = find::<CallError>(error) {
        return error.clone();
    }
    if let Some(error) = find::<rustls::Error>(error) {
        return tls(error, target);
    }
    let code = match find::<io::Error>(error).map(io::Error::kind) {
        Some(io::ErrorKind::ConnectionRefused) => ErrorCode::ConnectionRefused,
        Some(io::ErrorKind::TimedOut) => ErrorCode::ConnectionTimeout,
        Some(io::ErrorKind::NetworkUnreachable | io::ErrorKind::HostUnreachable) => ErrorCode::DestinationUnavailable,
        _ => ErrorCode::ConnectionTerminated,
    };
    failure(CallErrorKind::NoTarget, code, format_args!("no connection to {target}: {error}"))
}

fn tls(error: &rustls::Error, target: &dyn std::fmt::Display) -> CallError {
    let code = match error {
        rustls::Error::InvalidCertificate(_) | rustls::Error::NoCertificatesPresented => ErrorCode::TlsCertificateError,
        _ => ErrorCode::TlsProtocolError,
    };
    failure(CallErrorKind::Provider, code, format_args!("no TLS with {target}: {error}"))
}

/// A request got no response.
pub(crate) fn sending(error: &hyper_util::client::legacy::Error, target: &dyn std::fmt::Display) -> CallError {
    // What the connector says, or the body of the request.
    if let Some(error) = find::<CallError>(error) {
        return error.clone();
    }
    match find::<hyper::Error>(error) {
        _ if error.is_connect() => connecting(error, target),
        Some(cause) if cause.is_canceled() => failure(
            CallErrorKind::NoTarget,
            ErrorCode::ConnectionTerminated,
            format_args!("{target} closed the connection before it was asked"),
        ),
        Some(cause) if cause.is_parse() || cause.is_parse_too_large() || cause.is_user() => {
            protocol(format_args!("no exchange with {target}: {cause}"))
        }
        _ => failure(
            CallErrorKind::UnknownOutcome,
            ErrorCode::ConnectionTerminated,
            format_args!("{target} closed the connection without a response"),
        ),
    }
}

/// The body of a response broke off.
pub(crate) fn receiving(error: &hyper::Error) -> CallError {
    failure(
        CallErrorKind::Provider,
        ErrorCode::HttpResponseIncomplete,
        format_args!("response body broke off: {error}"),
    )
}

/// What came or was to be sent is not HTTP.
pub(crate) fn protocol(message: impl std::fmt::Display) -> CallError {
    failure(CallErrorKind::Provider, ErrorCode::HttpProtocolError, message)
}

/// The first error of a type in a chain of causes. The cause of an `io::Error` that holds another is that one, not what
/// `source` says.
fn find<'a, E: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a E> {
    if let Some(found) = error.downcast_ref::<E>() {
        return Some(found);
    }
    let inner = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
    let found = inner.and_then(|inner| find(inner));
    found.or_else(|| error.source().and_then(find))
}
