//! Where a request is to go, as its URI says: pure, and strict about what has more than one reading.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use http::Uri;
use http::uri::PathAndQuery;
use trellis_interfaces::http::ErrorCode;
use trellis_provider_sdk::{CallError, CallErrorKind};

/// With or without TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scheme {
    /// Without.
    Http,
    /// With.
    Https,
}

impl Scheme {
    /// Reads `http` or `https`.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        match text {
            "http" => Some(Self::Http),
            "https" => Some(Self::Https),
            _ => None,
        }
    }

    /// The port that is meant when none is said.
    pub(crate) fn default_port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
        }
    }
}

/// The host of a target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Host {
    /// To be resolved; in lower case, without a dot at its end.
    Name(String),
    /// As it is.
    Ip(IpAddr),
}

impl Host {
    /// Reads a name, an IPv4 address with four decimal parts, or an IPv6 address in brackets. A name that some resolvers
    /// take for an address (`0x7f.1`, `2130706433`) is neither.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        if let Some(inner) = text.strip_prefix('[') {
            let address: Ipv6Addr = inner.strip_suffix(']')?.parse().ok()?;
            return Some(Self::Ip(address.into()));
        }
        if let Ok(address) = text.parse::<Ipv4Addr>() {
            return Some(Self::Ip(address.into()));
        }
        let name = text.strip_suffix('.').unwrap_or(text);
        let valid = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
        let is_label = |label: &str| (1..=63).contains(&label.len()) && label.bytes().all(valid);
        let is_name = name.len() <= 253 && name.split('.').all(is_label) && !ends_in_a_number(name);
        is_name.then(|| Self::Name(name.to_ascii_lowercase()))
    }
}

/// Whether the last label is a number to `inet_aton`.
fn ends_in_a_number(name: &str) -> bool {
    let last = name.rsplit('.').next().unwrap_or_default();
    last.bytes().all(|b| b.is_ascii_digit())
        || last
            .strip_prefix("0x")
            .or(last.strip_prefix("0X"))
            .is_some_and(|hex| hex.bytes().all(|b| b.is_ascii_hexdigit()))
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Ip(IpAddr::V4(address)) => address.fmt(f),
            Self::Ip(IpAddr::V6(address)) => write!(f, "[{address}]"),
        }
    }
}

/// Where a request is to go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Target {
    /// With or without TLS.
    pub(crate) scheme: Scheme,
    /// To which host.
    pub(crate) host: Host,
    /// To which port of it.
    pub(crate) port: u16,
}

impl Target {
    /// The target of a request for `uri`. What `Host` says is not asked: it came from who knows where.
    pub(crate) fn of(uri: &Uri) -> Result<Self, CallError> {
        let scheme = uri.scheme_str().and_then(Scheme::parse);
        let scheme = scheme.ok_or_else(|| invalid("the request has neither scheme http nor https"))?;
        let authority = uri.authority().ok_or_else(|| invalid("the request has no authority"))?;
        if authority.as_str().contains('@') {
            return Err(invalid("the authority of the request has a user in it: send it in a header"));
        }
        let name = uri.host().unwrap_or_default();
        let host = Host::parse(name);
        let host = host.ok_or_else(|| invalid("the authority of the request is neither a host name nor an address"))?;
        let port = match authority.as_str().strip_prefix(name) {
            Some("") => Some(scheme.default_port()),
            Some(rest) => rest.strip_prefix(':').and_then(port),
            None => None,
        };
        let port = port.ok_or_else(|| invalid("the authority of the request has a port that is no number"))?;
        Ok(Self { scheme, host, port })
    }

    /// The one way that `path` at this target is written, so that connections to it are found again.
    pub(crate) fn uri(&self, path: Option<&PathAndQuery>) -> Result<Uri, CallError> {
        let path = path.map_or("/", PathAndQuery::as_str);
        let path = if path.is_empty() { "/" } else { path };
        let uri = match path.strip_prefix('?') {
            Some(query) => format!("{self}/?{query}"),
            None => format!("{self}{path}"),
        };
        uri.parse().map_err(|_| invalid("the path of the request is not valid"))
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = match self.scheme {
            Scheme::Http => "http",
            Scheme::Https => "https",
        };
        write!(f, "{scheme}://{}", self.host)?;
        if self.port == self.scheme.default_port() { Ok(()) } else { write!(f, ":{}", self.port) }
    }
}

/// Reads a port: digits and nothing else, of which `u16` allows a sign.
pub(crate) fn port(text: &str) -> Option<u16> {
    text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok())?
}

fn invalid(message: &str) -> CallError {
    CallError::new(CallErrorKind::Denied, ErrorCode::HttpRequestUriInvalid.describe(message))
}

#[cfg(test)]
mod tests {
    use super::Target;

    fn check(uri: &str, expected: Option<&str>) {
        let target = uri.parse().ok().and_then(|uri| Target::of(&uri).ok());
        assert_eq!(target.map(|target| target.to_string()).as_deref(), expected, "{uri}");
    }

    #[test]
    fn a_target_has_one_way_to_be_written() {
        check("http://example.com/x", Some("http://example.com"));
        check("HTTPS://EXAMPLE.com.:443", Some("https://example.com"));
        check("http://example.com:443", Some("http://example.com:443"));
        check("http://127.0.0.1:80", Some("http://127.0.0.1"));
        check("http://[::FFFF:7f00:1]:8080", Some("http://[::ffff:127.0.0.1]:8080"));
        check("http://my_host.internal", Some("http://my_host.internal"));
    }

    #[test]
    fn what_has_more_than_one_reading_is_no_target() {
        for uri in [
            "/x",
            "example.com",
            "ftp://example.com",
            "http://a@b",
            "http://user:pass@example.com",
            "http://example.com:",
            "http://example.com:99999",
            "http://example.com:+80",
            "http://0x7f.1",
            "http://0x7f000001",
            "http://2130706433",
            "http://017700000001",
            "http://127.1",
            "http://0177.0.0.1",
            "http://1.2.3.4.5",
            "http://127.0.0.1.",
            "http://a..b",
            "http://.a",
            "http://ex%61mple.com",
            "http://[::1",
            "http://[::1%25eth0]",
            "http://[fe80::1%eth0]",
            "http://[127.0.0.1]",
            "http://a!b",
            "http://x.0x",
            "http://\u{ff11}27.0.0.1",
        ] {
            check(uri, None);
        }
    }

    #[test]
    fn a_path_is_kept_as_it_is() {
        let at = |uri: &str| {
            let uri: http::Uri = uri.parse().expect("valid");
            Target::of(&uri).expect("valid").uri(uri.path_and_query()).expect("valid").to_string()
        };
        assert_eq!(at("http://A/%2e%2E//x?y=%20"), "http://a/%2e%2E//x?y=%20");
        assert_eq!(at("http://a:80"), "http://a/");
        assert_eq!(at("http://a?q"), "http://a/?q");
    }
}
