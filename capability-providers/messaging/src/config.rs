//! What the provider and its links may configure. Nothing else reads a config map.
//!
//! The config of a link stands over that of the provider: what all links have in common is said once.

use std::path::PathBuf;
use std::time::Duration;

use trellis_provider_sdk::config::{BYTE_SIZE, DURATION, Form, known, known_of_link, optional, required, with_secrets};
use trellis_provider_sdk::{ActiveLink, Environment, LinkError, Secret, StringMap};

use crate::subject::{self, Pattern};
use crate::transform::{self, Transform};

/// The keys of links, at either end, for which the provider's config has defaults.
const KEYS: [&str; 20] = [
    "backend",
    "backoff",
    "cluster_uris",
    "credentials_file",
    "dead_letter",
    "max_backoff",
    "max_deliver",
    "max_in_flight",
    "nkey_seed",
    "order_by",
    "publish",
    "publish_timeout",
    "queue_group",
    "stream",
    "stream_max_age",
    "stream_replicas",
    "stream_subjects",
    "subscriptions",
    "timeout",
    "tls_ca",
];

/// The keys that only the provider has.
const PROVIDER_KEYS: [&str; 3] = ["max_bytes", "max_messages", "transform"];

/// Those of links that may be secrets.
const SECRETS: [&str; 2] = ["cluster_uris", "nkey_seed"];

const BACKEND: Form<Backend> =
    Form { expected: "`embedded`, `nats` or `jetstream`", example: "jetstream", parse: backend };

const SERVERS: Form<Vec<String>> = Form {
    expected: "URLs of nats-servers of one cluster, separated by commas",
    example: "nats://10.0.0.1:4222,nats://10.0.0.2:4222",
    parse: servers,
};

const FILE: Form<PathBuf> = Form { expected: "an absolute path", example: "/etc/trellis/nats.creds", parse: file };

const NKEY: Form<Secret> =
    Form {
        expected: "the seed of a user nkey, 58 letters and digits that begin with SU", example: "SU…", parse: nkey
    };

const NAME: Form<String> = Form { expected: "1 to 64 letters, digits, `-` or `_`", example: "ORDERS", parse: name };

const PATTERNS: Form<Vec<Pattern>> = Form {
    expected: "subjects separated by commas, with `*` and `>` as wildcards, none of which overlap",
    example: "orders.*.created,payments.>",
    parse: patterns,
};

const SUBJECT: Form<String> = Form { expected: "a subject without wildcards", example: "dead.orders", parse: literal };

const ORDER: Form<Order> = Form {
    expected: "`subject`, `token:` and the place of a token, or `header:` and a name",
    example: "token:2",
    parse: order,
};

const IN_FLIGHT: Form<usize> = Form { expected: "a number from 1 to 1024", example: "32", parse: in_flight };

const TRIES: Form<u32> = Form { expected: "a number above zero", example: "5", parse: positive };

const REPLICAS: Form<usize> = Form { expected: "1, 3 or 5", example: "3", parse: replicas };

const COUNT: Form<u64> = Form { expected: "a number above zero", example: "100000", parse: positive };

const TRANSFORM: Form<Vec<Transform>> = Form {
    expected: "`pattern -> subject`, separated by commas, with `$1` for the first wildcard; none may feed another",
    example: "orders.*.created -> audit.$1",
    parse: transform::parse_list,
};

/// Which kind of broker.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Backend {
    Embedded,
    Nats,
    JetStream,
}

/// Where messages go through.
#[derive(Debug, Clone)]
pub(crate) enum BrokerConfig {
    /// The provider's own queue.
    Embedded,
    /// Core NATS.
    Nats(ServerConfig),
    /// JetStream.
    JetStream(ServerConfig, StreamConfig),
}

/// How to reach a nats-server, and as whom.
#[derive(Clone)]
pub(crate) struct ServerConfig {
    /// URLs, which may hold a password.
    pub(crate) servers: Vec<String>,
    /// A file with a user JWT and its seed.
    pub(crate) credentials_file: Option<PathBuf>,
    /// The seed of a user.
    pub(crate) nkey_seed: Option<Secret>,
    /// A PEM file with the certificates that sign the server's.
    pub(crate) tls_ca: Option<PathBuf>,
}

impl std::fmt::Debug for ServerConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ServerConfig").field("credentials_file", &self.credentials_file).finish_non_exhaustive()
    }
}

/// A stream of JetStream.
#[derive(Debug, Clone)]
pub(crate) struct StreamConfig {
    pub(crate) name: String,
    /// What it has to keep, beside what is subscribed to.
    pub(crate) subjects: Vec<Pattern>,
    /// How long it keeps a message, if the stream is made here.
    pub(crate) max_age: Duration,
    /// On how many servers, if the stream is made here.
    pub(crate) replicas: usize,
}

/// The config of the provider's own queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct QueueLimits {
    /// Messages that wait for one subscription.
    pub(crate) max_messages: u64,
    /// Bytes of them.
    pub(crate) max_bytes: u64,
}

/// The config of `link` over that of its provider, and its secrets over both.
pub(crate) fn merged(provider: &StringMap, link: &ActiveLink) -> Result<StringMap, LinkError> {
    known_of_link(link, &KEYS)?;
    let mut config = provider.clone();
    config.extend(link.config.clone());
    with_secrets(config, &link.secrets, &SECRETS)
}

/// The config of a link by which an actor sends.
#[derive(Debug, Clone)]
pub(crate) struct ConsumerConfig {
    pub(crate) broker: BrokerConfig,
    /// Where it may send to; none is everywhere.
    pub(crate) publish: Option<Vec<Pattern>>,
    /// How long the broker may take for one message.
    pub(crate) patience: Duration,
}

/// The config of a link by which an actor is sent messages.
#[derive(Debug, Clone)]
pub(crate) struct HandlerConfig {
    pub(crate) broker: BrokerConfig,
    pub(crate) subscriptions: Vec<Pattern>,
    /// Who shares the messages.
    pub(crate) group: Option<String>,
    pub(crate) delivery: DeliveryConfig,
}

/// How messages are handed over.
#[derive(Debug, Clone)]
pub(crate) struct DeliveryConfig {
    /// What messages are kept in order by.
    pub(crate) order: Option<Order>,
    /// Messages that are being handled or wait for one before them.
    pub(crate) max_in_flight: usize,
    /// How long one handling may take.
    pub(crate) timeout: Duration,
    pub(crate) redelivery: Redelivery,
}

/// What happens to a message whose handling failed.
#[derive(Debug, Clone)]
pub(crate) struct Redelivery {
    /// The first pause; each is twice the one before.
    pub(crate) backoff: Duration,
    /// The longest pause.
    pub(crate) max_backoff: Duration,
    /// After how many failures it goes where instead; none is never.
    pub(crate) dead_letter: Option<(u32, String)>,
}

/// What messages are kept in order by: those with the same are handled one after the other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Order {
    /// The subject.
    Subject,
    /// The token of the subject at this place, from 0.
    Token(usize),
    /// The header of this name.
    Header(String),
}

/// What is set for the provider as a whole.
#[derive(Debug, Clone)]
pub(crate) struct ProviderConfig {
    pub(crate) limits: QueueLimits,
    /// Transforms, and the link that they would be.
    pub(crate) transforms: Option<(Vec<Transform>, HandlerConfig)>,
}

impl ProviderConfig {
    /// Reads that of a provider, and its secrets over it.
    pub(crate) fn of(environment: &Environment) -> Result<Self, LinkError> {
        Self::parse(&with_secrets(environment.config.clone(), &environment.secrets, &SECRETS)?)
    }

    fn parse(config: &StringMap) -> Result<Self, LinkError> {
        known(config, &[&KEYS[..], &PROVIDER_KEYS].concat())?;
        let limits = QueueLimits {
            max_messages: optional(config, "max_messages", &COUNT)?.unwrap_or(100_000),
            max_bytes: optional(config, "max_bytes", &BYTE_SIZE)?.unwrap_or(1 << 30),
        };
        let transforms = match optional(config, "transform", &TRANSFORM)? {
            None => None,
            Some(transforms) => {
                let subscriptions = transforms.iter().map(|transform| transform.from.clone()).collect();
                let handler = HandlerConfig::with(config, subscriptions)?;
                Some((transforms, handler))
            }
        };
        Ok(Self { limits, transforms })
    }
}

impl ConsumerConfig {
    /// Reads it.
    pub(crate) fn parse(config: &StringMap) -> Result<Self, LinkError> {
        Ok(Self {
            broker: broker(config)?,
            publish: optional(config, "publish", &PATTERNS)?,
            patience: optional(config, "publish_timeout", &DURATION)?.unwrap_or(Duration::from_secs(5)),
        })
    }
}

impl HandlerConfig {
    /// Reads it.
    pub(crate) fn parse(config: &StringMap) -> Result<Self, LinkError> {
        Self::with(config, required(config, "subscriptions", &PATTERNS)?)
    }

    fn with(config: &StringMap, subscriptions: Vec<Pattern>) -> Result<Self, LinkError> {
        let broker = broker(config)?;
        let order = optional(config, "order_by", &ORDER)?;
        if let (Some(Order::Header(_)), BrokerConfig::Embedded) = (&order, &broker) {
            return Err(wrong("order_by", "names a header, which messages of the embedded queue have not", &ORDER));
        }
        let delivery = DeliveryConfig {
            order,
            max_in_flight: optional(config, "max_in_flight", &IN_FLIGHT)?.unwrap_or(32),
            timeout: optional(config, "timeout", &DURATION)?.unwrap_or(Duration::from_secs(30)),
            redelivery: redelivery(config, &subscriptions)?,
        };
        Ok(Self { broker, subscriptions, group: optional(config, "queue_group", &NAME)?, delivery })
    }
}

fn broker(config: &StringMap) -> Result<BrokerConfig, LinkError> {
    // Whoever names a server wants it to be used.
    let default = if config.contains_key("cluster_uris") { Backend::Nats } else { Backend::Embedded };
    let backend = optional(config, "backend", &BACKEND)?.unwrap_or(default);
    if backend == Backend::Embedded {
        return Ok(BrokerConfig::Embedded);
    }
    let server = ServerConfig {
        servers: hidden(config, "cluster_uris", &SERVERS)?
            .ok_or_else(|| wrong("cluster_uris", "is missing", &SERVERS))?,
        credentials_file: optional(config, "credentials_file", &FILE)?,
        nkey_seed: hidden(config, "nkey_seed", &NKEY)?,
        tls_ca: optional(config, "tls_ca", &FILE)?,
    };
    if backend == Backend::Nats {
        return Ok(BrokerConfig::Nats(server));
    }
    let stream = StreamConfig {
        name: optional(config, "stream", &NAME)?.unwrap_or_else(|| "MESSAGES".to_owned()),
        subjects: optional(config, "stream_subjects", &PATTERNS)?.unwrap_or_default(),
        max_age: optional(config, "stream_max_age", &DURATION)?.unwrap_or(Duration::from_hours(7 * 24)),
        replicas: optional(config, "stream_replicas", &REPLICAS)?.unwrap_or(1),
    };
    Ok(BrokerConfig::JetStream(server, stream))
}

fn redelivery(config: &StringMap, subscriptions: &[Pattern]) -> Result<Redelivery, LinkError> {
    let subject = optional(config, "dead_letter", &SUBJECT)?;
    let tries = optional(config, "max_deliver", &TRIES)?;
    let dead_letter = match (subject, tries) {
        (Some(subject), _) if subscriptions.iter().any(|pattern| pattern.matches(&subject)) => {
            return Err(wrong("dead_letter", "is subscribed to by the same link", &SUBJECT));
        }
        (Some(subject), tries) => Some((tries.unwrap_or(5), subject)),
        (None, Some(_)) => {
            return Err(wrong("dead_letter", "is missing: after `max_deliver` a message would be lost", &SUBJECT));
        }
        (None, None) => None,
    };
    Ok(Redelivery {
        backoff: optional(config, "backoff", &DURATION)?.unwrap_or(Duration::from_millis(500)),
        max_backoff: optional(config, "max_backoff", &DURATION)?.unwrap_or(Duration::from_secs(30)),
        dead_letter,
    })
}

/// As `optional`, but what is there is not shown.
fn hidden<T>(config: &StringMap, key: &str, form: &Form<T>) -> Result<Option<T>, LinkError> {
    let Some(text) = config.get(key) else { return Ok(None) };
    (form.parse)(text.trim()).map(Some).ok_or_else(|| wrong(key, "is not of that form", form))
}

fn wrong<T>(key: &str, problem: &str, form: &Form<T>) -> LinkError {
    let (key, problem) = (key.to_owned(), problem.to_owned());
    LinkError::Config { key, problem, expected: form.expected, example: form.example }
}

fn backend(text: &str) -> Option<Backend> {
    match text {
        "embedded" => Some(Backend::Embedded),
        "nats" => Some(Backend::Nats),
        "jetstream" => Some(Backend::JetStream),
        _ => None,
    }
}

fn servers(text: &str) -> Option<Vec<String>> {
    let is_url = |url: &&str| {
        let rest = ["nats://", "tls://"].iter().find_map(|scheme| url.strip_prefix(scheme)).unwrap_or(url);
        !rest.is_empty() && !rest.contains("://") && !rest.contains(char::is_whitespace)
    };
    let urls: Vec<&str> = text.split(',').map(str::trim).collect();
    urls.iter().all(is_url).then(|| urls.into_iter().map(str::to_owned).collect())
}

fn file(text: &str) -> Option<PathBuf> {
    text.starts_with('/').then(|| text.into())
}

fn nkey(text: &str) -> Option<Secret> {
    let is_seed = text.len() == 58 && text.starts_with("SU") && text.bytes().all(|b| b.is_ascii_alphanumeric());
    is_seed.then(|| Secret::new(text))
}

fn name(text: &str) -> Option<String> {
    let valid = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
    ((1..=64).contains(&text.len()) && text.bytes().all(valid)).then(|| text.to_owned())
}

fn patterns(text: &str) -> Option<Vec<Pattern>> {
    let patterns: Vec<Pattern> = text.split(',').map(|part| Pattern::parse(part.trim())).collect::<Option<_>>()?;
    let overlap = |(nth, pattern): (usize, &Pattern)| patterns[..nth].iter().any(|other| other.overlaps(pattern));
    (!patterns.iter().enumerate().any(overlap)).then_some(patterns)
}

fn literal(text: &str) -> Option<String> {
    (subject::check(text).is_ok() && !subject::is_inbox(text)).then(|| text.to_owned())
}

fn order(text: &str) -> Option<Order> {
    match text.split_once(':') {
        None if text == "subject" => Some(Order::Subject),
        Some(("token", place)) => place.parse::<usize>().ok()?.checked_sub(1).map(Order::Token),
        Some(("header", header)) => name(header).map(Order::Header),
        _ => None,
    }
}

fn in_flight(text: &str) -> Option<usize> {
    text.parse().ok().filter(|count| (1..=1024).contains(count))
}

fn positive<T: std::str::FromStr + Default + PartialEq>(text: &str) -> Option<T> {
    text.parse().ok().filter(|number| *number != T::default())
}

fn replicas(text: &str) -> Option<usize> {
    text.parse().ok().filter(|count| [1, 3, 5].contains(count))
}

#[cfg(test)]
mod tests {
    use super::{BrokerConfig, ConsumerConfig, HandlerConfig, KEYS, Order, PROVIDER_KEYS, ProviderConfig, merged};
    use trellis_provider_sdk::testing::{as_source, config, documented_keys, link, with_secrets};
    use trellis_provider_sdk::{LinkError, StringMap};

    fn handler(pairs: &[(&str, &str)]) -> Result<HandlerConfig, LinkError> {
        HandlerConfig::parse(&config(&[&[("subscriptions", "a.*")], pairs].concat()))
    }

    #[test]
    fn a_wrong_key_is_named_with_an_example() {
        for (key, value) in [
            ("subscriptions", "a..b"),
            ("subscriptions", "a.b,a.*"),
            ("subscriptions", "$JS.>"),
            ("backend", "kafka"),
            ("queue_group", "a b"),
            ("order_by", "token:0"),
            ("order_by", "header:Key"),
            ("max_in_flight", "0"),
            ("timeout", "30"),
            ("max_deliver", "0"),
            ("dead_letter", "dead.*"),
            ("dead_letter", "a.b"),
            ("backoff", "fast"),
        ] {
            let error = handler(&[(key, value)]).expect_err(value);
            assert!(matches!(&error, LinkError::Config { key: named, .. } if named == key), "{error}");
        }
        for (key, value) in
            [("cluster_uris", "http://a"), ("nkey_seed", "secret"), ("tls_ca", "ca.pem"), ("credentials_file", "x")]
        {
            let pairs = [("cluster_uris", "nats://a"), ("backend", "nats"), (key, value)];
            let error = ConsumerConfig::parse(&config(&pairs)).expect_err(value);
            assert!(matches!(&error, LinkError::Config { key: named, .. } if named == key), "{error}");
            assert!(key != "nkey_seed" || !error.to_string().contains("secret"), "{error}");
        }
        let missing = ConsumerConfig::parse(&config(&[("backend", "jetstream")])).expect_err("no server").to_string();
        assert!(missing.contains("\"cluster_uris\" is missing") && missing.contains("nats://"), "{missing}");
        let lossy = handler(&[("max_deliver", "3")]).expect_err("nowhere to go").to_string();
        assert!(lossy.contains("dead_letter") && lossy.contains("lost"), "{lossy}");
        assert!(ProviderConfig::parse(&config(&[("transform", "a -> a")])).is_err());
    }

    #[test]
    fn a_server_may_be_a_secret_of_the_link_and_is_not_shown() {
        let of = |url: &str| {
            let link = as_source(link("m", "a", &["wasmcloud:messaging/handler"]), &[("cluster_uris", "nats://a")]);
            let config = merged(&StringMap::new(), &with_secrets(link, &[("cluster_uris", url)])).expect("known");
            ConsumerConfig::parse(&config).map(|config| config.broker)
        };
        match of("nats://ada:hunter2@b") {
            Ok(BrokerConfig::Nats(server)) => assert_eq!(server.servers, ["nats://ada:hunter2@b"]),
            other => panic!("{other:?}"),
        }
        let error = of("http://ada:hunter2@b").expect_err("no nats-server").to_string();
        assert!(error.contains("cluster_uris") && !error.contains("hunter2"), "{error}");
    }

    #[test]
    fn the_queue_is_embedded_unless_a_server_is_named() {
        assert!(matches!(handler(&[]).expect("valid").broker, BrokerConfig::Embedded));
        let server = [("cluster_uris", "127.0.0.1:4222, nats://b:1")];
        match handler(&server).expect("valid").broker {
            BrokerConfig::Nats(server) => assert_eq!(server.servers, ["127.0.0.1:4222", "nats://b:1"]),
            other => panic!("{other:?}"),
        }
        let order = handler(&[&server[..], &[("order_by", "header:Key")]].concat()).expect("valid").delivery.order;
        assert_eq!(order, Some(Order::Header("Key".into())));
    }

    #[test]
    fn the_readme_has_all_keys_and_no_others_are_taken() {
        let keys = [&KEYS[..], &PROVIDER_KEYS].concat();
        assert_eq!(documented_keys(include_str!("../README.md")), keys.iter().map(|key| (*key).to_owned()).collect());
        let of = |pairs| merged(&StringMap::new(), &as_source(link("m", "a", &["wasmcloud:messaging/handler"]), pairs));
        assert!(of(&[("subscriptions", "a"), ("publish", "b")]).is_ok(), "one config may be for both ends");
        let error = of(&[("subscription", "a")]).expect_err("misspelt").to_string();
        assert!(error.contains("\"subscription\" is not known") && error.contains("e.g. \"subscriptions\""), "{error}");
        assert!(of(&[("transform", "a -> b")]).is_err(), "the provider's");
        assert!(ProviderConfig::parse(&config(&[("transforms", "a -> b")])).is_err());
    }
}
