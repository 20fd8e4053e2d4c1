//! Streams the body of a request back, piece by piece: a body of any size passes through in constant memory.

use exports::wasi::http::incoming_handler::Guest;
use wasi::http::types::{Fields, IncomingBody, IncomingRequest, OutgoingBody, OutgoingResponse, ResponseOutparam};
use wasi::io::streams::{InputStream, OutputStream, StreamError};

wit_bindgen::generate!({ world: "demo:echo/echo", path: ["../../wit/wasi-0.2", "wit"], generate_all });

/// The most that is moved at once.
const PIECE_BYTES: u64 = 64 * 1024;

struct Echo;

impl Guest for Echo {
    fn handle(request: IncomingRequest, response_out: ResponseOutparam) {
        let headers = Fields::new();
        let content_type = request.headers().get("content-type");
        if !content_type.is_empty() {
            headers.set("content-type", &content_type).expect("the header came from a request");
        }
        let response = OutgoingResponse::new(headers);
        let response_body = response.body().expect("the body is taken once");
        ResponseOutparam::set(response_out, Ok(response));

        let request_body = request.consume().expect("the body is taken once");
        if copy(&request_body, &response_body) {
            // A client that has left is the only way for this to fail, and then nobody is there to be told.
            let _ = OutgoingBody::finish(response_body, None);
        }
    }
}

/// Whether the whole body was copied. If not, the response is left unfinished, so that the client sees that it is cut.
fn copy(from: &IncomingBody, to: &OutgoingBody) -> bool {
    let from = from.stream().expect("the stream is taken once");
    let to = to.write().expect("the stream is taken once");
    pump(&from, &to)
}

fn pump(from: &InputStream, to: &OutputStream) -> bool {
    loop {
        let piece = match from.blocking_read(PIECE_BYTES) {
            Ok(piece) => piece,
            Err(StreamError::Closed) => return to.blocking_flush().is_ok(),
            Err(StreamError::LastOperationFailed(_)) => return false,
        };
        if !write_all(&piece, to) {
            return false;
        }
    }
}

/// Writes as much at a time as the other side has room for.
fn write_all(mut rest: &[u8], to: &OutputStream) -> bool {
    while !rest.is_empty() {
        let Ok(room_bytes) = to.check_write() else { return false };
        if room_bytes == 0 {
            to.subscribe().block();
            continue;
        }
        let (now, later) = rest.split_at(rest.len().min(usize::try_from(room_bytes).unwrap_or(usize::MAX)));
        if to.write(now).is_err() {
            return false;
        }
        rest = later;
    }
    true
}

export!(Echo);
