//! What providers and links may configure. Nothing else reads a config map.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use trellis_provider_sdk::config::{BYTE_SIZE, DURATION, Form, known, known_of_link, optional, required};
use trellis_provider_sdk::{ActiveLink, LinkError, StringMap};

use crate::filter::Filter;
use crate::front::{self, FrontConfig};
use crate::pace::MinPace;
use crate::route::Pattern;
use crate::tls::Files;

/// The keys of the provider.
const PROVIDER_KEYS: [&str; 11] = [
    "address",
    "default_address",
    "header_timeout",
    "health",
    "max_connections",
    "max_connections_per_peer",
    "min_rate",
    "ready",
    "stall_timeout",
    "tls_cert",
    "tls_key",
];

/// The keys of a link.
const LINK_KEYS: [&str; 24] = [
    "access_log",
    "address",
    "answer_body",
    "answer_status",
    "answer_type",
    "body_limit",
    "cors_credentials",
    "cors_expose",
    "cors_headers",
    "cors_max_age",
    "cors_methods",
    "cors_origins",
    "headers",
    "host",
    "methods",
    "path",
    "rate_burst",
    "rate_limit",
    "redirect",
    "redirect_status",
    "timeout",
    "tls_cert",
    "tls_key",
    "weight",
];

const ADDRESS: Form<SocketAddr> =
    Form { expected: "an IP address and a port", example: "127.0.0.1:8080", parse: |text| text.parse().ok() };

const HOST: Form<String> =
    Form { expected: "a host name without port, or `*.` and one", example: "shop.example.com", parse: host };

const PATH: Form<String> =
    Form { expected: "a path that begins with `/`, without query; a segment `*` is any", example: "/api", parse: path };

const COUNT: Form<usize> = Form {
    expected: "a number from 1 to 1000000",
    example: "10000",
    parse: |text| text.parse().ok().filter(|n| (1..=1_000_000).contains(n)),
};

const READY: Form<Ready> = Form { expected: "`one` or `all`", example: "all", parse: ready };

const WEIGHT: Form<u32> = Form {
    expected: "a number from 0 to 1000000",
    example: "90",
    parse: |text| text.parse().ok().filter(|n| *n <= 1_000_000),
};

const FILE: Form<PathBuf> = Form {
    expected: "the absolute path of a PEM file",
    example: "/etc/trellis/tls.pem",
    parse: |text| Path::new(text).is_absolute().then(|| text.into()),
};

/// How many links are to be answered for `/readyz` to be 200.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ready {
    /// One: what others lack is for their own clients to notice.
    One,
    /// All that take requests, and none that was put may have failed.
    All,
}

/// What listeners of a provider bound themselves with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Limits {
    /// Connections at once; more wait in the kernel's backlog.
    pub(crate) connections: usize,
    /// Of one peer; more are closed at once.
    pub(crate) connections_per_peer: usize,
    /// For the head of a request, and for the next request on a connection kept alive.
    pub(crate) header_timeout: Duration,
    /// For a peer that neither sends the body it owes nor takes the response.
    pub(crate) stall_timeout: Duration,
    /// What a peer has to send or take on average while it is waited for, in a second.
    pub(crate) min_rate_bytes: u64,
    /// What `/readyz` waits for, if it and `/livez` are answered.
    pub(crate) health: Option<Ready>,
}

impl Limits {
    /// How fast a peer has to be.
    pub(crate) fn pace(&self) -> MinPace {
        MinPace { stall_timeout: self.stall_timeout, bytes_per_second: self.min_rate_bytes }
    }
}

/// The config of the provider.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ProviderConfig {
    /// Where links listen that do not say it.
    pub(crate) address: SocketAddr,
    /// Limits of the listeners.
    pub(crate) limits: Limits,
    /// The certificate of links that do not say theirs.
    pub(crate) tls: Option<Files>,
}

impl ProviderConfig {
    /// Reads it.
    pub(crate) fn parse(config: &StringMap) -> Result<Self, LinkError> {
        known(config, &PROVIDER_KEYS)?;
        let address = match optional(config, "address", &ADDRESS)? {
            Some(address) => Some(address),
            None => optional(config, "default_address", &ADDRESS)?,
        };
        let ready = optional(config, "ready", &READY)?.unwrap_or(Ready::One);
        let limits = Limits {
            connections: optional(config, "max_connections", &COUNT)?.unwrap_or(10_000),
            connections_per_peer: optional(config, "max_connections_per_peer", &COUNT)?.unwrap_or(1_000),
            header_timeout: optional(config, "header_timeout", &DURATION)?.unwrap_or(Duration::from_secs(10)),
            stall_timeout: optional(config, "stall_timeout", &DURATION)?.unwrap_or(Duration::from_secs(10)),
            min_rate_bytes: optional(config, "min_rate", &BYTE_SIZE)?.unwrap_or(128),
            health: front::is_on(config, "health")?.then_some(ready),
        };
        let address = address.unwrap_or(SocketAddr::from(([127, 0, 0, 1], 8080)));
        Ok(Self { address, limits, tls: tls(config)? })
    }
}

/// The config of a link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LinkConfig {
    /// Where it listens, if it says so.
    pub(crate) address: Option<SocketAddr>,
    /// Which requests are its own.
    pub(crate) pattern: Pattern,
    /// Its share of them, if it shares them with other links.
    pub(crate) weight: Option<u32>,
    /// How long a request may take until its response begins.
    pub(crate) timeout: Duration,
    /// The largest request body.
    pub(crate) body_limit_bytes: Option<u64>,
    /// Its certificate, if it has one of its own.
    pub(crate) tls: Option<Files>,
    /// What is done before and after the actor.
    pub(crate) front: FrontConfig,
}

impl LinkConfig {
    /// Reads that of `link`.
    pub(crate) fn of(link: &ActiveLink) -> Result<Self, LinkError> {
        known_of_link(link, &LINK_KEYS)?;
        Self::parse(&link.config)
    }

    fn parse(config: &StringMap) -> Result<Self, LinkError> {
        let path = optional(config, "path", &PATH)?.unwrap_or_else(|| "/".to_owned());
        Ok(Self {
            address: optional(config, "address", &ADDRESS)?,
            pattern: Pattern { host: optional(config, "host", &HOST)?, path, filter: Filter::parse(config)? },
            weight: optional(config, "weight", &WEIGHT)?,
            timeout: optional(config, "timeout", &DURATION)?.unwrap_or(Duration::from_secs(30)),
            body_limit_bytes: optional(config, "body_limit", &BYTE_SIZE)?,
            tls: tls(config)?,
            front: FrontConfig::parse(config)?,
        })
    }
}

/// Both or neither.
fn tls(config: &StringMap) -> Result<Option<Files>, LinkError> {
    if !config.contains_key("tls_cert") && !config.contains_key("tls_key") {
        return Ok(None);
    }
    let certificates = required(config, "tls_cert", &FILE)?;
    Ok(Some(Files { certificates, key: required(config, "tls_key", &FILE)? }))
}

fn host(text: &str) -> Option<String> {
    let name = text.strip_prefix("*.").unwrap_or(text);
    let valid = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let labels_are_valid = name.len() <= 253 && name.split('.').all(|label| !label.is_empty() && label.len() <= 63);
    (labels_are_valid && name.chars().all(valid)).then(|| text.to_ascii_lowercase())
}

fn ready(text: &str) -> Option<Ready> {
    match text {
        "one" => Some(Ready::One),
        "all" => Some(Ready::All),
        _ => None,
    }
}

fn path(text: &str) -> Option<String> {
    let valid = text.starts_with('/') && text.len() <= 1_024 && text.bytes().all(|b| b.is_ascii_graphic());
    let is_whole = |segment: &str| segment == "*" || !segment.contains('*');
    (valid && !text.contains(['?', '#']) && text.split('/').all(is_whole)).then(|| match text.trim_end_matches('/') {
        "" => "/".to_owned(),
        path => path.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::{LINK_KEYS, LinkConfig, PROVIDER_KEYS, ProviderConfig};
    use std::time::Duration;
    use trellis_provider_sdk::testing::{as_source, config, documented_keys, link};

    #[test]
    fn a_wrong_key_is_named_with_an_example() {
        for (key, value, example) in [
            ("address", "8080", "127.0.0.1:8080"),
            ("host", "a b", "shop.example.com"),
            ("host", "*.", "shop.example.com"),
            ("host", "a..b", "shop.example.com"),
            ("path", "api", "/api"),
            ("path", "/a?b", "/api"),
            ("path", "/a*", "/api"),
            ("timeout", "30", "30s"),
            ("weight", "10%", "90"),
            ("weight", "1000001", "90"),
            ("body_limit", "big", "16MiB"),
            ("tls_cert", "tls.pem", "/etc/trellis/tls.pem"),
        ] {
            let error = LinkConfig::parse(&config(&[(key, value)])).expect_err(value).to_string();
            assert!(error.contains(key) && error.contains(value) && error.contains(example), "{error}");
        }
        assert!(ProviderConfig::parse(&config(&[("max_connections", "0")])).is_err());
        assert!(ProviderConfig::parse(&config(&[("max_connections_per_peer", "0")])).is_err());
        assert!(ProviderConfig::parse(&config(&[("ready", "most")])).is_err());
        let half = LinkConfig::parse(&config(&[("tls_cert", "/a.pem")])).expect_err("no key").to_string();
        assert!(half.contains("\"tls_key\" is missing"), "{half}");
    }

    #[test]
    fn what_is_not_said_has_a_default() {
        let provider = ProviderConfig::parse(&config(&[])).expect("valid");
        assert_eq!(provider.address.to_string(), "127.0.0.1:8080");
        let longest = provider.limits.header_timeout + provider.limits.stall_timeout;
        assert!(longest <= Duration::from_secs(20), "FAULTS D60: nobody is slow for longer");
        let old = ProviderConfig::parse(&config(&[("default_address", "0.0.0.0:80")])).expect("valid");
        assert_eq!(old.address.to_string(), "0.0.0.0:80");
        let link = LinkConfig::parse(&config(&[("path", "/api/"), ("host", "*.Example.com")])).expect("valid");
        assert_eq!((link.pattern.path.as_str(), link.pattern.host.as_deref()), ("/api", Some("*.example.com")));
    }

    #[test]
    fn the_readme_has_all_keys_and_no_others_are_taken() {
        let keys = [&PROVIDER_KEYS[..], &LINK_KEYS].concat();
        assert_eq!(documented_keys(include_str!("../README.md")), keys.iter().map(|key| (*key).to_owned()).collect());
        let of = |pairs| LinkConfig::of(&as_source(link("http", "a", &["wasi:http/incoming-handler"]), pairs));
        assert!(of(&[("path", "/"), ("retries", "2")]).is_ok(), "a source says what its calls are like");
        let error = of(&[("pth", "/api")]).expect_err("misspelt").to_string();
        assert!(error.contains("\"pth\" is not known") && error.contains("e.g. \"path\""), "{error}");
        let error = of(&[("max_connections", "5")]).expect_err("the provider's").to_string();
        assert!(error.contains("\"max_connections\" is not known"), "{error}");
        assert!(ProviderConfig::parse(&config(&[("path", "/api")])).is_err(), "a link's");
    }
}
