//! What links may configure. Nothing else reads a config map.

use std::time::Duration;

use trellis_provider_sdk::config::{BYTE_SIZE, DURATION, Form, known_of_link, optional, required};
use trellis_provider_sdk::{ActiveLink, LinkError, StringMap};

use crate::address::Grant;
use crate::allow::Allow;
use crate::tls::Roots;

/// All keys.
const KEYS: [&str; 10] = [
    "allow",
    "connect_timeout",
    "first_byte_timeout",
    "grant_private",
    "idle_timeout",
    "keep_alive",
    "max_requests",
    "redirects",
    "response_limit",
    "tls_roots",
];

const ALLOW: Form<Vec<Allow>> = Form {
    expected: "hosts with commas between them: `host`, `*.domain` or `*`, with `:port` or `:*`, and a scheme before them if only that is meant",
    example: "api.example.com, https://*.example.org:8443",
    parse: |text| list(text, Allow::parse),
};

const GRANT_PRIVATE: Form<Vec<Grant>> = Form {
    expected: "networks and addresses with commas between them, or `loopback`, `private`, `link-local`, `cgnat`",
    example: "10.1.0.0/16, loopback",
    parse: |text| list(text, Grant::parse),
};

const REDIRECTS: Form<u8> = Form {
    expected: "a number from 0 to 20",
    example: "5",
    parse: |text| text.parse().ok().filter(|redirects| *redirects <= 20),
};

const TLS_ROOTS: Form<Roots> = Form {
    expected: "`webpki`, `system`, or the absolute path of a PEM file",
    example: "/etc/ssl/private-ca.pem",
    parse: Roots::parse,
};

const COUNT: Form<usize> = Form {
    expected: "a number from 1 to 100000",
    example: "256",
    parse: |text| text.parse().ok().filter(|count| (1..=100_000).contains(count)),
};

/// The config of a link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LinkConfig {
    /// Which hosts may be asked.
    pub(crate) allow: Vec<Allow>,
    /// Which addresses they may have, besides those of the internet.
    pub(crate) grants: Vec<Grant>,
    /// How many redirects of one request are followed.
    pub(crate) redirects: u8,
    /// Whose certificates count.
    pub(crate) tls_roots: Roots,
    /// For resolving a name, connecting and TLS together.
    pub(crate) connect_timeout: Duration,
    /// Until the head of the response is there.
    pub(crate) first_byte_timeout: Option<Duration>,
    /// For each next piece of a response's body.
    pub(crate) idle_timeout: Duration,
    /// How long a connection is kept that nobody uses.
    pub(crate) keep_alive: Duration,
    /// The largest body of a response.
    pub(crate) response_limit_bytes: Option<u64>,
    /// Requests at once.
    pub(crate) max_requests: usize,
}

impl LinkConfig {
    /// Reads that of `link`.
    pub(crate) fn of(link: &ActiveLink) -> Result<Self, LinkError> {
        known_of_link(link, &KEYS)?;
        Self::parse(&link.config)
    }

    /// Reads it. Without `allow` nothing would be allowed, which nobody wants a link for.
    fn parse(config: &StringMap) -> Result<Self, LinkError> {
        Ok(Self {
            allow: required(config, "allow", &ALLOW)?,
            grants: optional(config, "grant_private", &GRANT_PRIVATE)?.unwrap_or_default(),
            redirects: optional(config, "redirects", &REDIRECTS)?.unwrap_or(0),
            tls_roots: optional(config, "tls_roots", &TLS_ROOTS)?.unwrap_or(Roots::Webpki),
            connect_timeout: optional(config, "connect_timeout", &DURATION)?.unwrap_or(Duration::from_secs(5)),
            first_byte_timeout: optional(config, "first_byte_timeout", &DURATION)?,
            idle_timeout: optional(config, "idle_timeout", &DURATION)?.unwrap_or(Duration::from_secs(30)),
            keep_alive: optional(config, "keep_alive", &DURATION)?.unwrap_or(Duration::from_secs(60)),
            response_limit_bytes: optional(config, "response_limit", &BYTE_SIZE)?,
            max_requests: optional(config, "max_requests", &COUNT)?.unwrap_or(1_024),
        })
    }
}

/// All entries of a list that has at least one.
fn list<T>(text: &str, parse: impl Fn(&str) -> Option<T>) -> Option<Vec<T>> {
    text.split(',').map(|entry| parse(entry.trim())).collect()
}

#[cfg(test)]
mod tests {
    use super::{KEYS, LinkConfig};
    use trellis_provider_sdk::testing::{as_target, config, documented_keys, link};

    #[test]
    fn a_wrong_key_is_named_with_an_example() {
        for (key, value, example) in [
            ("allow", "a,,b", "api.example.com"),
            ("allow", "ftp://a", "api.example.com"),
            ("grant_private", "10.0.0.0/33", "10.1.0.0/16"),
            ("grant_private", "everything", "loopback"),
            ("redirects", "21", "\"5\""),
            ("tls_roots", "ca.pem", "/etc/ssl/private-ca.pem"),
            ("connect_timeout", "5", "30s"),
            ("first_byte_timeout", "0s", "30s"),
            ("idle_timeout", "soon", "30s"),
            ("keep_alive", "long", "30s"),
            ("response_limit", "big", "16MiB"),
            ("max_requests", "0", "256"),
        ] {
            let mut pairs = config(&[("allow", "*")]);
            pairs.insert(key.to_owned(), value.to_owned());
            let error = LinkConfig::parse(&pairs).expect_err(value).to_string();
            assert!(error.contains(key) && error.contains(value) && error.contains(example), "{error}");
        }
    }

    #[test]
    fn a_link_has_to_say_what_is_allowed() {
        let error = LinkConfig::parse(&config(&[])).expect_err("nothing is allowed").to_string();
        assert!(error.contains("\"allow\" is missing") && error.contains("api.example.com"), "{error}");
        let link = LinkConfig::parse(&config(&[("allow", " a.example ,b.example:*")])).expect("valid");
        assert_eq!((link.allow.len(), link.grants.len(), link.redirects), (2, 0, 0));
    }

    #[test]
    fn the_readme_has_all_keys_and_no_others_are_taken() {
        let keys = KEYS;
        assert_eq!(documented_keys(include_str!("../README.md")), keys.iter().map(|key| (*key).to_owned()).collect());
        let of = |pairs| LinkConfig::of(&as_target(link("a", "client", &["wasi:http/outgoing-handler"]), pairs));
        assert!(of(&[("allow", "*")]).is_ok());
        let error = of(&[("allow", "*"), ("redirect", "1")]).expect_err("misspelt").to_string();
        assert!(error.contains("\"redirect\" is not known") && error.contains("e.g. \"redirects\""), "{error}");
        // What calls are like is for the other end.
        assert!(of(&[("allow", "*"), ("retries", "1")]).is_err());
    }
}
