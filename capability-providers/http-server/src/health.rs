//! Whether the listener is there, and requests have somewhere to go: for who restarts processes and who spreads load.

use std::sync::atomic::Ordering;

use http::{Method, Response, StatusCode};
use trellis_provider_sdk::Body;

use crate::answer;
use crate::config::Ready;
use crate::listener::Shared;

/// The answer to `/livez` and `/readyz`, where they are served; before any link.
pub(crate) async fn answer(shared: &Shared, method: &Method, path: &str) -> Option<Response<Body>> {
    let ready = shared.limits.health.filter(|_| matches!(*method, Method::GET | Method::HEAD))?;
    match path {
        "/livez" => Some(answer::text(StatusCode::OK, "ok\n")),
        "/readyz" => Some(match why_not_ready(shared, ready).await {
            None => answer::text(StatusCode::OK, "ok\n"),
            Some(reason) => answer::text(StatusCode::SERVICE_UNAVAILABLE, reason),
        }),
        _ => None,
    }
}

async fn why_not_ready(shared: &Shared, ready: Ready) -> Option<&'static str> {
    if shared.closing.is_cancelled() {
        return Some("the server is closing\n");
    }
    let table = shared.table.load_full();
    if table.is_empty() {
        return Some("no actor is linked\n");
    }
    if ready == Ready::All && shared.missing.load(Ordering::Acquire) > 0 {
        return Some("a link is not established\n");
    }
    for split in table.targets() {
        for route in split.members() {
            match (ready, route.is_answered().await) {
                (Ready::One, true) => return None,
                (Ready::All, false) => return Some("no host runs one of the actors that are linked\n"),
                (Ready::One, false) | (Ready::All, true) => {}
            }
        }
    }
    match ready {
        Ready::One => Some("no host runs any of the actors that are linked\n"),
        Ready::All => None,
    }
}
