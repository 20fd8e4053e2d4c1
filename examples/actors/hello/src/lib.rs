//! The smallest actor: answers every HTTP request with one line that names the path (wasi:http 0.2).

use exports::wasi::http::incoming_handler::Guest;
use wasi::http::types::{Fields, IncomingRequest, OutgoingBody, OutgoingResponse, ResponseOutparam};

wit_bindgen::generate!({ world: "demo:hello/hello", path: ["../../wit/wasi-0.2", "wit"], generate_all });

struct Hello;

impl Guest for Hello {
    fn handle(request: IncomingRequest, response_out: ResponseOutparam) {
        let path = request.path_with_query().unwrap_or_else(|| "/".to_owned());
        answer(response_out, format!("hello from Trellis, you asked for {path}\n").as_bytes());
    }
}

fn answer(response_out: ResponseOutparam, text: &[u8]) {
    let headers = Fields::new();
    headers.set("content-type", &[b"text/plain; charset=utf-8".to_vec()]).expect("the header is well formed");
    let response = OutgoingResponse::new(headers);
    let body = response.body().expect("the body is taken once");
    ResponseOutparam::set(response_out, Ok(response));

    let stream = body.write().expect("the stream is taken once");
    // One blocking write takes 4,096 bytes at most.
    let is_sent = text.chunks(4096).all(|chunk| stream.blocking_write_and_flush(chunk).is_ok());
    drop(stream);
    if is_sent {
        // A client that has left is the only way for this to fail, and then nobody is there to be told.
        let _ = OutgoingBody::finish(body, None);
    }
}

export!(Hello);
