//! Clients that speak either version of HTTP.

use std::net::SocketAddr;

use http::{HeaderMap, Request, Response, StatusCode, header};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;
use tokio::time::timeout;
use trellis_provider_sdk::Body;

use crate::support::PATIENCE;

/// What a client speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Version {
    Http1,
    /// By prior knowledge.
    Http2,
}

pub(crate) const VERSIONS: [Version; 2] = [Version::Http1, Version::Http2];

/// One connection.
pub(crate) enum Client {
    Http1(http1::SendRequest<Body>),
    Http2(http2::SendRequest<Body>),
}

impl Client {
    pub(crate) async fn connect(version: Version, address: SocketAddr) -> Self {
        let stream = TokioIo::new(TcpStream::connect(address).await.unwrap());
        match version {
            Version::Http1 => {
                let (sender, connection) = http1::handshake(stream).await.unwrap();
                tokio::spawn(connection);
                Self::Http1(sender)
            }
            Version::Http2 => {
                let (sender, connection) = http2::handshake(TokioExecutor::new(), stream).await.unwrap();
                tokio::spawn(connection);
                Self::Http2(sender)
            }
        }
    }

    /// The response, once it begins. The request is as for HTTP/1.1: with a path, and the host as a header field.
    pub(crate) async fn send(&mut self, request: Request<Body>) -> hyper::Result<Response<Incoming>> {
        let sent = async {
            match self {
                Self::Http1(sender) => {
                    sender.ready().await?;
                    sender.send_request(request).await
                }
                Self::Http2(sender) => {
                    sender.ready().await?;
                    sender.send_request(of_http2(request)).await
                }
            }
        };
        timeout(PATIENCE, sent).await.expect("an answer or an error")
    }
}

fn of_http2(request: Request<Body>) -> Request<Body> {
    let (mut parts, body) = request.into_parts();
    let host = parts.headers.remove(header::HOST).expect("requests of tests have one");
    parts.uri = format!("http://{}{}", host.to_str().unwrap(), parts.uri).parse().unwrap();
    Request::from_parts(parts, body)
}

pub(crate) fn request(host: &str, path: &str) -> Request<Body> {
    Request::get(path).header(header::HOST, host).body(Body::Empty).unwrap()
}

pub(crate) fn post(body: Body) -> Request<Body> {
    Request::post("/").header(header::HOST, "a").body(body).unwrap()
}

/// The answer to a request over a connection of its own.
pub(crate) async fn send(
    version: Version,
    address: SocketAddr,
    request: Request<Body>,
) -> (StatusCode, HeaderMap, String) {
    let (parts, body) = Client::connect(version, address).await.send(request).await.unwrap().into_parts();
    (parts.status, parts.headers, text(body).await)
}

/// All of a body.
pub(crate) async fn text(body: Incoming) -> String {
    let body = timeout(PATIENCE, body.collect()).await.expect("an end").unwrap().to_bytes();
    String::from_utf8(body.to_vec()).unwrap()
}
