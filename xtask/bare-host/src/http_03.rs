//! wasi:http 0.3 with instance reuse, one request at a time in each instance.

use std::net::SocketAddr;
use std::path::Path;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Instant;

use http_body_util::BodyExt as _;
use wasmtime::component::GuestTaskId;
use wasmtime::{Engine, Store, StoreContextMut};
use wasmtime_wasi_http::handler::{
    HandlerState, Instance, Proxy, ProxyHandler, ShouldAccept, WorkerExpiration, WorkerState, WorkerStatus,
};
use wasmtime_wasi_http::p3::bindings::ServicePre;
use wasmtime_wasi_http::{Error, WasiHttpView as _};

use crate::engine::{self, Kind, State};

/// Serves `component` on `address`.
pub(crate) async fn serve(component: &Path, address: SocketAddr) -> anyhow::Result<()> {
    let engine = engine::engine(Kind::Concurrent)?;
    let component = engine::load(&engine, component)?;
    let pre = ServicePre::new(engine::linker(&engine, Kind::Concurrent)?.instantiate_pre(&component)?)?;
    let handler = ProxyHandler::new(Handler { engine, pre });
    crate::serve::serve(address, move |request| {
        let handler = handler.clone();
        async move {
            let request = request.map(|body| body.map_err(Error::from).boxed_unsync());
            handler.handle((), request).await.unwrap_or_else(|error| panic!("{error:#}"))
        }
    })
    .await
}

struct Handler {
    engine: Engine,
    pre: ServicePre<State>,
}

impl HandlerState for Handler {
    type StoreData = State;
    type WorkerExpiration = Never;
    type WorkerState = OneAtATime;

    async fn instantiate(&self) -> wasmtime::Result<Instance<State, Never, OneAtATime>> {
        let mut store = engine::store(&self.engine);
        let service = self.pre.instantiate_async(&mut store).await?;
        Ok(Instance { store, proxy: Proxy::P3(service), view: State::http, expiration: Never, state: OneAtATime })
    }
}

struct Never;

impl WorkerExpiration for Never {
    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>, _: WorkerStatus, _: Instant) -> Poll<()> {
        Poll::Pending
    }
}

struct OneAtATime;

impl WorkerState for OneAtATime {
    type StoreData = State;
    type RequestData = ();

    fn should_accept_request(&self, concurrent_count: usize, _: usize) -> ShouldAccept {
        if concurrent_count == 0 { ShouldAccept::Yes } else { ShouldAccept::No }
    }

    fn on_request_start(
        &self,
        _: StoreContextMut<'_, State>,
        (): (),
        _: GuestTaskId,
    ) -> Pin<Box<dyn Future<Output = ()> + Send + Sync>> {
        Box::pin(std::future::pending())
    }

    fn drop(&self, _: Store<State>, _: wasmtime::Result<()>) {}
}
