//! The client of one link: its pool of connections, and a request from the check of its target to the head of its answer.

use std::sync::Arc;
use std::time::Duration;

use http::header::{self, HeaderMap, HeaderValue};
use http::{Method, Request, Version, request};
use http_body::Body as _;
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout_at};
use trellis_interfaces::http::ErrorCode;
use trellis_provider_sdk::headers::strip_hop_by_hop;
use trellis_provider_sdk::{Answer, Args, Body, CallError, CallErrorKind, LinkError};

use crate::body::Received;
use crate::config::LinkConfig;
use crate::connect::Connector;
use crate::failure::{failure, protocol, sending};
use crate::redirect::{self, Sent};
use crate::resolve::Resolver;
use crate::target::Target;

/// Connections to one target that wait for the next request.
const IDLE_PER_TARGET: usize = 128;
/// The largest head of a response, and what is read of an HTTP/1.1 body at once.
const BUFFER_BYTES: usize = 64 << 10;
/// Header fields of a response.
const MAX_FIELDS: usize = 128;
/// What one HTTP/2 response, and all of a connection, may send ahead of their readers.
const STREAM_WINDOW_BYTES: u32 = 256 << 10;
const CONNECTION_WINDOW_BYTES: u32 = 2 << 20;
/// How often a server on HTTP/2 with requests open is asked whether it is there, and how long it has to say so.
const PING: Duration = Duration::from_secs(20);

/// When to come again after too many requests at once.
const LATER: Duration = Duration::from_millis(100);

/// Sends the requests of one link. No other link uses its connections.
pub(crate) struct LinkClient {
    /// As the link says it.
    pub(crate) config: LinkConfig,
    client: Client<Connector, Body>,
    slots: Arc<Semaphore>,
}

impl LinkClient {
    /// A client without connections.
    pub(crate) async fn new(config: LinkConfig, resolver: Resolver) -> Result<Self, LinkError> {
        let roots = config.tls_roots.clone();
        let tls = tokio::task::spawn_blocking(move || roots.config()).await;
        let tls = tls.map_err(|error| LinkError::Unavailable(format!("reading `tls_roots` broke off: {error}")))??;
        let connector = Connector::new(tls, resolver, config.grants.clone().into(), config.connect_timeout);
        let client = Client::builder(TokioExecutor::new())
            .timer(TokioTimer::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(config.keep_alive)
            .pool_max_idle_per_host(IDLE_PER_TARGET)
            .http1_max_buf_size(BUFFER_BYTES)
            .http1_max_headers(MAX_FIELDS)
            .http2_max_header_list_size(u32::try_from(BUFFER_BYTES).expect("64 KiB"))
            .http2_initial_stream_window_size(STREAM_WINDOW_BYTES)
            .http2_initial_connection_window_size(CONNECTION_WINDOW_BYTES)
            .http2_keep_alive_interval(PING)
            .http2_keep_alive_timeout(PING)
            .build(connector);
        let slots = Arc::new(Semaphore::new(config.max_requests));
        Ok(Self { config, client, slots })
    }

    /// Sends a request and answers with the head of the response; its body follows as it is read. `held` is dropped when
    /// the body is.
    pub(crate) async fn send<H: Send + Unpin + 'static>(
        &self,
        parts: request::Parts,
        body: Body,
        deadline: Instant,
        held: H,
    ) -> Result<Answer<Args>, CallError> {
        let slot = self.slots.clone().try_acquire_owned().map_err(|_| self.overloaded())?;
        let first_byte = self.config.first_byte_timeout.map(|limit| Instant::now() + limit);
        let deadline = first_byte.map_or(deadline, |first_byte| first_byte.min(deadline));
        match timeout_at(deadline, self.follow(parts, body)).await {
            Ok(response) => self.answer(response?, (slot, held)),
            Err(_) => Err(CallError::deadline("no response in time")),
        }
    }

    /// Asks, and asks again as redirects say.
    async fn follow(&self, mut parts: request::Parts, body: Body) -> Result<http::Response<Incoming>, CallError> {
        clean(&mut parts, &body)?;
        let mut body = Some(body).filter(|body| !body.is_end_stream());
        for _ in 0..=self.config.redirects {
            let target = self.target(&parts)?;
            parts.uri = target.uri(parts.uri.path_and_query())?;
            let sent = if body.is_some() { Sent::Body } else { Sent::Head };
            let again = (self.config.redirects > 0).then(|| parts.clone());
            let request = Request::from_parts(parts, body.take().unwrap_or_default());
            let response = self.client.request(request).await.map_err(|error| sending(&error, &target))?;
            let (head, incoming) = response.into_parts();
            match again.and_then(|asked| redirect::next(&asked, sent, &head)) {
                Some(next) => parts = next,
                None => return Ok(http::Response::from_parts(head, incoming)),
            }
        }
        let text = format_args!("more than the {} redirects that the link allows", self.config.redirects);
        Err(failure(CallErrorKind::Provider, ErrorCode::LoopDetected, text))
    }

    /// Where a request is to go, if it may.
    fn target(&self, parts: &request::Parts) -> Result<Target, CallError> {
        let target = Target::of(&parts.uri)?;
        match self.config.allow.iter().any(|entry| entry.covers(&target)) {
            true => Ok(target),
            false => Err(failure(
                CallErrorKind::Denied,
                ErrorCode::HttpRequestDenied,
                format_args!("{target} is not among the hosts that `allow` of the link names"),
            )),
        }
    }

    fn answer<H: Send + Unpin + 'static>(
        &self,
        response: http::Response<Incoming>,
        held: (OwnedSemaphorePermit, H),
    ) -> Result<Answer<Args>, CallError> {
        let (mut head, incoming) = response.into_parts();
        if head.status.is_informational() {
            return Err(protocol(format_args!("the server answered {}, which ends no exchange", head.status)));
        }
        strip_hop_by_hop(&mut head.headers);
        head.version = Version::HTTP_11;
        head.extensions.clear();
        let limit = self.config.response_limit_bytes.unwrap_or(u64::MAX);
        let body = if incoming.is_end_stream() {
            Body::Empty
        } else {
            Body::stream(Received::new(incoming, limit, self.config.idle_timeout, held)?)
        };
        Ok(Answer { value: Args::Response(Box::new(head)), body })
    }

    fn overloaded(&self) -> CallError {
        let text = format!("{} requests of the link are under way, as many as it allows", self.config.max_requests);
        CallError::overloaded(ErrorCode::ConnectionLimitReached.describe(text), LATER)
    }
}

/// Leaves of a request what is the actor's to say: framing, hops and the host are the connection's.
fn clean(parts: &mut request::Parts, body: &Body) -> Result<(), CallError> {
    if parts.method == Method::CONNECT {
        let text = "CONNECT asks for a tunnel, not for a resource";
        return Err(failure(CallErrorKind::Denied, ErrorCode::HttpRequestMethodInvalid, text));
    }
    strip_hop_by_hop(&mut parts.headers);
    for name in [header::HOST, header::EXPECT, header::PROXY_AUTHORIZATION] {
        parts.headers.remove(name);
    }
    parts.version = Version::HTTP_11;
    parts.extensions.clear();
    check_length(&mut parts.headers, body)
}

/// A length that the actor says has to be one, and is left out where the body knows it better.
fn check_length(headers: &mut HeaderMap, body: &Body) -> Result<(), CallError> {
    let is_number = |value: &HeaderValue| value.as_bytes().iter().all(u8::is_ascii_digit) && !value.is_empty();
    let mut lengths = headers.get_all(header::CONTENT_LENGTH).iter();
    match (lengths.next(), lengths.next()) {
        (None, _) => {}
        (Some(length), None) if is_number(length) => {}
        _ => return Err(protocol("the request has a Content-Length that is no number, or several")),
    }
    if body.size_hint().exact().is_some() {
        headers.remove(header::CONTENT_LENGTH);
    }
    Ok(())
}
