//! Passes each request on to the actor that its link for wasi:http/client leads to, and that actor's answer back: bodies
//! stream through in both directions without being touched here (wasi:http 0.3).

use exports::wasi::http::handler::Guest;
use wasi::http::client;
use wasi::http::types::{ErrorCode, Request, Response};

wit_bindgen::generate!({ world: "demo:relay-async/relay-async", path: ["../../wit/wasi-0.3", "wit"], generate_all });

struct RelayAsync;

impl Guest for RelayAsync {
    async fn handle(request: Request) -> Result<Response, ErrorCode> {
        client::send(request).await
    }
}

export!(RelayAsync);
