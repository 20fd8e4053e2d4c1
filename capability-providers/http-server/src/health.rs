//! Whether the listener is there, and requests have somewhere to go: for who restarts processes and who spreads load.

use http::{Method, Response, StatusCode};
use trellis_provider_sdk::Body;

use crate::answer;
use crate::listener::Shared;

/// The answer to `/livez` and `/readyz`, where they are served; before any link.
pub(crate) async fn answer(shared: &Shared, method: &Method, path: &str) -> Option<Response<Body>> {
    if !shared.limits.health || !matches!(*method, Method::GET | Method::HEAD) {
        return None;
    }
    match path {
        "/livez" => Some(answer::text(StatusCode::OK, "ok\n")),
        "/readyz" => Some(match why_not_ready(shared).await {
            None => answer::text(StatusCode::OK, "ok\n"),
            Some(reason) => answer::text(StatusCode::SERVICE_UNAVAILABLE, reason),
        }),
        _ => None,
    }
}

/// Ready is who has one link whose requests are answered: one among many that is not is for its own clients to notice.
async fn why_not_ready(shared: &Shared) -> Option<&'static str> {
    if shared.closing.is_cancelled() {
        return Some("the server is closing\n");
    }
    let table = shared.table.load_full();
    if table.is_empty() {
        return Some("no actor is linked\n");
    }
    for split in table.targets() {
        for route in split.members() {
            if route.is_answered().await {
                return None;
            }
        }
    }
    Some("no host runs any of the actors that are linked\n")
}
