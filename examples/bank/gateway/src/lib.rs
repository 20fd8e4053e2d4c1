//! The bank's one face to the outside: HTTP with JSON. Who calls is said by a token that `POST /login` gives; what they
//! may do, by the role in it. Everything else is done by the services behind.
//!
//! `login` makes and reads tokens, `routes` says who may ask for what, `reply` turns what services say into answers.

mod http;
mod login;
mod reply;
mod routes;

use std::time::{SystemTime, UNIX_EPOCH};

use exports::wasi::http::incoming_handler::Guest;
use wasi::http::types::{IncomingRequest, ResponseOutparam};

wit_bindgen::generate!({
    world: "demo:bank-gateway/gateway",
    path: [
        "../../wit/wasi-0.2",
        "../../../interfaces/wit/secrets",
        "../../../interfaces/wit/logging",
        "../wit",
        "wit",
    ],
    generate_all,
});

struct Gateway;

impl Guest for Gateway {
    fn handle(request: IncomingRequest, response_out: ResponseOutparam) {
        let reply = http::read(&request).and_then(|request| routes::answer(&request)).unwrap_or_else(|refusal| refusal);
        http::send(response_out, &reply);
    }
}

/// Seconds since 1970.
fn now_seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

export!(Gateway);
