//! Misbehaves in the way that the path names, to show that its host and its neighbours go on.
//!
//! `/loop` never returns · `/sleep` waits for an hour · `/allocate` takes all the memory that it gets and then traps ·
//! `/recurse` overflows the stack · `/trap` panics · `/silent` returns without a response · `/flood` never ends its body ·
//! `/print` writes to stdout without end · anything else is answered with "fine".

use std::hint::black_box;

use exports::wasi::http::incoming_handler::Guest;
use wasi::clocks::monotonic_clock;
use wasi::http::types::{Fields, IncomingRequest, OutgoingBody, OutgoingResponse, ResponseOutparam};

wit_bindgen::generate!({ world: "demo:busy/busy", path: ["../../wit/wasi-0.2", "wit"], generate_all });

const HOUR_NS: u64 = 3_600_000_000_000;

struct Busy;

impl Guest for Busy {
    fn handle(request: IncomingRequest, response_out: ResponseOutparam) {
        match request.path_with_query().as_deref().unwrap_or("/") {
            "/loop" => spin(),
            "/sleep" => monotonic_clock::subscribe_duration(HOUR_NS).block(),
            "/allocate" => allocate(),
            "/recurse" => {
                black_box(recurse(1));
            }
            "/trap" => panic!("this is the trap that was asked for"),
            "/silent" => {}
            "/flood" => flood(response_out),
            "/print" => print(),
            _ => fine(response_out),
        }
    }
}

fn spin() {
    let mut turns = 0_u64;
    loop {
        turns = black_box(turns.wrapping_add(1));
    }
}

fn allocate() {
    let mut taken = Vec::new();
    loop {
        taken.push(black_box(vec![1_u8; 1024 * 1024]));
    }
}

fn recurse(depth: u64) -> u64 {
    if depth == u64::MAX {
        return depth;
    }
    let frame = black_box([depth; 64]);
    recurse(frame[63] + 1) + frame[0]
}

fn print() {
    loop {
        println!("{}", "busy ".repeat(200));
    }
}

fn flood(response_out: ResponseOutparam) {
    let body = start_response(response_out);
    let stream = body.write().expect("the stream is taken once");
    while stream.blocking_write_and_flush(&[b'x'; 4096]).is_ok() {}
}

fn fine(response_out: ResponseOutparam) {
    let body = start_response(response_out);
    let stream = body.write().expect("the stream is taken once");
    stream.blocking_write_and_flush(b"fine\n").expect("the client waits for the answer");
    drop(stream);
    OutgoingBody::finish(body, None).expect("the body has no announced length");
}

fn start_response(response_out: ResponseOutparam) -> OutgoingBody {
    let response = OutgoingResponse::new(Fields::new());
    let body = response.body().expect("the body is taken once");
    ResponseOutparam::set(response_out, Ok(response));
    body
}

export!(Busy);
