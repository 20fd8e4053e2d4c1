//! wasi:http 0.2: a fresh store and instance for every request.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use anyhow::anyhow;
use wasmtime::Engine;
use wasmtime_wasi_http::WasiHttpView as _;
use wasmtime_wasi_http::p2::bindings::ProxyPre;
use wasmtime_wasi_http::p2::bindings::http::types::Scheme;
use wasmtime_wasi_http::p2::body::HyperOutgoingBody;

use crate::engine::{self, Kind, State};

/// Serves `component` on `address`.
pub(crate) async fn serve(component: &Path, address: SocketAddr) -> anyhow::Result<()> {
    let engine = engine::engine(Kind::Plain)?;
    let component = engine::load(&engine, component)?;
    let pre = ProxyPre::new(engine::linker(&engine, Kind::Plain)?.instantiate_pre(&component)?)?;
    let shared = Arc::new((engine, pre));
    crate::serve::serve(address, move |request| {
        let shared = Arc::clone(&shared);
        async move { handle(&shared.0, &shared.1, request).await.unwrap_or_else(|error| panic!("{error:#}")) }
    })
    .await
}

async fn handle(
    engine: &Engine,
    pre: &ProxyPre<State>,
    request: http::Request<hyper::body::Incoming>,
) -> anyhow::Result<http::Response<HyperOutgoingBody>> {
    let (sender, receiver) = tokio::sync::oneshot::channel();
    let mut store = engine::store(engine);
    let request = store.data_mut().http().new_incoming_request(Scheme::Http, request)?;
    let out = store.data_mut().http().new_response_outparam(sender)?;
    let pre = pre.clone();
    let guest = tokio::spawn(async move {
        let proxy = pre.instantiate_async(&mut store).await?;
        proxy.wasi_http_incoming_handler().call_handle(&mut store, request, out).await
    });
    match receiver.await {
        Ok(response) => response.map_err(|code| anyhow!("the guest answered {code:?}")),
        Err(_) => Err(anyhow!("the guest did not answer: {:?}", guest.await)),
    }
}
