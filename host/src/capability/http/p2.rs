//! A request to an actor that exports wasi:http/incoming-handler 0.2: one instance each.

use std::sync::Arc;

use trellis_lattice::error::CallError;
use wasmtime::Store;
use wasmtime_wasi_http::WasiHttpView as _;
use wasmtime_wasi_http::p2::bindings::ProxyPre;
use wasmtime_wasi_http::p2::bindings::http::types::Scheme;

use super::body::ToGuest;
use super::exchange::Exchange;
use crate::runtime::State;

/// Serves `request` in a new instance in `store`. Returns when the guest has; its answer is in `exchange`.
pub(super) async fn handle(
    pre: &ProxyPre<State>,
    store: &mut Store<State>,
    request: http::Request<ToGuest>,
    exchange: &Arc<Exchange>,
) -> wasmtime::Result<()> {
    let scheme = match request.uri().scheme() {
        Some(scheme) if *scheme == http::uri::Scheme::HTTPS => Scheme::Https,
        _ => Scheme::Http,
    };
    let request = store.data_mut().http().new_incoming_request(scheme, request)?;
    let answer = Arc::clone(exchange);
    let actor = store.data().scope.guest.id.clone();
    let outparam = store.data_mut().http().new_response_outparam_from_callback(move |head| {
        answer.answer(head.map_err(|code| {
            tracing::debug!(actor_id = %actor, error = %code, "actor answered with an error");
            CallError::provider(format!("{actor} answered with an error"))
        }));
    })?;
    let proxy = pre.instantiate_async(&mut *store).await?;
    proxy.wasi_http_incoming_handler().call_handle(store, request, outparam).await
}
