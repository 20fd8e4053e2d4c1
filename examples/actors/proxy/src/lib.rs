//! Passes each request on to a server outside of the lattice, and that server's answer back (wasi:http 0.3). Bodies stream
//! through in both directions without being touched here.
//!
//! Which server is said by `upstream` of the actor's config. Whether it may be asked is not said here: that is for the link
//! to the HTTP client.

use exports::wasi::http::handler::Guest;
use wasi::config::store;
use wasi::http::client;
use wasi::http::types::{ErrorCode, Fields, Method, Request, Response, Scheme};

wit_bindgen::generate!({
    world: "demo:proxy/proxy",
    path: ["../../wit/wasi-0.3", "../../wit/config", "wit"],
    generate_all,
});

struct Proxy;

impl Guest for Proxy {
    async fn handle(request: Request) -> Result<Response, ErrorCode> {
        let Ok(Some(upstream)) = store::get("upstream") else {
            return Ok(answer(500, "`upstream` is missing in the config of this actor\n".to_owned()));
        };
        match client::send(onward(request, &upstream)?).await {
            Ok(response) => Ok(response),
            Err(error) => Ok(answer(status_of(&error), format!("no answer from upstream: {error}\n"))),
        }
    }
}

/// The same request for `upstream`, e.g. `http://localhost:8000`. Its headers go along: those that concern one connection
/// only, and `Host`, are not among them.
fn onward(request: Request, upstream: &str) -> Result<Request, ErrorCode> {
    let (scheme, authority) = match upstream.split_once("://") {
        Some(("https", authority)) => (Scheme::Https, authority),
        Some(("http", authority)) => (Scheme::Http, authority),
        _ => return Err(ErrorCode::HttpRequestUriInvalid),
    };
    let headers = request.get_headers().clone();
    let (method, path) = (request.get_method(), request.get_path_with_query());
    let (_, read) = wit_future::new(|| Ok(()));
    let (body, trailers) = Request::consume_body(request, read);
    let body = (!matches!(method, Method::Get | Method::Head)).then_some(body);
    let (onward, _) = Request::new(headers, body, trailers, None);
    onward.set_method(&method).expect("the method came from a request");
    onward.set_path_with_query(path.as_deref()).expect("the path came from a request");
    onward.set_scheme(Some(&scheme)).expect("the scheme is one of two");
    onward.set_authority(Some(authority)).map_err(|()| ErrorCode::HttpRequestUriInvalid)?;
    Ok(onward)
}

fn status_of(error: &ErrorCode) -> u16 {
    match error {
        ErrorCode::HttpRequestDenied | ErrorCode::DestinationIpProhibited => 403,
        ErrorCode::ConnectionLimitReached => 503,
        ErrorCode::HttpResponseTimeout | ErrorCode::ConnectionTimeout | ErrorCode::DnsTimeout => 504,
        _ => 502,
    }
}

fn answer(status: u16, text: String) -> Response {
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

export!(Proxy);
