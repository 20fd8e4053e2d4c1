//! What the provider and its links may configure. Nothing else reads a config map.

use std::time::Duration;

use trellis_provider_sdk::config::{BYTE_SIZE, DURATION, Form, known, known_of_link, optional, with_secrets};
use trellis_provider_sdk::{ActiveLink, LinkError, Secret, StringMap};

use crate::scope::Scope;

/// All keys, of links and of the provider.
const KEYS: [&str; 13] = [
    "backend",
    "bucket",
    "fsync",
    "max_bytes",
    "password",
    "prefix",
    "replicas",
    "stream",
    "timeout",
    "token",
    "ttl",
    "url",
    "username",
];

/// Those of them that may be secrets.
const SECRETS: [&str; 3] = ["password", "token", "url"];

const BACKEND: Form<Kind> = Form { expected: "`embedded`, `redis` or `nats`", example: "redis", parse: kind };

const NAME: Form<String> =
    Form { expected: "1 to 64 letters, digits, `-`, `_`, `.` or `/`", example: "orders", parse: name };

const FSYNC: Form<Fsync> =
    Form { expected: "`always`, `never`, or `interval:` and a time", example: "interval:100ms", parse: fsync };

const STREAM: Form<String> =
    Form { expected: "1 to 64 letters, digits, `-` or `_`", example: "trellis-keyvalue", parse: stream };

const REPLICAS: Form<usize> = Form { expected: "1, 3 or 5", example: "3", parse: replicas };

const TEXT: Form<String> = Form { expected: "a text", example: "trellis", parse: |text| Some(text.to_owned()) };

/// How long a server may take for one call, when the link says nothing and the call has longer.
const TIMEOUT: Duration = Duration::from_secs(5);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Embedded,
    Redis,
    Nats,
}

/// When a write is on the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fsync {
    /// Before it is answered.
    Always,
    /// At most this long after it was answered.
    Interval(Duration),
    /// With the next write of a link that asks for it, at drain, or within a minute: the file grows until then.
    Never,
}

/// The config of a link.
#[derive(Debug, Clone)]
pub(crate) struct LinkConfig {
    /// What it sees of the store.
    pub(crate) scope: Scope,
    /// Where the store is.
    pub(crate) backend: BackendConfig,
}

/// Where a store is.
#[derive(Debug, Clone)]
pub(crate) enum BackendConfig {
    /// In the provider's directory.
    Embedded(Fsync),
    /// On a Redis server.
    Redis(Remote),
    /// In a key-value bucket of a NATS server with JetStream.
    Nats(Remote, Stream),
}

/// A store on a server.
#[derive(Debug, Clone)]
pub(crate) struct Remote {
    /// The server, and who we are there.
    pub(crate) server: Server,
    /// How long it may take for one call.
    pub(crate) timeout: Duration,
    /// How long a key is there after it was last written; for ever by default.
    pub(crate) ttl: Option<Duration>,
}

/// A server, and who we are there. Links with an equal one share a connection.
#[derive(Debug, Clone)]
pub(crate) struct Server {
    /// Where it is; may carry a password, and is therefore not shown.
    pub(crate) url: Secret,
    /// The user, if not in the URL.
    pub(crate) username: Option<String>,
    /// The password, if not in the URL.
    pub(crate) password: Option<Secret>,
    /// A token, which NATS knows.
    pub(crate) token: Option<Secret>,
}

impl Server {
    /// What connections are told apart by. A secret itself.
    pub(crate) fn identity(&self) -> String {
        let secret = |secret: &Option<Secret>| secret.as_ref().map(|secret| secret.reveal().to_owned());
        format!("{:?}", (self.url.reveal(), &self.username, secret(&self.password), secret(&self.token)))
    }
}

/// The stream that keeps a key-value bucket of NATS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Stream {
    /// The name of the bucket, as `nats kv` shows it.
    pub(crate) name: String,
    /// On how many servers it is, when it is made.
    pub(crate) replicas: usize,
    /// The most that it keeps, when it is made.
    pub(crate) max_bytes: Option<u64>,
}

impl LinkConfig {
    /// Reads that of `link`, whose keys go before those of the provider, and its secrets before both.
    pub(crate) fn of(provider: &StringMap, link: &ActiveLink) -> Result<Self, LinkError> {
        known_of_link(link, &KEYS)?;
        Self::parse(provider, &with_secrets(link.config.clone(), &link.secrets, &SECRETS)?)
    }

    /// Reads that of a provider, which holds for links that say nothing else.
    pub(crate) fn of_provider(config: &StringMap) -> Result<Self, LinkError> {
        known(config, &KEYS)?;
        Self::parse(config, &StringMap::new())
    }

    fn parse(provider: &StringMap, link: &StringMap) -> Result<Self, LinkError> {
        let mut config = provider.clone();
        config.extend(link.iter().map(|(key, value)| (key.clone(), value.clone())));
        Ok(Self {
            scope: Scope { prefix: optional(&config, "prefix", &NAME)?, bucket: optional(&config, "bucket", &NAME)? },
            backend: BackendConfig::parse(&config)?,
        })
    }
}

impl BackendConfig {
    fn parse(config: &StringMap) -> Result<Self, LinkError> {
        let kind = optional(config, "backend", &BACKEND)?.unwrap_or(Kind::Embedded);
        let fsync = optional(config, "fsync", &FSYNC)?.unwrap_or(Fsync::Always);
        match kind {
            Kind::Embedded if config.contains_key("ttl") => Err(wrong(
                "ttl",
                "is for the backends redis and nats",
                "no `ttl` with the backend embedded, or another `backend`",
                "backend=redis",
            )),
            Kind::Embedded => Ok(Self::Embedded(fsync)),
            Kind::Redis => {
                Ok(Self::Redis(Remote::parse(config, &["redis://", "rediss://"], "redis://127.0.0.1:6379")?))
            }
            Kind::Nats => {
                let remote = Remote::parse(config, &["nats://", "tls://"], "nats://127.0.0.1:4222")?;
                let name = optional(config, "stream", &STREAM)?.unwrap_or_else(|| "trellis-keyvalue".to_owned());
                let replicas = optional(config, "replicas", &REPLICAS)?.unwrap_or(1);
                let max_bytes = optional(config, "max_bytes", &BYTE_SIZE)?;
                Ok(Self::Nats(remote, Stream { name, replicas, max_bytes }))
            }
        }
    }
}

impl Remote {
    fn parse(config: &StringMap, schemes: &[&str], example: &'static str) -> Result<Self, LinkError> {
        let url = config.get("url").map_or(example, |url| url.trim());
        // Its text is not shown: it may hold a password.
        if !schemes.iter().any(|scheme| url.len() > scheme.len() && url.starts_with(scheme)) {
            return Err(wrong("url", "is not a URL of that backend", "a URL with the scheme of the backend", example));
        }
        let secret = |key: &str| config.get(key).map(|text| Secret::new(text.as_str()));
        let server = Server {
            url: Secret::new(url),
            username: optional(config, "username", &TEXT)?,
            password: secret("password"),
            token: secret("token"),
        };
        let timeout = optional(config, "timeout", &DURATION)?.unwrap_or(TIMEOUT);
        Ok(Self { server, timeout, ttl: optional(config, "ttl", &DURATION)? })
    }
}

/// An error that does not show the value.
pub(crate) fn wrong(key: &str, problem: &str, expected: &'static str, example: &'static str) -> LinkError {
    LinkError::Config { key: key.to_owned(), problem: problem.to_owned(), expected, example }
}

fn kind(text: &str) -> Option<Kind> {
    match text {
        "embedded" => Some(Kind::Embedded),
        "redis" => Some(Kind::Redis),
        "nats" => Some(Kind::Nats),
        _ => None,
    }
}

fn name(text: &str) -> Option<String> {
    let valid = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b'/');
    ((1..=64).contains(&text.len()) && text.bytes().all(valid)).then(|| text.to_owned())
}

fn stream(text: &str) -> Option<String> {
    name(text).filter(|name| !name.contains(['.', '/']))
}

fn replicas(text: &str) -> Option<usize> {
    text.parse().ok().filter(|replicas| [1, 3, 5].contains(replicas))
}

fn fsync(text: &str) -> Option<Fsync> {
    match text {
        "always" => Some(Fsync::Always),
        "never" => Some(Fsync::Never),
        // A bare number is of milliseconds.
        _ => {
            let interval = text.strip_prefix("interval:")?;
            let millis = interval.parse().ok().filter(|&ms: &u32| ms > 0).map(|ms| Duration::from_millis(ms.into()));
            millis.or_else(|| (DURATION.parse)(interval)).map(Fsync::Interval)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{BackendConfig, Fsync, KEYS, LinkConfig};
    use std::time::Duration;
    use trellis_provider_sdk::testing::{as_target, config, documented_keys, link};
    use trellis_provider_sdk::{LinkError, StringMap};

    fn parse(pairs: &[(&str, &str)]) -> Result<LinkConfig, LinkError> {
        LinkConfig::parse(&StringMap::new(), &config(pairs))
    }

    #[test]
    fn a_wrong_key_is_named_with_an_example() {
        let long = "x".repeat(65);
        for (key, value, example) in [
            ("prefix", "a b", "orders"),
            ("prefix", "", "orders"),
            ("bucket", "a\0b", "orders"),
            ("bucket", long.as_str(), "orders"),
            ("fsync", "sometimes", "interval:100ms"),
            ("fsync", "interval:0", "interval:100ms"),
            ("fsync", "interval:", "interval:100ms"),
            ("backend", "etcd", "redis"),
            ("ttl", "60s", "backend=redis"),
        ] {
            let error = parse(&[(key, value)]).expect_err(value).to_string();
            assert!(error.contains(key) && error.contains(example), "{error}");
        }
        for (backend, key, value, example) in [
            ("redis", "url", "http://x", "redis://127.0.0.1:6379"),
            ("redis", "url", "redis://", "redis://127.0.0.1:6379"),
            ("redis", "ttl", "60", "30s"),
            ("nats", "url", "redis://x", "nats://127.0.0.1:4222"),
            ("nats", "stream", "a.b", "trellis-keyvalue"),
            ("nats", "replicas", "2", "3"),
            ("nats", "timeout", "soon", "30s"),
        ] {
            let error = parse(&[("backend", backend), (key, value)]).expect_err(value).to_string();
            assert!(error.contains(key) && error.contains(example), "{error}");
        }
    }

    #[test]
    fn no_secret_is_shown() {
        let error = parse(&[("backend", "redis"), ("url", "http://u:hunter2@x")]).expect_err("scheme").to_string();
        assert!(!error.contains("hunter2"), "{error}");
        let pairs =
            [("backend", "redis"), ("url", "redis://u:hunter2@x"), ("password", "hunter2"), ("token", "hunter2")];
        let shown = format!("{:?}", parse(&pairs).expect("valid"));
        assert!(!shown.contains("hunter2"), "{shown}");
    }

    #[test]
    fn writes_are_on_the_disk_unless_the_link_says_otherwise() {
        let check = |pairs: &[(&str, &str)], expected| {
            let backend = parse(pairs).expect("valid").backend;
            assert!(matches!(backend, BackendConfig::Embedded(fsync) if fsync == expected), "{backend:?}");
        };
        check(&[], Fsync::Always);
        check(&[("fsync", "never")], Fsync::Never);
        check(&[("fsync", "interval:50")], Fsync::Interval(Duration::from_millis(50)));
        check(&[("fsync", "interval:2s")], Fsync::Interval(Duration::from_secs(2)));
    }

    #[test]
    fn a_link_goes_before_its_provider() {
        let provider = config(&[("backend", "redis"), ("prefix", "all"), ("ttl", "1h")]);
        let link = LinkConfig::parse(&provider, &config(&[("prefix", "own"), ("url", "redis://x")])).expect("valid");
        assert_eq!(link.scope.prefix.as_deref(), Some("own"));
        let BackendConfig::Redis(remote) = link.backend else { panic!("of its provider") };
        assert_eq!((remote.server.url.reveal(), remote.ttl), ("redis://x", Some(Duration::from_hours(1))));
    }

    #[test]
    fn the_readme_has_all_keys_and_no_others_are_taken() {
        let keys = KEYS;
        assert_eq!(documented_keys(include_str!("../README.md")), keys.iter().map(|key| (*key).to_owned()).collect());
        let of =
            |pairs| LinkConfig::of(&StringMap::new(), &as_target(link("a", "kv", &["wasi:keyvalue/store"]), pairs));
        assert!(of(&[("backend", "redis"), ("ttl", "30s")]).is_ok());
        let error = of(&[("backend", "redis"), ("ttll", "30s")]).expect_err("misspelt").to_string();
        assert!(error.contains("\"ttll\" is not known") && error.contains("e.g. \"ttl\""), "{error}");
        assert!(LinkConfig::of_provider(&config(&[("bukket", "b")])).is_err());
    }
}
