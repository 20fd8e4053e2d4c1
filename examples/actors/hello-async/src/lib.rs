//! The smallest asynchronous actor: answers every HTTP request with one line that names the path (wasi:http 0.3).

use exports::wasi::http::handler::Guest;
use wasi::http::types::{ErrorCode, Fields, Request, Response};

wit_bindgen::generate!({ world: "demo:hello-async/hello-async", path: ["../../wit/wasi-0.3", "wit"], generate_all });

struct HelloAsync;

impl Guest for HelloAsync {
    async fn handle(request: Request) -> Result<Response, ErrorCode> {
        let path = request.get_path_with_query().unwrap_or_else(|| "/".to_owned());
        Ok(text_response(format!("hello from Trellis, async, you asked for {path}\n")))
    }
}

/// A response whose body is written after the response has been returned, at the reader's pace.
fn text_response(text: String) -> Response {
    let headers = Fields::new();
    headers.set("content-type", &[b"text/plain; charset=utf-8".to_vec()]).expect("the header is well formed");
    let (mut body_tx, body_rx) = wit_stream::new();
    let (_, trailers_rx) = wit_future::new(|| Ok(None));
    let (response, _) = Response::new(headers, Some(body_rx), trailers_rx);
    wit_bindgen::spawn_local(async move {
        // What is left over belongs to a client that has left.
        let _ = body_tx.write_all(text.into_bytes()).await;
    });
    response
}

export!(HelloAsync);
