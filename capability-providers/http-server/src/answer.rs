//! What goes wrong, as HTTP answers: a status, a short text, and no detail that is not the client's business.

use bytes::Bytes;
use http::header::{ALLOW, CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use http::{Method, Response, StatusCode};
use trellis_provider_sdk::{Body, CallError, CallErrorKind};

/// A short plain text.
pub(crate) fn text(status: StatusCode, text: &'static str) -> Response<Body> {
    let mut response = Response::new(Body::from(Bytes::from_static(text.as_bytes())));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}

/// The answer to a request that is somebody's with one of these methods only.
pub(crate) fn other_methods(methods: &[&Method]) -> Response<Body> {
    let mut names: Vec<&str> = methods.iter().map(|method| method.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    let mut response = text(StatusCode::METHOD_NOT_ALLOWED, "no actor is linked for this method\n");
    if let Ok(names) = HeaderValue::try_from(names.join(", ")) {
        response.headers_mut().insert(ALLOW, names);
    }
    response
}

/// The answer to a request whose call failed.
pub(crate) fn failure(error: &CallError) -> Response<Body> {
    let (status, what) = status(error.kind);
    let mut response = text(status, what);
    if status == StatusCode::SERVICE_UNAVAILABLE {
        let seconds = error.retry_after.map_or(1, |after| after.as_millis().div_ceil(1_000).clamp(1, 3_600));
        let seconds = HeaderValue::from(u16::try_from(seconds).expect("clamped to an hour"));
        response.headers_mut().insert(RETRY_AFTER, seconds);
    }
    response
}

fn status(kind: CallErrorKind) -> (StatusCode, &'static str) {
    match kind {
        CallErrorKind::NoTarget => (StatusCode::SERVICE_UNAVAILABLE, "nobody runs the target now\n"),
        CallErrorKind::Overloaded => (StatusCode::SERVICE_UNAVAILABLE, "overloaded, try again later\n"),
        CallErrorKind::BreakerOpen => (StatusCode::SERVICE_UNAVAILABLE, "the target keeps failing, try again later\n"),
        CallErrorKind::Cancelled => (StatusCode::SERVICE_UNAVAILABLE, "the call was cancelled\n"),
        CallErrorKind::Deadline => (StatusCode::GATEWAY_TIMEOUT, "no answer in time\n"),
        CallErrorKind::Denied => (StatusCode::FORBIDDEN, "not allowed\n"),
        CallErrorKind::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "too large\n"),
        CallErrorKind::Trap => (StatusCode::INTERNAL_SERVER_ERROR, "the actor failed\n"),
        CallErrorKind::Contract => (StatusCode::BAD_GATEWAY, "the target does not speak this contract\n"),
        CallErrorKind::UnknownOutcome => (StatusCode::BAD_GATEWAY, "the outcome is not known\n"),
        CallErrorKind::Provider => (StatusCode::BAD_GATEWAY, "the target failed\n"),
    }
}
