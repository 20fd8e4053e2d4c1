//! HTTP to messages: `GET /ask/<subject>?<text>` sends a request and answers with what is answered to it,
//! `GET /tell/<subject>?<text>` publishes a message.

use exports::wasi::http::incoming_handler::Guest;
use wasi::http::types::{Fields, IncomingRequest, OutgoingBody, OutgoingResponse, ResponseOutparam};
use wasmcloud::messaging::consumer;
use wasmcloud::messaging::types::BrokerMessage;

wit_bindgen::generate!({
    world: "demo:asker/asker",
    path: ["../../wit/wasi-0.2", "../../../interfaces/wit/messaging", "wit"],
    generate_all,
});

/// How long an answer may take.
const PATIENCE_MS: u32 = 5_000;

struct Asker;

impl Guest for Asker {
    fn handle(request: IncomingRequest, response_out: ResponseOutparam) {
        let path_with_query = request.path_with_query().unwrap_or_default();
        let (path, text) = path_with_query.split_once('?').unwrap_or((&path_with_query, ""));
        let sent = match path.trim_start_matches('/').split_once('/') {
            Some(("ask", subject)) => ask(subject, text),
            Some(("tell", subject)) => tell(subject, text).map(|()| b"sent".to_vec()),
            _ => return answer(response_out, 404, b"expected /ask/<subject> or /tell/<subject>"),
        };
        match sent {
            Ok(body) => answer(response_out, 200, &body),
            Err(reason) => answer(response_out, 502, reason.as_bytes()),
        }
    }
}

fn ask(subject: &str, text: &str) -> Result<Vec<u8>, String> {
    consumer::request(subject, text.as_bytes(), PATIENCE_MS).map(|answer| answer.body)
}

fn tell(subject: &str, text: &str) -> Result<(), String> {
    consumer::publish(&BrokerMessage { subject: subject.to_owned(), body: text.into(), reply_to: None })
}

fn answer(response_out: ResponseOutparam, status: u16, text: &[u8]) {
    let response = OutgoingResponse::new(Fields::new());
    response.set_status_code(status).expect("the status code is in range");
    let body = response.body().expect("the body is taken once");
    ResponseOutparam::set(response_out, Ok(response));
    let stream = body.write().expect("the stream is taken once");
    // One blocking write takes 4,096 bytes at most.
    let is_sent = text.chunks(4096).all(|piece| stream.blocking_write_and_flush(piece).is_ok());
    drop(stream);
    if is_sent {
        // A client that has left is the only way for this to fail, and then nobody is there to be told.
        let _ = OutgoingBody::finish(body, None);
    }
}

export!(Asker);
