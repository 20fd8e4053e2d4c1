//! Counts the firings of timers in a key-value store, and shows them by HTTP: `GET /tick` for the timer `tick` gives how
//! many there were, the key of the last one, and how often the actor was called for all of them.
//!
//! A firing may be told twice, when a host is lost after the actor was called and before that was noted. The key of a
//! firing is the same then: what was counted is remembered by it.

use exports::trellis::timer::handler::{self, Tick};
use exports::wasi::http::incoming_handler;
use wasi::http::types::{Fields, IncomingRequest, OutgoingBody, OutgoingResponse, ResponseOutparam};
use wasi::keyvalue::{atomics, store};

wit_bindgen::generate!({
    world: "demo:clock/clock",
    path: ["../../wit/wasi-0.2", "../../../interfaces/wit/timer", "wit"],
    generate_all,
});

struct Clock;

impl handler::Guest for Clock {
    fn fire(event: Tick) -> Result<(), String> {
        count(&event).map_err(|error| error.to_string())
    }
}

fn count(event: &Tick) -> Result<(), store::Error> {
    let bucket = store::open("default")?;
    atomics::increment(&bucket, &format!("calls/{}", event.name), 1)?;
    let last = format!("last/{}", event.name);
    if bucket.get(&last)?.as_deref() == Some(event.key.as_bytes()) {
        return Ok(());
    }
    atomics::increment(&bucket, &format!("count/{}", event.name), 1)?;
    bucket.set(&last, event.key.as_bytes())
}

impl incoming_handler::Guest for Clock {
    fn handle(request: IncomingRequest, response_out: ResponseOutparam) {
        let path_with_query = request.path_with_query().unwrap_or_default();
        let path = path_with_query.split('?').next().unwrap_or_default();
        match shown(path.trim_matches('/')) {
            Ok(text) => answer(response_out, 200, &text),
            Err(error) => answer(response_out, 500, &format!("the store refused: {error}\n")),
        }
    }
}

/// The count of the timer `name`, the key of its last firing, and the calls.
fn shown(name: &str) -> Result<String, store::Error> {
    let bucket = store::open("default")?;
    let text = |key: String| -> Result<String, store::Error> {
        Ok(bucket.get(&key)?.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default())
    };
    let [count, last, calls] = [format!("count/{name}"), format!("last/{name}"), format!("calls/{name}")].map(text);
    let number = |text: String| if text.is_empty() { "0".to_owned() } else { text };
    Ok(format!("{} {} {}\n", number(count?), last?, number(calls?)))
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

export!(Clock);
