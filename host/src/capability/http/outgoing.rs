//! Requests that an actor sends: each goes to the router, over the link that covers the interface. Nothing here
//! opens a connection.

use std::sync::LazyLock;
use std::time::Duration;

use http::HeaderName;
use http_body_util::BodyExt as _;
use tokio::time::{Instant, timeout_at};
use trellis_interfaces::http::ErrorCode;
use trellis_lattice::body::Body;
use trellis_lattice::contract::Interface;
use trellis_lattice::error::{CallError, CallErrorKind};
use trellis_lattice::message::invocation::{Answer, Call};
use wasmtime::component::Linker;
use wasmtime_wasi_http::{
    DEFAULT_FORBIDDEN_HEADERS, Error, RequestOptions, WasiBody, WasiHttp, WasiHttpCtxView, WasiHttpHooks, WasiHttpView,
    p2, p3,
};

use super::body::{FromGuest, ToGuest};
use crate::runtime::value::Args;
use crate::runtime::{EngineKind, Scope, State};

static OUTGOING_HANDLER: LazyLock<Interface> = LazyLock::new(|| interface("wasi:http/outgoing-handler@0.2.12"));
static CLIENT: LazyLock<Interface> = LazyLock::new(|| interface("wasi:http/client@0.3.0"));

fn interface(name: &str) -> Interface {
    Interface::parse(name).expect("the name is well formed")
}

/// The largest piece of a body that is taken from a guest at once.
const CHUNK_BYTES: usize = 64 << 10;
/// Pieces of a body that wait for their reader before the guest has to.
const CHUNKS: usize = 7;

/// Through which interface an instance last asked for a request to be sent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Via {
    /// wasi:http 0.2.
    #[default]
    OutgoingHandler,
    /// wasi:http 0.3.
    Client,
}

/// Defines the interfaces that actors import: types and outgoing-handler of 0.2, types and client of 0.3.
pub(crate) fn add_to_linker(linker: &mut Linker<State>, kind: EngineKind) -> wasmtime::Result<()> {
    let options = p2::bindings::LinkOptions::default();
    p2::bindings::http::types::add_to_linker::<_, WasiHttp>(linker, &(&options).into(), State::http)?;
    p2::bindings::http::outgoing_handler::add_to_linker::<_, WasiHttp>(linker, via_outgoing_handler)?;
    if kind == EngineKind::Concurrent {
        p3::bindings::http::types::add_to_linker::<_, WasiHttp>(linker, State::http)?;
        p3::bindings::http::client::add_to_linker::<_, WasiHttp>(linker, via_client)?;
    }
    Ok(())
}

fn via_outgoing_handler(state: &mut State) -> WasiHttpCtxView<'_> {
    state.scope.via = Via::OutgoingHandler;
    state.http()
}

fn via_client(state: &mut State) -> WasiHttpCtxView<'_> {
    state.scope.via = Via::Client;
    state.http()
}

impl WasiHttpView for State {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        WasiHttpCtxView { hooks: &mut self.scope, table: &mut self.table, ctx: &mut self.http }
    }
}

type Io = Box<dyn Future<Output = Result<(), Error>> + Send>;
type Sent = Result<(http::Response<WasiBody>, Io), Error>;

impl WasiHttpHooks for Scope {
    fn is_forbidden_header(&mut self, name: &HeaderName) -> bool {
        DEFAULT_FORBIDDEN_HEADERS.contains(name)
    }

    fn send_request(
        &mut self,
        request: http::Request<WasiBody>,
        options: Option<RequestOptions>,
        _processed: Io,
    ) -> Box<dyn Future<Output = Sent> + Send> {
        let call = self.call_of(request, options.unwrap_or_default());
        let router = self.guest.router.clone();
        Box::new(async move {
            let answer = timeout_at(call.context.deadline, router.call(call)).await;
            response(answer.map_err(|_| Error::HttpResponseTimeout)?.map_err(error_to_guest)?)
        })
    }

    fn p2_outgoing_body_buffer_chunks(&mut self) -> usize {
        CHUNKS
    }

    fn p2_outgoing_body_chunk_size(&mut self) -> usize {
        CHUNK_BYTES
    }

    fn p3_outgoing_body_chunk_size(&mut self) -> usize {
        CHUNK_BYTES
    }
}

impl Scope {
    fn call_of(&self, request: http::Request<WasiBody>, options: RequestOptions) -> Call<Args> {
        let interface = match self.via {
            Via::OutgoingHandler => &*OUTGOING_HANDLER,
            Via::Client => &*CLIENT,
        };
        let mut context = self.context.nested();
        if let Some(limit) = first_byte_limit(options) {
            context.deadline = context.deadline.min(Instant::now() + limit);
        }
        let (parts, body) = request.into_parts();
        let body = if http_body::Body::is_end_stream(&body) { Body::Empty } else { Body::stream(FromGuest(body)) };
        Call {
            source: self.guest.id.clone(),
            link: self.link_for(interface),
            interface: interface.clone(),
            function: trellis_interfaces::http::HANDLE.into(),
            signature: None,
            context,
            args: Args::Request(Box::new(parts)),
            body,
        }
    }
}

fn first_byte_limit(options: RequestOptions) -> Option<Duration> {
    let first_byte = options.first_byte_timeout?;
    Some(first_byte.saturating_add(options.connect_timeout.unwrap_or_default()).min(Duration::from_secs(86_400)))
}

fn response(answer: Answer<Args>) -> Sent {
    let Args::Response(parts) = answer.value else { return Err(Error::HttpProtocolError) };
    let body = ToGuest(answer.body).boxed_unsync();
    Ok((http::Response::from_parts(*parts, body), Box::new(std::future::ready(Ok(())))))
}

/// What a guest sees of a call that failed.
pub(super) fn error_to_guest(error: CallError) -> Error {
    if let Some(code) = ErrorCode::of(&error.message) {
        return code_to_guest(code);
    }
    match error.kind {
        CallErrorKind::NoTarget => Error::DestinationNotFound,
        CallErrorKind::Denied => Error::HttpRequestDenied,
        CallErrorKind::Deadline => Error::HttpResponseTimeout,
        CallErrorKind::Overloaded => Error::ConnectionLimitReached,
        CallErrorKind::BreakerOpen => Error::DestinationUnavailable,
        CallErrorKind::TooLarge => Error::HttpRequestBodySize(None),
        CallErrorKind::Cancelled | CallErrorKind::UnknownOutcome => Error::ConnectionTerminated,
        CallErrorKind::Contract => Error::HttpProtocolError,
        CallErrorKind::Trap | CallErrorKind::Provider => Error::InternalError(Some(error.message)),
    }
}

fn code_to_guest(code: ErrorCode) -> Error {
    match code {
        ErrorCode::DnsTimeout => Error::DnsTimeout,
        ErrorCode::DnsError => Error::DnsError { rcode: None, info_code: None },
        ErrorCode::DestinationUnavailable => Error::DestinationUnavailable,
        ErrorCode::DestinationIpProhibited => Error::DestinationIpProhibited,
        ErrorCode::ConnectionRefused => Error::ConnectionRefused,
        ErrorCode::ConnectionTerminated => Error::ConnectionTerminated,
        ErrorCode::ConnectionTimeout => Error::ConnectionTimeout,
        ErrorCode::ConnectionReadTimeout => Error::ConnectionReadTimeout,
        ErrorCode::ConnectionLimitReached => Error::ConnectionLimitReached,
        ErrorCode::TlsProtocolError => Error::TlsProtocolError,
        ErrorCode::TlsCertificateError => Error::TlsCertificateError,
        ErrorCode::HttpRequestDenied => Error::HttpRequestDenied,
        ErrorCode::HttpRequestMethodInvalid => Error::HttpRequestMethodInvalid,
        ErrorCode::HttpRequestUriInvalid => Error::HttpRequestUriInvalid,
        ErrorCode::HttpResponseIncomplete => Error::HttpResponseIncomplete,
        ErrorCode::HttpResponseBodySize => Error::HttpResponseBodySize(None),
        ErrorCode::HttpProtocolError => Error::HttpProtocolError,
        ErrorCode::LoopDetected => Error::LoopDetected,
    }
}

#[cfg(test)]
mod tests {
    use super::{CallError, Error, ErrorCode, error_to_guest};

    #[test]
    fn a_guest_sees_the_code_of_the_message_or_else_the_kind() {
        let coded = CallError::denied(ErrorCode::DestinationIpProhibited.describe("host is at 127.0.0.1"));
        assert!(matches!(error_to_guest(coded), Error::DestinationIpProhibited));
        let coded = CallError::no_target(ErrorCode::ConnectionRefused.describe("nobody listens"));
        assert!(matches!(error_to_guest(coded), Error::ConnectionRefused));
        assert!(matches!(error_to_guest(CallError::denied("no link")), Error::HttpRequestDenied));
        let own = error_to_guest(CallError::provider("the other actor: failed"));
        assert!(matches!(own, Error::InternalError(Some(message)) if message.ends_with("failed")));
    }
}
