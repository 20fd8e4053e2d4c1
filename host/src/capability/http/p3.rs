//! Requests to an actor that exports wasi:http/handler 0.3. An instance serves one request at a time, so that its
//! store belongs to that request, and then the next one.

use std::future::poll_fn;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use tokio::time::Instant;
use trellis_lattice::error::CallError;
use trellis_lattice::message::invocation::Context;
use wasmtime::Store;
use wasmtime::component::Accessor;
use wasmtime_wasi_http::p3::Request;
use wasmtime_wasi_http::p3::bindings::{Service, ServicePre};
use wasmtime_wasi_http::{Error, FieldMap, WasiHttpView as _};

use super::body::ToGuest;
use super::exchange::Exchange;
use crate::runtime::{State, Template};

/// How long an instance is kept without a request.
const IDLE: Duration = Duration::from_secs(10);
/// How many instances of an actor are kept without a request.
const MAX_IDLE: usize = 32;

/// An instance and its store.
pub(super) struct Instance {
    pub(super) store: Store<State>,
    service: Service,
}

impl Instance {
    /// A new one.
    pub(super) async fn new(pre: &ServicePre<State>, mut store: Store<State>) -> wasmtime::Result<Self> {
        let service = pre.instantiate_async(&mut store).await?;
        Ok(Self { store, service })
    }

    /// Serves `request`. Returns when the guest's tasks have ended and its body is read; the answer is in `exchange`.
    /// After an error, or when it was dropped halfway, the instance must not be used again.
    pub(super) async fn handle(
        &mut self,
        request: http::Request<ToGuest>,
        exchange: &Exchange,
    ) -> wasmtime::Result<()> {
        let Self { store, service } = self;
        store.run_concurrent(async |accessor| serve(accessor, service, request, exchange).await).await?
    }
}

async fn serve(
    accessor: &Accessor<State>,
    service: &Service,
    request: http::Request<ToGuest>,
    exchange: &Exchange,
) -> wasmtime::Result<()> {
    let (request, received) = accessor.with(|mut access| {
        let view = access.data_mut().http();
        let (parts, body) = request.into_parts();
        let fields = FieldMap::new_immutable(view.hooks, parts.headers);
        let uri = parts.uri.into_parts();
        let (request, received) =
            Request::new(parts.method, uri.scheme, uri.authority, uri.path_and_query, fields, None, body);
        wasmtime::error::Ok((view.table.push(request)?, received))
    })?;
    match service.wasi_http_handler().call_handle(accessor, request).await? {
        Ok(response) => {
            let response = accessor.with(|mut access| {
                let response = access.data_mut().http().table.delete(response)?;
                response.into_http(&mut access, received)
            })?;
            exchange.answer(Ok(response));
            exchange.read().await;
        }
        Err(code) => {
            let error: Error = code.into();
            let actor = accessor.with(|mut access| access.data_mut().scope.guest.id.clone());
            tracing::debug!(actor_id = %actor, error = %error, "actor answered with an error");
            exchange.answer(Err(CallError::provider(format!("{actor} answered with an error"))));
        }
    }
    poll_fn(|cx| accessor.poll_no_interesting_tasks(cx)).await;
    Ok(())
}

/// The instances of an actor that serve no request now.
#[derive(Default)]
pub(super) struct Idle {
    /// A lock because any call may take or return one; never held but for that.
    instances: Mutex<Shelf>,
}

#[derive(Default)]
struct Shelf {
    /// The one used last is at the end.
    instances: Vec<(Instant, Instance)>,
    is_swept: bool,
}

impl Idle {
    /// The one that was used last, if there is one, now on behalf of `context`.
    pub(super) fn take(&self, template: &Template, context: &Context) -> Option<Instance> {
        let mut instance = self.shelf(|shelf| shelf.instances.pop())?.1;
        template.renew(&mut instance.store, context.clone());
        Some(instance)
    }

    /// Keeps `instance` for the next request.
    pub(super) fn put(self: &Arc<Self>, instance: Instance) {
        let (excess, sweeps) = self.shelf(|shelf| {
            if shelf.instances.len() >= MAX_IDLE {
                return (Some(instance), false);
            }
            shelf.instances.push((Instant::now(), instance));
            (None, !std::mem::replace(&mut shelf.is_swept, true))
        });
        drop(excess);
        if sweeps {
            // It ends by itself when the shelf is empty or gone.
            tokio::spawn(sweep(Arc::downgrade(self)));
        }
    }

    fn shelf<R>(&self, f: impl FnOnce(&mut Shelf) -> R) -> R {
        f(&mut self.instances.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

async fn sweep(idle: Weak<Idle>) {
    loop {
        tokio::time::sleep(IDLE / 2).await;
        let Some(idle) = idle.upgrade() else { return };
        let (expired, is_empty) = idle.shelf(|shelf| {
            let fresh = shelf.instances.partition_point(|(since, _)| since.elapsed() >= IDLE);
            let expired: Vec<_> = shelf.instances.drain(..fresh).collect();
            shelf.is_swept = !shelf.instances.is_empty();
            (expired, shelf.instances.is_empty())
        });
        drop(expired);
        if is_empty {
            return;
        }
    }
}
