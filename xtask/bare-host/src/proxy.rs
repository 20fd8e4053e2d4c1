//! A proxy without WebAssembly: a hyper server in front of a hyper client.

use std::net::SocketAddr;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;

/// Passes every request on to `upstream`.
pub(crate) async fn serve(upstream: SocketAddr, address: SocketAddr) -> anyhow::Result<()> {
    let client = Client::builder(TokioExecutor::new()).build_http::<Incoming>();
    crate::serve::serve(address, move |request: Request<Incoming>| {
        let (client, onward) = (client.clone(), onward(request, upstream));
        async move {
            match client.request(onward).await {
                Ok(response) => response.map(Incoming::boxed),
                Err(_) => bad_gateway(),
            }
        }
    })
    .await
}

fn onward(mut request: Request<Incoming>, upstream: SocketAddr) -> Request<Incoming> {
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
    *request.uri_mut() = format!("http://{upstream}{path}").parse().expect("the path came from a request");
    request.headers_mut().remove(http::header::HOST);
    request
}

fn bad_gateway() -> Response<BoxBody<Bytes, hyper::Error>> {
    let mut response = Response::new(Empty::new().map_err(|never| match never {}).boxed());
    *response.status_mut() = StatusCode::BAD_GATEWAY;
    response
}
