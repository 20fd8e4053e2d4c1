//! What the head of a request has to be before it is anybody's: one host that it names, and nothing that is not served.

use http::header::{self, HeaderValue};
use http::{Method, Request, StatusCode, Version};

/// Header fields of a request, no more than which an actor is given.
const MAX_FIELDS: usize = 128;

/// A status and a short text.
pub(crate) type Refusal = (StatusCode, &'static str);

/// The host that a request names, when it names one and not two.
pub(crate) fn host_of<B>(request: &Request<B>) -> Result<&str, Refusal> {
    refuse_what_is_not_served(request)?;
    let refuse = |text| Err((StatusCode::BAD_REQUEST, text));
    let mut hosts = request.headers().get_all(header::HOST).iter();
    let (host, second) = (hosts.next().map(HeaderValue::as_bytes), hosts.next());
    let authority = request.uri().authority().map(|authority| authority.as_str().as_bytes());
    if second.is_some() {
        return refuse("more than one Host header\n");
    }
    let host = match (host, authority) {
        (Some(host), Some(authority)) if !host.eq_ignore_ascii_case(authority) => {
            return refuse("Host header and request target name different hosts\n");
        }
        (None, None) if request.version() == Version::HTTP_11 => return refuse("Host header is missing\n"),
        (None, None) => return Ok(""),
        (host, authority) => host.or(authority).unwrap_or_default(),
    };
    match std::str::from_utf8(host) {
        Ok(host) if is_host_and_port(host) => Ok(host),
        _ => refuse("Host header is neither a host nor a host and a port\n"),
    }
}

fn refuse_what_is_not_served<B>(request: &Request<B>) -> Result<(), Refusal> {
    if request.headers().len() > MAX_FIELDS {
        return Err((StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, "too many header fields\n"));
    }
    if request.method() == Method::CONNECT {
        return Err((StatusCode::METHOD_NOT_ALLOWED, "CONNECT is not served\n"));
    }
    // Other upgrades are offers that a server may pass over; who asks for a web socket wants nothing else.
    let asked = request.headers().get_all(header::UPGRADE).iter().filter_map(|value| value.to_str().ok());
    if asked.flat_map(|value| value.split(',')).any(|protocol| protocol.trim().eq_ignore_ascii_case("websocket")) {
        return Err((StatusCode::NOT_IMPLEMENTED, "WebSocket is not served: ask by HTTP\n"));
    }
    Ok(())
}

/// Whether a text is a host name, an IPv4 address or an IPv6 address in brackets, with a port or without.
fn is_host_and_port(text: &str) -> bool {
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, port),
        _ => (text, ""),
    };
    let is_name = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    let is_host = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => !host.is_empty() && host.bytes().all(is_name),
    };
    is_host && port.len() <= 5 && port.bytes().all(|b| b.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::is_host_and_port;

    #[test]
    fn a_host_is_a_name_or_an_address() {
        for host in ["a", "a.example:80", "my_host", "127.0.0.1:8080", "[::1]", "[::1]:80", "a.", "a:"] {
            assert!(is_host_and_port(host), "{host}");
        }
        for other in
            ["", ":80", "a b", "a/b", "a@b", "a,b", "a\\b", "a:b", "a:80:80", "[::1", "::1", "a:123456", "a?b", "a%20"]
        {
            assert!(!is_host_and_port(other), "{other}");
        }
    }
}
