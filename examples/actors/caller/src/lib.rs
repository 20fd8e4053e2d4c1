//! Answers HTTP by calling another actor, `greeter`: `GET /Ada/Grace` greets Ada and Grace.
//!
//! Where `greeter` runs, on this host or on another, is the lattice's business; the code is the same.

use demo::greet::greeter;
use demo::greet::types::{Language, Occasion, Person, Refusal, Tone};
use exports::demo::greet::concierge;
use exports::wasi::http::handler;
use wasi::http::types::{ErrorCode, Fields, Request, Response};

wit_bindgen::generate!({ world: "demo:caller/caller", path: ["../../wit/wasi-0.3", "../../wit/greet", "wit"], generate_all });

struct Caller;

impl handler::Guest for Caller {
    async fn handle(request: Request) -> Result<Response, ErrorCode> {
        let path = request.get_path_with_query().unwrap_or_default();
        let path = path.split('?').next().unwrap_or_default();
        let names = path.split('/').filter(|name| !name.is_empty()).map(str::to_owned).collect();
        Ok(match welcome(names).await {
            Ok(text) => text_response(200, text),
            Err(reason) => text_response(400, reason + "\n"),
        })
    }
}

impl concierge::Guest for Caller {
    async fn welcome(names: Vec<String>) -> Result<String, String> {
        welcome(names).await
    }
}

async fn welcome(names: Vec<String>) -> Result<String, String> {
    let mut guests: Vec<Person> = names.into_iter().map(guest).collect();
    // One is greeted by the plain function and several by the asynchronous one.
    let greetings = if guests.len() < 2 {
        let only = guests.pop().unwrap_or_else(|| guest("stranger".to_owned()));
        vec![greeter::greet(&only, Tone::empty())]
    } else {
        greeter::greet_all(guests, Tone::FORMAL).await
    };
    greetings
        .into_iter()
        .map(|greeting| greeting.map(|greeting| greeting.text + "\n").map_err(|refusal| reason(&refusal)))
        .collect()
}

fn guest(name: String) -> Person {
    Person { name, title: Some("dear".to_owned()), language: Language::English, occasion: Occasion::AnyDay }
}

fn reason(refusal: &Refusal) -> String {
    match refusal {
        Refusal::Nameless => "somebody has no name".to_owned(),
        Refusal::TooLong(chars) => format!("a name of {chars} characters is too long"),
    }
}

/// A response whose body is written after the response has been returned, at the reader's pace.
fn text_response(status: u16, text: String) -> Response {
    let headers = Fields::new();
    headers.set("content-type", &[b"text/plain; charset=utf-8".to_vec()]).expect("the header is well formed");
    let (mut body_tx, body_rx) = wit_stream::new();
    let (_, trailers_rx) = wit_future::new(|| Ok(None));
    let (response, _) = Response::new(headers, Some(body_rx), trailers_rx);
    response.set_status_code(status).expect("the status code is in range");
    wit_bindgen::spawn_local(async move {
        // What is left over belongs to a client that has left.
        let _ = body_tx.write_all(text.into_bytes()).await;
    });
    response
}

export!(Caller);
