//! Whether the listener is there, and takes requests: for who restarts processes and who spreads load.

use http::{Method, Request, Response, StatusCode};
use trellis_provider_sdk::Body;

use crate::answer;
use crate::listener::Shared;

/// The answer to `/livez` and `/readyz`, where they are served; before any link.
pub(crate) fn answer<B>(shared: &Shared, request: &Request<B>) -> Option<Response<Body>> {
    let is_asked = shared.limits.health && matches!(*request.method(), Method::GET | Method::HEAD);
    match request.uri().path() {
        "/livez" if is_asked => Some(answer::text(StatusCode::OK, "ok\n")),
        "/readyz" if is_asked && shared.closing.is_cancelled() => {
            Some(answer::text(StatusCode::SERVICE_UNAVAILABLE, "the server is closing\n"))
        }
        "/readyz" if is_asked && shared.table.load().is_empty() => {
            Some(answer::text(StatusCode::SERVICE_UNAVAILABLE, "no actor is linked\n"))
        }
        "/readyz" if is_asked => Some(answer::text(StatusCode::OK, "ok\n")),
        _ => None,
    }
}
