//! Rolls dice: `GET /3` answers e.g. `2 + 6 + 5 = 13`.
//!
//! The dice are those of a provider that is not built in, `examples/providers/dice`; its contract is its own. How many
//! sides they have is said by the link.

use demo::dice::roller::{Outcome, roll};
use exports::wasi::http::incoming_handler::Guest;
use wasi::http::types::{Fields, IncomingRequest, OutgoingBody, OutgoingResponse, ResponseOutparam};

wit_bindgen::generate!({
    world: "demo:game/game",
    path: ["../../wit/wasi-0.2", "../../providers/dice/wit", "wit"],
    generate_all,
});

struct Game;

impl Guest for Game {
    fn handle(request: IncomingRequest, response_out: ResponseOutparam) {
        let path_with_query = request.path_with_query().unwrap_or_default();
        let path = path_with_query.split('?').next().unwrap_or_default();
        match path.trim_start_matches('/').parse().map_err(|_| "how many dice?".to_owned()).and_then(roll) {
            Ok(outcome) => answer(response_out, 200, &shown(&outcome)),
            Err(reason) => answer(response_out, 400, &(reason + "\n")),
        }
    }
}

fn shown(outcome: &Outcome) -> String {
    let values: Vec<String> = outcome.values.iter().map(ToString::to_string).collect();
    format!("{} = {}\n", values.join(" + "), outcome.total)
}

fn answer(response_out: ResponseOutparam, status: u16, text: &str) {
    let headers = Fields::new();
    headers.set("content-type", &[b"text/plain; charset=utf-8".to_vec()]).expect("the header is well formed");
    let response = OutgoingResponse::new(headers);
    response.set_status_code(status).expect("the status code is in range");
    let body = response.body().expect("the body is taken once");
    ResponseOutparam::set(response_out, Ok(response));

    let stream = body.write().expect("the stream is taken once");
    // One blocking write takes 4,096 bytes at most, and a hundred dice are shorter than that.
    let is_sent = stream.blocking_write_and_flush(text.as_bytes()).is_ok();
    drop(stream);
    if is_sent {
        // A client that has left is the only way for this to fail, and then nobody is there to be told.
        let _ = OutgoingBody::finish(body, None);
    }
}

export!(Game);
