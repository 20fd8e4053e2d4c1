//! Shows that it can read a secret, by its length and a hash: GET `/secret/<name>` reads it by wasmcloud:secrets, and
//! `/config/<key>` by wasi:config, which has texts among secrets too.
//!
//! Each request reads anew, so that a secret or config that was changed is seen by the next one.

use exports::wasi::http::incoming_handler::Guest;
use wasi::config::store as config;
use wasi::http::types::{Fields, IncomingRequest, OutgoingBody, OutgoingResponse, ResponseOutparam};
use wasi::logging::logging::{Level, log};
use wasmcloud::secrets::reveal::reveal;
use wasmcloud::secrets::store::{self as secrets, SecretValue, SecretsError};

wit_bindgen::generate!({
    world: "demo:vault/vault",
    path: [
        "../../wit/wasi-0.2",
        "../../../interfaces/wit/secrets",
        "../../../interfaces/wit/config-0.2.0-draft",
        "../../../interfaces/wit/logging",
        "wit",
    ],
    generate_all,
});

struct Vault;

impl Guest for Vault {
    fn handle(request: IncomingRequest, response_out: ResponseOutparam) {
        let path = request.path_with_query().unwrap_or_default();
        let (status, text) = match path.trim_start_matches('/').split_once('/') {
            Some(("secret", name)) => secret(name),
            Some(("config", key)) => configured(key),
            _ => (404, "ask for /secret/<name> or /config/<key>".to_owned()),
        };
        answer(response_out, status, &format!("{text}\n"));
    }
}

fn secret(name: &str) -> (u16, String) {
    match secrets::get(name) {
        Ok(secret) => {
            log(Level::Info, "vault", &format!("secret {name} was read"));
            match reveal(&secret) {
                SecretValue::String(text) => (200, summary("text", text.as_bytes())),
                SecretValue::Bytes(bytes) => (200, summary("bytes", &bytes)),
            }
        }
        Err(SecretsError::NotFound) => (404, format!("no secret {name}")),
        Err(SecretsError::Upstream(error) | SecretsError::Io(error)) => (403, error),
    }
}

fn configured(key: &str) -> (u16, String) {
    match config::get(key) {
        Ok(Some(value)) => (200, summary("config", value.as_bytes())),
        Ok(None) => (404, format!("no config {key}")),
        Err(config::Error::Upstream(error) | config::Error::Io(error)) => (403, error),
    }
}

/// What shows that a value was read, and not which.
fn summary(kind: &str, value: &[u8]) -> String {
    format!("{kind} of {} bytes, hash {:016x}", value.len(), fnv1a(value))
}

/// Enough to tell values apart in an example; no hash that could guard a password.
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

fn answer(response_out: ResponseOutparam, status: u16, text: &str) {
    let response = OutgoingResponse::new(Fields::new());
    response.set_status_code(status).expect("the status code is in range");
    let body = response.body().expect("the body is taken once");
    ResponseOutparam::set(response_out, Ok(response));

    let stream = body.write().expect("the stream is taken once");
    // One blocking write takes 4,096 bytes at most, and all answers here are shorter than that.
    let is_sent = stream.blocking_write_and_flush(&text.as_bytes()[..text.len().min(4096)]).is_ok();
    drop(stream);
    if is_sent {
        // A client that has left is the only way for this to fail, and then nobody is there to be told.
        let _ = OutgoingBody::finish(body, None);
    }
}

export!(Vault);
