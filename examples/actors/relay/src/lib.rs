//! Passes each request on to the actor that its link for wasi:http/outgoing-handler leads to, and that actor's answer back
//! (wasi:http 0.2).
//!
//! The request is sent whole before the answer is read; for a stream in both directions at once, `relay-async` is the one.

use exports::wasi::http::incoming_handler::Guest;
use wasi::http::outgoing_handler;
use wasi::http::types::{
    ErrorCode, Fields, IncomingBody, IncomingRequest, IncomingResponse, OutgoingBody, OutgoingRequest,
    OutgoingResponse, ResponseOutparam,
};
use wasi::io::streams::StreamError;

wit_bindgen::generate!({ world: "demo:relay/relay", path: ["../../wit/wasi-0.2", "wit"], generate_all });

/// The most that is moved at once.
const PIECE_BYTES: u64 = 64 * 1024;

struct Relay;

impl Guest for Relay {
    fn handle(request: IncomingRequest, response_out: ResponseOutparam) {
        match pass_on(request) {
            Ok(answer) => answer_with(answer, response_out),
            Err(code) => ResponseOutparam::set(response_out, Err(code)),
        }
    }
}

fn pass_on(request: IncomingRequest) -> Result<IncomingResponse, ErrorCode> {
    let onward = OutgoingRequest::new(Fields::new());
    onward.set_method(&request.method()).expect("the method came from a request");
    onward.set_scheme(request.scheme().as_ref()).expect("the scheme came from a request");
    onward.set_authority(request.authority().as_deref()).expect("the authority came from a request");
    onward.set_path_with_query(request.path_with_query().as_deref()).expect("the path came from a request");
    let onward_body = onward.body().expect("the body is taken once");
    let answer = outgoing_handler::handle(onward, None)?;
    let body = request.consume().expect("the body is taken once");
    if !copy(&body, &onward_body) {
        return Err(ErrorCode::ConnectionTerminated);
    }
    OutgoingBody::finish(onward_body, None)?;
    answer.subscribe().block();
    answer.get().expect("it is ready").expect("it is taken once")
}

fn answer_with(answer: IncomingResponse, response_out: ResponseOutparam) {
    let response = OutgoingResponse::new(Fields::new());
    response.set_status_code(answer.status()).expect("the status came from a response");
    let response_body = response.body().expect("the body is taken once");
    ResponseOutparam::set(response_out, Ok(response));
    let body = answer.consume().expect("the body is taken once");
    if copy(&body, &response_body) {
        // A client that has left is the only way for this to fail, and then nobody is there to be told.
        let _ = OutgoingBody::finish(response_body, None);
    }
}

/// Whether the whole body was copied. If not, what it was copied to is left unfinished, so that it is seen to be cut.
fn copy(from: &IncomingBody, to: &OutgoingBody) -> bool {
    let from = from.stream().expect("the stream is taken once");
    let to = to.write().expect("the stream is taken once");
    loop {
        match to.blocking_splice(&from, PIECE_BYTES) {
            Ok(_) => {}
            Err(StreamError::Closed) => return to.blocking_flush().is_ok(),
            Err(StreamError::LastOperationFailed(_)) => return false,
        }
    }
}

export!(Relay);
