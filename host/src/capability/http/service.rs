//! Serves HTTP requests with instances of one actor.
//!
//! The guest is polled by the call itself until its answer's head is there, which is all there is to most requests.
//! A guest that writes on then gets a task of its own.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll};

use http::uri::{Authority, Scheme};
use tokio::task::AbortHandle;
use tokio_util::sync::{CancellationToken, DropGuard};
use trellis_lattice::body::Body;
use trellis_lattice::deadline;
use trellis_lattice::error::CallError;
use trellis_lattice::message::invocation::{Answer, Context};
use wasmtime::component::InstancePre;
use wasmtime_wasi_http::{p2 as wasi_p2, p3 as wasi_p3};

use super::answer::Reader;
use super::body::ToGuest;
use super::exchange::{Ending, Exchange, Response};
use super::{p2, p3};
use crate::actor::Permit;
use crate::runtime::value::Args;
use crate::runtime::{HTTP_FIELDS, State, Template};

/// The execution of a guest for one request. It keeps the permit and the store until it is over or dropped.
pub(super) type Run = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Serves HTTP requests with instances of one actor.
pub(crate) struct Service {
    export: Export,
    template: Arc<Template>,
    /// Ends the guests that still run when the service is dropped.
    over: CancellationToken,
    _ends: DropGuard,
}

enum Export {
    /// wasi:http/incoming-handler 0.2.
    IncomingHandler(Arc<wasi_p2::bindings::ProxyPre<State>>),
    /// wasi:http/handler 0.3.
    Handler(Arc<wasi_p3::bindings::ServicePre<State>>, Arc<p3::Idle>),
}

impl Service {
    /// The service of a component that exports wasi:http/incoming-handler 0.2 or wasi:http/handler 0.3; `None` for
    /// one that exports neither.
    ///
    /// # Errors
    /// When the export is not of the type that its name promises.
    pub(crate) fn of(pre: &InstancePre<State>, template: Arc<Template>) -> wasmtime::Result<Option<Self>> {
        let exports = |name: &str| pre.component().get_export_index(None, name).is_some();
        let export = if exports("wasi:http/handler@0.3.0") {
            let pre = wasi_p3::bindings::ServicePre::new(pre.clone())?;
            Export::Handler(Arc::new(pre), Arc::default())
        } else if exports("wasi:http/incoming-handler@0.2.0") {
            Export::IncomingHandler(Arc::new(wasi_p2::bindings::ProxyPre::new(pre.clone())?))
        } else {
            return Ok(None);
        };
        let over = CancellationToken::new();
        Ok(Some(Self { export, template, _ends: over.clone().drop_guard(), over }))
    }

    /// Serves one request. The permit is given back when the guest is done with it, which may be later than the end
    /// of the answer's body; dropping the future or the body before their end ends the guest.
    ///
    /// # Errors
    /// `Contract` for a request without a host; `Trap`, also when the guest returns without an answer; `Deadline`.
    /// A guest that fails later makes the body fail.
    pub(crate) async fn call(
        &self,
        permit: Permit,
        context: Context,
        mut parts: Box<http::request::Parts>,
        body: Body,
    ) -> Result<Answer<Args>, CallError> {
        check_fields(&parts.headers, CallError::too_large)?;
        complete_uri(&mut parts)?;
        let request = http::Request::from_parts(*parts, ToGuest(body));
        let exchange = Arc::new(Exchange::default());
        let ended = permit.ended();
        let mut run = self.run(permit, context, request, &exchange);
        let (response, is_over) = poll_fn(|cx| poll_answer(&mut run, &exchange, cx)).await?;
        let (parts, body) = response.into_parts();
        check_fields(&parts.headers, CallError::provider)?;
        let mut reader = Reader::new(&parts.headers, body, exchange);
        let run = reader.read_on((!is_over).then_some(run)).await?;
        if let Some(run) = run {
            reader.set_guest(self.spawn(run, ended));
        }
        let body = reader.into_body();
        Ok(Answer { value: Args::Response(Box::new(parts)), body })
    }

    /// Lets a guest run on until it is done, its actor is gone, or a drain took too long.
    fn spawn(&self, mut run: Run, ended: impl Future<Output = ()> + Send + 'static) -> AbortHandle {
        let over = self.over.clone();
        let task = tokio::spawn(async move {
            tokio::select! {
                () = &mut run => {}
                () = over.cancelled() => {}
                () = ended => {}
            }
        });
        task.abort_handle()
    }

    fn run(&self, permit: Permit, context: Context, request: http::Request<ToGuest>, exchange: &Arc<Exchange>) -> Run {
        let template = Arc::clone(&self.template);
        let exchange = Arc::clone(exchange);
        let until = context.deadline;
        match &self.export {
            Export::IncomingHandler(pre) => {
                let pre = Arc::clone(pre);
                Box::pin(async move {
                    let _permit = permit;
                    let mut store = template.store(context);
                    let ending = Ending::of(&exchange, template.guest());
                    let handled = pin!(p2::handle(&pre, &mut store, request, &exchange));
                    ending.settle(deadline::by(until, handled).await);
                })
            }
            Export::Handler(pre, idle) => {
                let (pre, idle) = (Arc::clone(pre), Arc::clone(idle));
                Box::pin(async move {
                    let _permit = permit;
                    let mut instance = idle.take(&template, &context);
                    let ending = Ending::of(&exchange, template.guest());
                    let handling = async {
                        let instance = match &mut instance {
                            Some(instance) => instance,
                            none => none.insert(p3::Instance::new(&pre, template.store(context)).await?),
                        };
                        instance.handle(request, &exchange).await
                    };
                    let handled = deadline::by(until, pin!(handling)).await;
                    let is_sound = matches!(handled, Ok(Ok(())));
                    ending.settle(handled);
                    if let (true, Some(instance)) = (is_sound, instance) {
                        idle.put(instance);
                    }
                })
            }
        }
    }
}

/// Polls the guest until its answer is there; says as well whether the guest is done.
fn poll_answer(
    run: &mut Run,
    exchange: &Exchange,
    cx: &mut TaskContext<'_>,
) -> Poll<Result<(Response, bool), CallError>> {
    let is_over = run.as_mut().poll(cx).is_ready();
    let answer = exchange.take_answer();
    if let (true, Some(failure)) = (is_over, exchange.failure()) {
        return Poll::Ready(Err(failure.clone()));
    }
    match answer {
        Some(answer) => Poll::Ready(answer.map(|response| (response, is_over))),
        None if is_over => Poll::Ready(Err(CallError::trap("the actor returned without an answer"))),
        None => Poll::Pending,
    }
}

/// No message has more fields than others could take in.
fn check_fields(fields: &http::HeaderMap, error: fn(String) -> CallError) -> Result<(), CallError> {
    if fields.len() <= HTTP_FIELDS {
        return Ok(());
    }
    Err(error(format!("a message has {} HTTP header fields, more than {HTTP_FIELDS}", fields.len())))
}

/// A guest is told the authority and the scheme; a request of HTTP/1.1 has the one in its `Host` header only.
fn complete_uri(parts: &mut http::request::Parts) -> Result<(), CallError> {
    if parts.uri.authority().is_some() {
        return Ok(());
    }
    let host = parts.headers.get(http::header::HOST).ok_or_else(|| CallError::contract("request has no host"))?;
    let authority = Authority::try_from(host.as_bytes()).ok().filter(|authority| !authority.as_str().contains('@'));
    let authority = authority
        .ok_or_else(|| CallError::contract("request has a host that is not one: expected `name` or `name:port`"))?;
    let mut uri = std::mem::take(&mut parts.uri).into_parts();
    uri.authority = Some(authority);
    uri.scheme.get_or_insert(Scheme::HTTP);
    if uri.path_and_query.as_ref().is_none_or(|path| path.as_str() == "*") {
        uri.path_and_query = Some(http::uri::PathAndQuery::from_static("/"));
    }
    parts.uri = http::Uri::from_parts(uri).map_err(|_| CallError::contract("request has a target that is no path"))?;
    Ok(())
}
