//! No WebAssembly at all.

use std::net::SocketAddr;

use bytes::Bytes;
use http_body_util::Full;

/// Answers every request with a line that names its path.
pub(crate) async fn serve(address: SocketAddr) -> anyhow::Result<()> {
    crate::serve::serve(address, |request: http::Request<hyper::body::Incoming>| async move {
        let line = format!("hello from native code, {}\n", request.uri().path());
        http::Response::new(Full::new(Bytes::from(line)))
    })
    .await
}
