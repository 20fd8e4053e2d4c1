//! What is done for a link before and after its actor: limits, answers that need no actor, what browsers are told, and
//! the access log.

use http::header::{HeaderValue, ORIGIN, RETRY_AFTER};
use http::{Method, Request, Response, StatusCode};
use tokio::time::Instant;
use tracing::info;
use trellis_provider_sdk::config::{Form, optional};
use trellis_provider_sdk::{Body, LinkError, StringMap};

use crate::answer;
use crate::cors::{self, Cors};
use crate::fixed::Fixed;
use crate::forward::Route;
use crate::rate::{Bucket, Rate};

const SWITCH: Form<bool> = Form { expected: "`on` or `off`", example: "on", parse: switch };

/// The longest path in the access log.
const MAX_PATH_CHARS: usize = 256;

/// What a link asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FrontConfig {
    fixed: Option<Fixed>,
    cors: Option<Cors>,
    rate: Option<Rate>,
    is_logged: bool,
}

impl FrontConfig {
    /// Reads it from the config of a link.
    pub(crate) fn parse(config: &StringMap) -> Result<Self, LinkError> {
        Ok(Self {
            fixed: Fixed::parse(config)?,
            cors: Cors::parse(config)?,
            rate: Rate::parse(config)?,
            is_logged: optional(config, "access_log", &SWITCH)?.unwrap_or(false),
        })
    }
}

/// Whether `key` of the provider's config is on.
pub(crate) fn is_on(config: &StringMap, key: &str) -> Result<bool, LinkError> {
    Ok(optional(config, key, &SWITCH)?.unwrap_or(false))
}

/// The same for requests.
pub(crate) struct Front {
    config: FrontConfig,
    bucket: Option<Bucket>,
}

impl Front {
    /// What `config` asks for.
    pub(crate) fn new(config: FrontConfig) -> Self {
        let bucket = config.rate.map(Bucket::new);
        Self { config, bucket }
    }

    /// Whether it answers the questions of browsers itself.
    pub(crate) fn has_cors(&self) -> bool {
        self.config.cors.is_some()
    }

    /// Whether it answers all requests itself.
    pub(crate) fn is_fixed(&self) -> bool {
        self.config.fixed.is_some()
    }

    /// The answer, when no actor is needed for it.
    pub(crate) fn answer<B>(&self, host: &str, request: &Request<B>) -> Option<Response<Body>> {
        if let Some(Err(wait)) = self.bucket.as_ref().map(|bucket| bucket.take(Instant::now())) {
            let mut response = answer::text(StatusCode::TOO_MANY_REQUESTS, "too many requests, try again later\n");
            let seconds = wait.as_millis().div_ceil(1_000).clamp(1, 3_600);
            let seconds = HeaderValue::from(u16::try_from(seconds).expect("clamped to an hour"));
            response.headers_mut().insert(RETRY_AFTER, seconds);
            return Some(response);
        }
        if let Some(cors) = &self.config.cors
            && cors::asked_method(request.method(), request.headers()).is_some()
        {
            return Some(cors.preflight(request.headers()));
        }
        self.config.fixed.as_ref().map(|fixed| fixed.answer(host, request.uri()))
    }

    /// Keeps what is needed of a request when its answer is there.
    pub(crate) fn visit<B>(&self, request: &Request<B>) -> Visit {
        let origin = self.config.cors.as_ref().and_then(|_| request.headers().get(ORIGIN).cloned());
        let entry = self.config.is_logged.then(|| Entry {
            method: request.method().clone(),
            path: request.uri().path().chars().take(MAX_PATH_CHARS).collect(),
            begun: Instant::now(),
        });
        Visit { origin, entry }
    }
}

/// A request that is being answered.
pub(crate) struct Visit {
    origin: Option<HeaderValue>,
    entry: Option<Entry>,
}

/// A line of the access log; neither queries nor bodies are in it, which are the client's.
struct Entry {
    method: Method,
    path: String,
    begun: Instant,
}

impl Visit {
    /// Completes the answer, and logs it.
    pub(crate) fn finish(self, route: &Route, mut response: Response<Body>) -> Response<Body> {
        if let Some(cors) = &route.front.config.cors {
            cors.dress(self.origin.as_ref(), response.headers_mut());
        }
        if let Some(Entry { method, path, begun }) = self.entry {
            let duration_ms = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
            let status = response.status().as_u16();
            let Route { link, target, .. } = route;
            info!(link_name = %link, actor_id = %target, %method, path, status, duration_ms, "request answered");
        }
        response
    }
}

fn switch(text: &str) -> Option<bool> {
    match text {
        "on" => Some(true),
        "off" => Some(false),
        _ => None,
    }
}
