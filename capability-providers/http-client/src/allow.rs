//! Which hosts may be asked: the entries of a link's `allow`. Pure; addresses are not looked at here.

use std::net::IpAddr;

use crate::target::{Host, Scheme, Target, port};

/// An entry: `example.com`, `*.example.com`, `https://example.com:8443`, `10.0.0.1:*`, `*`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Allow {
    /// Only that one, if it is said.
    scheme: Option<Scheme>,
    hosts: Hosts,
    ports: Ports,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Hosts {
    All,
    /// Those that end so; begins with a dot.
    Below(String),
    One(Host),
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Ports {
    All,
    /// 80 without, 443 with TLS.
    Default,
    One(u16),
}

impl Allow {
    /// Reads one.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (scheme, rest) = match text.split_once("://") {
            Some((scheme, rest)) => (Some(Scheme::parse(scheme)?), rest),
            None => (None, text),
        };
        let (host, ports) = match rest.rsplit_once(':').filter(|(_, port)| !port.ends_with(']')) {
            Some((host, "*")) => (host, Ports::All),
            Some((host, text)) => (host, Ports::One(port(text)?)),
            None => (rest, Ports::Default),
        };
        Some(Self { scheme, hosts: Hosts::parse(host)?, ports })
    }

    /// Whether a request for `target` is one of those.
    pub(crate) fn covers(&self, target: &Target) -> bool {
        let is_port = match self.ports {
            Ports::All => true,
            Ports::Default => target.port == target.scheme.default_port(),
            Ports::One(port) => target.port == port,
        };
        is_port && self.scheme.is_none_or(|scheme| scheme == target.scheme) && self.hosts.cover(&target.host)
    }
}

impl Hosts {
    fn parse(text: &str) -> Option<Self> {
        if text == "*" {
            return Some(Self::All);
        }
        match text.strip_prefix("*.") {
            Some(name) => match Host::parse(name)? {
                Host::Name(name) => Some(Self::Below(format!(".{name}"))),
                Host::Ip(_) => None,
            },
            None => Host::parse(text).map(Self::One),
        }
    }

    fn cover(&self, host: &Host) -> bool {
        match (self, host) {
            (Self::All, _) => true,
            (Self::Below(suffix), Host::Name(name)) => name.len() > suffix.len() && name.ends_with(suffix),
            (Self::Below(_), Host::Ip(_)) => false,
            (Self::One(Host::Ip(one)), Host::Ip(other)) => IpAddr::to_canonical(one) == other.to_canonical(),
            (Self::One(one), other) => one == other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Allow;
    use crate::target::Target;

    fn check(allow: &str, covered: &[&str], others: &[&str]) {
        let entry = Allow::parse(allow).unwrap_or_else(|| panic!("{allow} is an entry"));
        for (uris, expected) in [(covered, true), (others, false)] {
            for uri in uris {
                let target = Target::of(&uri.parse().expect("a URI")).expect("a target");
                assert_eq!(entry.covers(&target), expected, "{uri} by {allow}");
            }
        }
    }

    #[test]
    fn an_entry_covers_what_it_says_and_no_more() {
        check(
            "example.com",
            &["http://example.com", "https://EXAMPLE.com.", "https://example.com:443/x"],
            &[
                "http://a.example.com",
                "http://example.com:8080",
                "http://example.com.evil.org",
                "http://badexample.com",
            ],
        );
        check(
            "*.example.com",
            &["http://a.example.com", "http://a.b.example.com"],
            &["http://example.com", "http://badexample.com", "http://example.com.a", "http://a.example.com:81"],
        );
        check("https://example.com", &["https://example.com"], &["http://example.com", "http://example.com:443"]);
        check("example.com:8443", &["https://example.com:8443", "http://example.com:8443"], &["https://example.com"]);
        check("example.com:*", &["http://example.com:1", "http://example.com"], &["http://example.org"]);
        check(
            "10.0.0.1",
            &["http://10.0.0.1", "http://[::ffff:10.0.0.1]"],
            &["http://10.0.0.11", "http://10.0.0.1:81"],
        );
        check("[::1]:8080", &["http://[::1]:8080", "http://[0::1]:8080"], &["http://[::1]", "http://[::2]:8080"]);
        check("*", &["http://a", "https://1.2.3.4"], &["http://a:81", "https://a:80"]);
        check("http://*:*", &["http://a:81"], &["https://a"]);
    }

    #[test]
    fn what_is_no_entry_is_refused() {
        for text in [
            "",
            "ftp://a",
            "a b",
            "*a",
            "*.*.a",
            "*.10.0.0.1",
            "a:",
            "a:x",
            "a:70000",
            "a/b",
            "u@a",
            "::1",
            "10.0.0.0/8",
        ] {
            assert_eq!(Allow::parse(text), None, "{text}");
        }
    }
}
