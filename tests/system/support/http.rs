//! HTTP clients: of HTTP/1.1 with one connection a request, of HTTP/2 with one for many; bodies as streams.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

use super::wait;

/// Sends a request to `address` and returns the response with its body still to be read.
pub(crate) async fn send<B>(address: SocketAddr, request: Request<B>) -> Result<Response<Incoming>, String>
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let exchange = async {
        let stream = TcpStream::connect(address).await.map_err(|error| error.to_string())?;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|error| error.to_string())?;
        tokio::spawn(connection);
        sender.send_request(request).await.map_err(|error| error.to_string())
    };
    tokio::time::timeout(Duration::from_secs(60), exchange).await.map_err(|_| "no answer in a minute".to_owned())?
}

/// A connection of HTTP/2 over `stream`, by prior knowledge.
pub(crate) async fn http2<S, B>(stream: S) -> http2::SendRequest<B>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    B: http_body::Body<Data = Bytes> + Unpin + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let (sender, connection) =
        http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.expect("it speaks HTTP/2");
    tokio::spawn(connection);
    sender
}

/// GET; the status and the body as text.
pub(crate) async fn get(address: SocketAddr, path: &str) -> Result<(u16, String), String> {
    request(address, Method::GET, path, Bytes::new()).await
}

/// A request with a body at hand; the status and the body as text.
pub(crate) async fn request(
    address: SocketAddr,
    method: Method,
    path: &str,
    body: Bytes,
) -> Result<(u16, String), String> {
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header(http::header::HOST, address.to_string())
        .body(Full::new(body))
        .expect("the parts are valid");
    let response = send(address, request).await?;
    let status = response.status().as_u16();
    let body = response.into_body().collect().await.map_err(|error| error.to_string())?.to_bytes();
    Ok((status, String::from_utf8_lossy(&body).into_owned()))
}

/// Asks for `path` until the answer is 200; its body.
pub(crate) fn until_ok(runtime: &tokio::runtime::Runtime, address: SocketAddr, path: &str) -> String {
    wait::until(&format!("200 from http://{address}{path}"), || match runtime.block_on(get(address, path)) {
        Ok((200, body)) => Ok(body),
        other => Err(format!("{other:?}")),
    })
}
