//! Counts requests: each GET adds one to the counter of its path, in a key-value store, and answers the new count.
//!
//! The actor keeps nothing itself: every request has an instance of its own, and any number of them may run on any
//! number of hosts. The store's `increment` is atomic, so no count is lost or given twice.

use exports::wasi::http::incoming_handler::Guest;
use wasi::http::types::{Fields, IncomingRequest, Method, OutgoingBody, OutgoingResponse, ResponseOutparam};
use wasi::keyvalue::{atomics, store};

wit_bindgen::generate!({ world: "demo:counter/counter", path: ["../../wit/wasi-0.2", "wit"], generate_all });

/// The bucket's name; the link says which store is behind it.
const BUCKET: &str = "default";

struct Counter;

impl Guest for Counter {
    fn handle(request: IncomingRequest, response_out: ResponseOutparam) {
        if !matches!(request.method(), Method::Get) {
            return answer(response_out, 405, "only GET is counted\n");
        }
        let path_with_query = request.path_with_query().unwrap_or_else(|| "/".to_owned());
        let path = path_with_query.split('?').next().unwrap_or("/");
        match increment(path) {
            Ok(count) => answer(response_out, 200, &format!("{count}\n")),
            Err(error) => answer(response_out, 500, &format!("the store refused: {error}\n")),
        }
    }
}

fn increment(key: &str) -> Result<u64, store::Error> {
    let bucket = store::open(BUCKET)?;
    atomics::increment(&bucket, key, 1)
}

fn answer(response_out: ResponseOutparam, status: u16, text: &str) {
    let headers = Fields::new();
    headers.set("content-type", &[b"text/plain; charset=utf-8".to_vec()]).expect("the header is well formed");
    let response = OutgoingResponse::new(headers);
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

export!(Counter);
