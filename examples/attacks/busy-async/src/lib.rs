//! Misbehaves in the way that the path names, in an instance that others were served in before and might be afterwards
//! (wasi:http 0.3), to show that they are not disturbed.
//!
//! `/loop` never returns · `/sleep` waits for an hour · `/stuck` waits for nothing · `/allocate` takes all the memory that it
//! gets and then traps · `/hoard` answers, and keeps 8 MiB more each time · `/recurse` overflows the stack · `/trap` panics ·
//! `/late-trap` does so in the middle of its answer · `/refuse` answers with an error · `/flood` never ends its body · `/linger`
//! answers, and goes on for an hour · `/print` writes to stdout without end · `/echo` answers with what it is sent, as it comes ·
//! anything else is answered with how many requests this instance has seen.

use std::hint::black_box;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};

use exports::wasi::http::handler::Guest;
use wasi::clocks::monotonic_clock;
use wasi::http::types::{ErrorCode, Fields, Request, Response};
use wit_bindgen::{StreamReader, StreamWriter};

wit_bindgen::generate!({ world: "demo:busy-async/busy-async", path: ["../../wit/wasi-0.3", "wit"], generate_all });

const HOUR_NS: u64 = 3_600_000_000_000;
const MIB: usize = 1024 * 1024;

/// Requests that this instance has seen.
static SEEN: AtomicU32 = AtomicU32::new(0);
/// What this instance keeps.
static HOARD: Mutex<Vec<Vec<u8>>> = Mutex::new(Vec::new());

struct BusyAsync;

impl Guest for BusyAsync {
    async fn handle(request: Request) -> Result<Response, ErrorCode> {
        let seen = SEEN.fetch_add(1, Ordering::Relaxed) + 1;
        match request.get_path_with_query().as_deref().unwrap_or("/") {
            "/loop" => spin(),
            "/sleep" => monotonic_clock::wait_for(HOUR_NS).await,
            "/stuck" => std::future::pending().await,
            "/allocate" => allocate(),
            "/hoard" => HOARD.lock().expect("nobody else runs").push(black_box(vec![1; 8 * MIB])),
            "/recurse" => {
                black_box(recurse(1));
            }
            "/trap" => panic!("this is the trap that was asked for"),
            "/late-trap" => return Ok(late_trap()),
            "/refuse" => return Err(ErrorCode::InternalError(None)),
            "/flood" => return Ok(flood()),
            "/linger" => wit_bindgen::spawn_local(monotonic_clock::wait_for(HOUR_NS)),
            "/print" => print(),
            "/echo" => return Ok(echo(request)),
            _ => {}
        }
        Ok(text(format!("{seen}\n")))
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
        taken.push(black_box(vec![1_u8; MIB]));
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

fn late_trap() -> Response {
    let (mut body_tx, body_rx) = wit_stream::new();
    wit_bindgen::spawn_local(async move {
        body_tx.write_all(b"half of".to_vec()).await;
        panic!("this is the trap that was asked for");
    });
    respond(body_rx)
}

fn flood() -> Response {
    let (body_tx, body_rx) = wit_stream::new();
    wit_bindgen::spawn_local(write_until_nobody_reads(body_tx));
    respond(body_rx)
}

async fn write_until_nobody_reads(mut body_tx: StreamWriter<u8>) {
    while body_tx.write_all(vec![b'x'; 4096]).await.is_empty() {}
}

fn echo(request: Request) -> Response {
    let (_, read) = wit_future::new(|| Ok(()));
    let (body, trailers) = Request::consume_body(request, read);
    Response::new(Fields::new(), Some(body), trailers).0
}

fn text(text: String) -> Response {
    let (mut body_tx, body_rx) = wit_stream::new();
    wit_bindgen::spawn_local(async move {
        // What is left over belongs to a client that has left.
        let _ = body_tx.write_all(text.into_bytes()).await;
    });
    respond(body_rx)
}

fn respond(body: StreamReader<u8>) -> Response {
    let (_, trailers) = wit_future::new(|| Ok(None));
    Response::new(Fields::new(), Some(body), trailers).0
}

export!(BusyAsync);
