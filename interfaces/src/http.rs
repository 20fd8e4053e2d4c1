//! wasi:http as it travels: the heads of messages. Bodies travel beside them.

use std::fmt;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, request, response};
use serde::{Deserialize, Serialize};

/// The interface of an actor that answers requests, wasi:http 0.2; the version is the actor's.
pub const INCOMING_HANDLER: &str = "wasi:http/incoming-handler";

/// The interface of an actor that answers requests, wasi:http 0.3; the version is the actor's.
pub const HANDLER: &str = "wasi:http/handler";

/// The interface that actors send requests through, wasi:http 0.2; the version is the actor's.
pub const OUTGOING_HANDLER: &str = "wasi:http/outgoing-handler";

/// The interface that actors send requests through, wasi:http 0.3; the version is the actor's.
pub const CLIENT: &str = "wasi:http/client";

/// The function of both handlers.
pub const HANDLE: &str = "handle";

/// How sending a request failed, in the words of `error-code` of wasi:http, where the kind of a call error says less. It
/// travels as the beginning of the error's message: `connection-refused: …`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorCode {
    /// Nobody resolved the name in time.
    DnsTimeout,
    /// The name has no address.
    DnsError,
    /// No way to the host.
    DestinationUnavailable,
    /// The host has an address that may not be reached.
    DestinationIpProhibited,
    /// Nobody listens there.
    ConnectionRefused,
    /// The connection ended.
    ConnectionTerminated,
    /// Nobody accepted in time.
    ConnectionTimeout,
    /// The other side stopped sending.
    ConnectionReadTimeout,
    /// Too many at once.
    ConnectionLimitReached,
    /// No TLS with the other side.
    TlsProtocolError,
    /// The other side is not who it says.
    TlsCertificateError,
    /// The request is not one that may be sent.
    HttpRequestDenied,
    /// Its method is none.
    HttpRequestMethodInvalid,
    /// Its URI is none.
    HttpRequestUriInvalid,
    /// The response ended before its end.
    HttpResponseIncomplete,
    /// The body of the response is over its limit.
    HttpResponseBodySize,
    /// What was said is not HTTP.
    HttpProtocolError,
    /// Too many redirects.
    LoopDetected,
}

impl ErrorCode {
    const NAMES: [(Self, &'static str); 18] = [
        (Self::DnsTimeout, "DNS-timeout"),
        (Self::DnsError, "DNS-error"),
        (Self::DestinationUnavailable, "destination-unavailable"),
        (Self::DestinationIpProhibited, "destination-IP-prohibited"),
        (Self::ConnectionRefused, "connection-refused"),
        (Self::ConnectionTerminated, "connection-terminated"),
        (Self::ConnectionTimeout, "connection-timeout"),
        (Self::ConnectionReadTimeout, "connection-read-timeout"),
        (Self::ConnectionLimitReached, "connection-limit-reached"),
        (Self::TlsProtocolError, "TLS-protocol-error"),
        (Self::TlsCertificateError, "TLS-certificate-error"),
        (Self::HttpRequestDenied, "HTTP-request-denied"),
        (Self::HttpRequestMethodInvalid, "HTTP-request-method-invalid"),
        (Self::HttpRequestUriInvalid, "HTTP-request-URI-invalid"),
        (Self::HttpResponseIncomplete, "HTTP-response-incomplete"),
        (Self::HttpResponseBodySize, "HTTP-response-body-size"),
        (Self::HttpProtocolError, "HTTP-protocol-error"),
        (Self::LoopDetected, "loop-detected"),
    ];

    /// A message that begins with the code.
    pub fn describe(self, message: impl fmt::Display) -> String {
        let name = Self::NAMES.iter().find(|(code, _)| *code == self).map_or("", |(_, name)| name);
        format!("{name}: {message}")
    }

    /// The code that a message begins with.
    pub fn of(message: &str) -> Option<Self> {
        let (start, _) = message.split_once(": ")?;
        Self::NAMES.iter().find(|(_, name)| *name == start).map(|(code, _)| *code)
    }
}

/// Headers in order; a name that comes several times has several entries.
pub type Headers = Vec<(String, Bytes)>;

/// The head of a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequestHead {
    /// E.g. `GET`.
    pub method: String,
    /// As it came: `/path?query`, or with scheme and authority.
    pub uri: String,
    /// Its headers.
    pub headers: Headers,
}

/// The head of a response.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResponseHead {
    /// 100 to 999.
    pub status: u16,
    /// Its headers.
    pub headers: Headers,
}

/// A head that HTTP does not allow.
#[derive(Debug, thiserror::Error)]
#[error("HTTP head has a wrong {part}: {source}")]
pub struct InvalidHead {
    part: &'static str,
    source: http::Error,
}

impl InvalidHead {
    fn of<E: Into<http::Error>>(part: &'static str) -> impl Fn(E) -> Self {
        move |source| Self { part, source: source.into() }
    }
}

impl From<&request::Parts> for RequestHead {
    fn from(parts: &request::Parts) -> Self {
        Self {
            method: parts.method.as_str().to_owned(),
            uri: parts.uri.to_string(),
            headers: plain_headers(&parts.headers),
        }
    }
}

impl TryFrom<RequestHead> for request::Parts {
    type Error = InvalidHead;

    fn try_from(head: RequestHead) -> Result<Self, InvalidHead> {
        let (mut parts, ()) = http::Request::new(()).into_parts();
        parts.method = Method::from_bytes(head.method.as_bytes()).map_err(InvalidHead::of("method"))?;
        parts.uri = Uri::try_from(head.uri).map_err(InvalidHead::of("uri"))?;
        parts.headers = header_map(head.headers)?;
        Ok(parts)
    }
}

impl From<&response::Parts> for ResponseHead {
    fn from(parts: &response::Parts) -> Self {
        Self { status: parts.status.as_u16(), headers: plain_headers(&parts.headers) }
    }
}

impl TryFrom<ResponseHead> for response::Parts {
    type Error = InvalidHead;

    fn try_from(head: ResponseHead) -> Result<Self, InvalidHead> {
        let (mut parts, ()) = http::Response::new(()).into_parts();
        parts.status = StatusCode::from_u16(head.status).map_err(InvalidHead::of("status"))?;
        parts.headers = header_map(head.headers)?;
        Ok(parts)
    }
}

fn plain_headers(headers: &HeaderMap) -> Headers {
    let plain = |(name, value): (&HeaderName, &HeaderValue)| {
        (name.as_str().to_owned(), Bytes::copy_from_slice(value.as_bytes()))
    };
    headers.iter().map(plain).collect()
}

fn header_map(headers: Headers) -> Result<HeaderMap, InvalidHead> {
    let mut map = HeaderMap::with_capacity(headers.len().min(1_024));
    for (name, value) in headers {
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(InvalidHead::of("header name"))?;
        let value = HeaderValue::from_maybe_shared(value).map_err(InvalidHead::of("header value"))?;
        map.try_append(name, value).map_err(InvalidHead::of("number of headers"))?;
    }
    Ok(map)
}

#[cfg(test)]
mod tests {
    use super::{ErrorCode, RequestHead, ResponseHead};
    use http::{request, response};

    fn over_the_wire<T: serde::Serialize + serde::de::DeserializeOwned>(value: &T) -> T {
        rmp_serde::from_slice(&rmp_serde::to_vec(value).expect("encodes")).expect("decodes")
    }

    #[test]
    fn heads_survive_the_way_over_the_wire() {
        let (parts, ()) = http::Request::put("http://example.com/a%20b?c=d")
            .header("x-twice", "1")
            .header("x-twice", "2")
            .header("x-bytes", [0xff_u8, 0x80].as_slice())
            .body(())
            .expect("valid")
            .into_parts();
        let back = request::Parts::try_from(over_the_wire(&RequestHead::from(&parts))).expect("valid");
        assert_eq!((back.method, back.uri, back.headers), (parts.method, parts.uri, parts.headers));

        let (parts, ()) = http::Response::builder().status(418).header("a", "b").body(()).expect("valid").into_parts();
        let back = response::Parts::try_from(over_the_wire(&ResponseHead::from(&parts))).expect("valid");
        assert_eq!((back.status, back.headers), (parts.status, parts.headers));
    }

    #[test]
    fn a_wrong_head_is_refused_naming_the_part() {
        let head = |method: &str, uri: &str, name: &str, value: &'static [u8]| RequestHead {
            method: method.into(),
            uri: uri.into(),
            headers: vec![(name.into(), value.into())],
        };
        for (part, head) in [
            ("method", head("G T", "/", "a", b"b")),
            ("uri", head("GET", "/ x", "a", b"b")),
            ("header name", head("GET", "/", "a b", b"b")),
            ("header value", head("GET", "/", "a", b"b\r\nc: d")),
        ] {
            let error = request::Parts::try_from(head).expect_err(part).to_string();
            assert!(error.contains(part), "{error}");
        }
        let error = response::Parts::try_from(ResponseHead { status: 99, headers: vec![] }).expect_err("99");
        assert!(error.to_string().contains("status"), "{error}");
    }

    #[test]
    fn a_code_is_found_in_the_message_that_it_begins() {
        for (code, name) in ErrorCode::NAMES {
            let message = code.describe("host: not there");
            assert!(message.starts_with(name), "{message}");
            assert_eq!(ErrorCode::of(&message), Some(code));
        }
        assert_eq!(ErrorCode::of("the actor failed: DNS-error: x"), None);
        assert_eq!(ErrorCode::of("DNS-error"), None);
    }
}
