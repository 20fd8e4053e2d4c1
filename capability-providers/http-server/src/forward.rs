//! A request to a call, and the answer to a response.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use http::header::{self, HeaderMap, HeaderName};
use http::{Request, Response, StatusCode, Version};
use http_body::Body as _;
use hyper::body::Incoming;
use tracing::{debug, warn};
use trellis_provider_sdk::headers::strip_hop_by_hop;
use trellis_provider_sdk::{
    Answer, Args, Body, Call, CallError, CallErrorKind, Caller, Context, Damper, EntityId, Interface, LinkName, Trace,
    deadline,
};

use crate::answer;
use crate::body::Guarded;
use crate::cors;
use crate::front::Front;
use crate::head;
use crate::health;
use crate::listener::Shared;
use crate::route::{Asked, Found};

const TRACE_PARENT: HeaderName = HeaderName::from_static("traceparent");
const TRACE_STATE: HeaderName = HeaderName::from_static("tracestate");

/// Where the requests of a link go.
pub(crate) struct Route {
    /// The id of the provider.
    pub(crate) source: EntityId,
    /// The link.
    pub(crate) link: LinkName,
    /// Who is called, for the log.
    pub(crate) target: EntityId,
    /// The handler interface that the link names.
    pub(crate) interface: Interface,
    /// `handle`.
    pub(crate) function: Arc<str>,
    /// What calls are made with.
    pub(crate) caller: Arc<dyn Caller>,
    /// Until the response begins.
    pub(crate) timeout: Duration,
    /// The largest request body.
    pub(crate) body_limit_bytes: Option<u64>,
    /// Which of its failures are logged.
    pub(crate) failures: Damper,
    /// What is done before and after the actor.
    pub(crate) front: Front,
}

impl Route {
    /// Whether somebody is there who answers its requests.
    pub(crate) async fn is_answered(&self) -> bool {
        self.front.is_fixed() || self.caller.is_running(&self.link, &self.interface).await
    }
}

impl PartialEq for Route {
    /// A link that is put again is another route.
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self, other)
    }
}

/// Answers one request.
pub(crate) async fn serve(shared: &Shared, request: Request<Incoming>) -> Response<Body> {
    let host = match head::host_of(&request) {
        Ok(host) => host,
        Err((status, text)) => return answer::text(status, text),
    };
    if let Some(answer) = health::answer(shared, request.method(), request.uri().path()).await {
        return answer;
    }
    let route = match find(shared, host, &request) {
        Ok(route) => route,
        Err(answer) => return *answer,
    };
    let visit = route.front.visit(&request);
    let response = match route.front.answer(host, &request) {
        Some(answer) => answer,
        None => forward(shared, &route, request).await.unwrap_or_else(|error| {
            log(&route, &error);
            answer::failure(&error)
        }),
    };
    visit.finish(&route, response)
}

/// The route of a request, or the answer to one that has none.
fn find(shared: &Shared, host: &str, request: &Request<Incoming>) -> Result<Arc<Route>, Box<Response<Body>>> {
    let table = shared.table.load();
    let (path, method, headers) = (request.uri().path(), request.method(), request.headers());
    let asked = Asked { host, path, method, headers };
    // A browser asks on behalf of the request that it is going to send, where the link answers that.
    if let Some(method) = cors::asked_method(method, headers)
        && let Found::Target(split) = table.find(Asked { method: &method, ..asked })
    {
        let route = split.next();
        if route.front.has_cors() {
            return Ok(Arc::clone(route));
        }
    }
    match table.find(asked) {
        Found::Target(split) => Ok(Arc::clone(split.next())),
        Found::OtherMethods(methods) => Err(Box::new(answer::other_methods(&methods))),
        Found::Nothing => {
            let text = "no actor is linked for this host and path\n";
            Err(Box::new(answer::text(StatusCode::NOT_FOUND, text)))
        }
    }
}

async fn forward(shared: &Shared, route: &Route, request: Request<Incoming>) -> Result<Response<Body>, CallError> {
    let (mut parts, incoming) = request.into_parts();
    strip_hop_by_hop(&mut parts.headers);
    let context = Context { trace: trace_of(&parts.headers), ..Context::root(route.timeout) };
    let until = context.deadline;
    let limit = route.body_limit_bytes.unwrap_or(u64::MAX);
    if incoming.size_hint().lower() > limit {
        return Err(CallError::too_large("request body is over the limit of its link"));
    }
    let (body, exceeded) = if incoming.is_end_stream() {
        (Body::Empty, None)
    } else {
        let (mut guarded, exceeded) = Guarded::new(incoming, limit, shared.limits.pace());
        if parts.headers.remove(header::EXPECT).is_some() {
            guarded.begin().await?;
        }
        (Body::stream(guarded), Some(exceeded))
    };
    let call = Call {
        source: route.source.clone(),
        link: route.link.clone(),
        interface: route.interface.clone(),
        function: route.function.clone(),
        signature: None,
        context,
        args: Args::Request(Box::new(parts)),
        body,
    };
    let result = match deadline::by(until, pin!(route.caller.call(call))).await {
        Ok(result) => result,
        Err(_) => Err(CallError::deadline("no response within the timeout of the link")),
    };
    if exceeded.is_some_and(|exceeded| exceeded.load(Ordering::Relaxed)) {
        return Err(CallError::too_large("request body is over the limit of its link"));
    }
    response(result?)
}

fn response(answer: Answer<Args>) -> Result<Response<Body>, CallError> {
    let Args::Response(mut parts) = answer.value else {
        return Err(CallError::contract("target answered a request with something that is no HTTP response"));
    };
    strip_hop_by_hop(&mut parts.headers);
    parts.version = Version::HTTP_11;
    Ok(Response::from_parts(*parts, answer.body))
}

fn trace_of(headers: &HeaderMap) -> Option<Trace> {
    let parent = headers.get(TRACE_PARENT)?.to_str().ok()?;
    if parent.len() != 55 || !parent.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-') {
        return None;
    }
    let state = headers.get(TRACE_STATE).and_then(|state| state.to_str().ok()).filter(|state| state.len() <= 512);
    Some(Trace { parent: parent.into(), state: state.map(Into::into) })
}

fn log(route: &Route, error: &CallError) {
    let Route { link, target, .. } = route;
    match error.kind {
        CallErrorKind::Trap | CallErrorKind::Contract | CallErrorKind::Denied | CallErrorKind::Provider => {
            if let Some(left_out) = route.failures.admit() {
                warn!(%link, %target, kind = ?error.kind, left_out, "request failed: {error}");
            }
        }
        _ => debug!(%link, %target, kind = ?error.kind, "request failed: {error}"),
    }
}
