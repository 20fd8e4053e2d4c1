//! What links may configure; the provider's own config has defaults for all of them. Nothing else reads a config map.

use std::path::PathBuf;
use std::time::Duration;

use tokio_postgres::config::{Host, SslMode};
use trellis_interfaces::sql::Isolation;
use trellis_provider_sdk::config::{BYTE_SIZE, DURATION, Form, known, known_of_link, optional};
use trellis_provider_sdk::{ActiveLink, LinkError, StringMap};

use crate::migration;
use crate::result::Limits;
use crate::statement::Access;

/// All keys, of links and of the provider.
const KEYS: [&str; 17] = [
    "access",
    "backend",
    "database",
    "fsync",
    "idle-timeout",
    "isolation",
    "max-bytes",
    "max-connections",
    "max-rows",
    "max-transactions",
    "migration.",
    "migrations",
    "password",
    "retries",
    "timeout",
    "tls-ca",
    "url",
];

/// Rows of one call, unless the link says otherwise.
const DEFAULT_ROWS: usize = 10_000;
/// Bytes of one call, unless the link says otherwise.
const DEFAULT_BYTES: u64 = 4 << 20;
/// The most that an answer can have on its way through the lattice.
const MOST_BYTES: u64 = 15 << 20;
/// Connections of one link.
const DEFAULT_CONNECTIONS: usize = 8;
/// Transactions that stay open between calls.
const DEFAULT_TRANSACTIONS: usize = 4;
/// How long such a transaction may wait for its next call.
const DEFAULT_IDLE: Duration = Duration::from_secs(5);
/// The longest that a call takes, whatever time its caller has.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(30);
/// How often a `transaction` is done again after a conflict.
const DEFAULT_RETRIES: usize = 3;

const BACKEND: Form<Backend> = Form { expected: "`sqlite` or `postgres`", example: "sqlite", parse: backend };
const DATABASE: Form<String> =
    Form { expected: "1 to 64 letters, digits, `-` or `_`", example: "orders", parse: database_name };
const ACCESS: Form<Access> = Form { expected: "`read`, `write` or `schema`", example: "write", parse: access };
const ISOLATION: Form<Isolation> = Form {
    expected: "`read-committed`, `repeatable-read` or `serializable`",
    example: "serializable",
    parse: isolation,
};
const FSYNC: Form<Fsync> = Form { expected: "`always`, `checkpoint` or `never`", example: "always", parse: fsync };
const ROWS: Form<usize> = Form { expected: "a number from 1 to 1000000", example: "10000", parse: up_to::<1_000_000> };
const CONNECTIONS: Form<usize> = Form { expected: "a number from 1 to 100", example: "8", parse: up_to::<100> };
const RETRIES: Form<usize> = Form { expected: "a number from 0 to 10", example: "3", parse: retries };
const ANSWER_SIZE: Form<u64> = Form { expected: "a size of at most 15MiB", example: "4MiB", parse: answer_size };
const FOLDER: Form<PathBuf> =
    Form { expected: "the absolute path of a directory", example: "/etc/orders/migrations", parse: absolute };
const PEM: Form<PathBuf> =
    Form { expected: "the absolute path of a PEM file", example: "/etc/ssl/database-ca.pem", parse: absolute };

/// The config of a link.
pub(crate) struct LinkConfig {
    /// Where its database is.
    pub(crate) place: Place,
    /// What its actor may do.
    pub(crate) access: Access,
    /// What a transaction sees of others when the actor does not say.
    pub(crate) isolation: Isolation,
    /// Limits of one call's result.
    pub(crate) limits: Limits,
    /// Connections at once.
    pub(crate) connections: usize,
    /// Transactions that stay open between calls, at once.
    pub(crate) transactions: usize,
    /// How long such a transaction may wait for its next call.
    pub(crate) idle: Duration,
    /// The longest that a call takes.
    pub(crate) timeout: Duration,
    /// How often a `transaction` is done again after a conflict.
    pub(crate) retries: usize,
    /// Where its migrations are.
    pub(crate) migrations: migration::Source,
}

/// Where a database is.
pub(crate) enum Place {
    /// In a file of the provider.
    Sqlite(Sqlite),
    /// On a server.
    Postgres(Box<Postgres>),
}

/// A SQLite file.
pub(crate) struct Sqlite {
    /// Its name; none is the actor's own.
    pub(crate) name: Option<String>,
    /// When changes are on the disk.
    pub(crate) fsync: Fsync,
}

/// A PostgreSQL server, with user and database.
pub(crate) struct Postgres {
    /// All but TLS.
    pub(crate) server: tokio_postgres::Config,
    /// Whether and how the connection is encrypted.
    pub(crate) tls: Tls,
}

/// Encryption of connections.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Tls {
    /// None.
    Off,
    /// Required, and the server's certificate is checked.
    On {
        /// The certificates to check it by; none are those of the system.
        ca: Option<PathBuf>,
    },
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Backend {
    Sqlite,
    Postgres,
}

/// When changes are on the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fsync {
    /// Before they are answered.
    Always,
    /// From time to time; a power failure may undo the last ones, and leaves the file whole.
    Checkpoint,
    /// When the system writes them; a power failure may damage the file.
    Never,
}

/// Whether all keys of a provider and of its link are known.
pub(crate) fn check_keys(provider: &StringMap, link: &ActiveLink) -> Result<(), LinkError> {
    known(provider, &KEYS)?;
    known_of_link(link, &KEYS)
}

impl LinkConfig {
    /// Reads it.
    pub(crate) fn parse(config: &StringMap) -> Result<Self, LinkError> {
        let place = match optional(config, "backend", &BACKEND)?.unwrap_or(Backend::Sqlite) {
            Backend::Sqlite => Place::Sqlite(Sqlite {
                name: optional(config, "database", &DATABASE)?,
                fsync: optional(config, "fsync", &FSYNC)?.unwrap_or(Fsync::Always),
            }),
            Backend::Postgres => Place::Postgres(Box::new(Postgres::parse(config)?)),
        };
        let bytes = optional(config, "max-bytes", &ANSWER_SIZE)?.unwrap_or(DEFAULT_BYTES);
        let limits = Limits {
            rows: optional(config, "max-rows", &ROWS)?.unwrap_or(DEFAULT_ROWS),
            bytes: usize::try_from(bytes).unwrap_or(usize::MAX),
        };
        Ok(Self {
            place,
            access: optional(config, "access", &ACCESS)?.unwrap_or(Access::Write),
            isolation: optional(config, "isolation", &ISOLATION)?.unwrap_or(Isolation::ReadCommitted),
            limits,
            connections: optional(config, "max-connections", &CONNECTIONS)?.unwrap_or(DEFAULT_CONNECTIONS),
            transactions: optional(config, "max-transactions", &CONNECTIONS)?.unwrap_or(DEFAULT_TRANSACTIONS),
            idle: optional(config, "idle-timeout", &DURATION)?.unwrap_or(DEFAULT_IDLE),
            timeout: optional(config, "timeout", &DURATION)?.unwrap_or(DEFAULT_TIMEOUT),
            retries: optional(config, "retries", &RETRIES)?.unwrap_or(DEFAULT_RETRIES),
            migrations: migration::Source::new(optional(config, "migrations", &FOLDER)?, inline(config)),
        })
    }
}

impl Postgres {
    fn parse(config: &StringMap) -> Result<Self, LinkError> {
        // The value may hold a password, so that the error does not show it.
        let refuse = |problem: &str| LinkError::Config {
            key: "url".to_owned(),
            problem: problem.to_owned(),
            expected: "the URL of a PostgreSQL database with its user",
            example: "postgres://orders@db.internal:5432/orders",
        };
        let url = config.get("url").ok_or_else(|| refuse("is missing"))?;
        let mut server: tokio_postgres::Config = url.trim().parse().map_err(|_| refuse("is no such URL"))?;
        let has_user = server.get_user().is_some_and(|user| !user.is_empty());
        let has_host = !server.get_hosts().is_empty() && server.get_hosts().iter().all(is_host);
        if !has_user || !has_host {
            return Err(refuse("names no host or no user"));
        }
        if let Some(password) = config.get("password") {
            server.password(password);
        }
        let is_local = server.get_hosts().iter().all(is_local);
        let tls = match server.get_ssl_mode() {
            SslMode::Disable => Tls::Off,
            SslMode::Prefer if is_local => Tls::Off,
            _ => Tls::On { ca: optional(config, "tls-ca", &PEM)? },
        };
        server.ssl_mode(if tls == Tls::Off { SslMode::Disable } else { SslMode::Require });
        Ok(Self { server, tls })
    }
}

fn is_host(host: &Host) -> bool {
    match host {
        Host::Tcp(name) => {
            !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':'))
        }
        #[cfg(unix)]
        Host::Unix(_) => true,
    }
}

fn is_local(host: &Host) -> bool {
    match host {
        Host::Tcp(name) => {
            name == "localhost" || name.parse().is_ok_and(|address: std::net::IpAddr| address.is_loopback())
        }
        #[cfg(unix)]
        Host::Unix(_) => true,
    }
}

/// The migrations that the config itself has: those of `migration.<name>`.
fn inline(config: &StringMap) -> Vec<(String, String)> {
    let named =
        config.iter().filter_map(|(key, text)| Some((key.strip_prefix("migration.")?.to_owned(), text.clone())));
    named.collect()
}

fn backend(text: &str) -> Option<Backend> {
    match text {
        "sqlite" => Some(Backend::Sqlite),
        "postgres" => Some(Backend::Postgres),
        _ => None,
    }
}

fn database_name(text: &str) -> Option<String> {
    let is_valid = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
    ((1..=64).contains(&text.len()) && text.bytes().all(is_valid)).then(|| text.to_owned())
}

fn access(text: &str) -> Option<Access> {
    match text {
        "read" => Some(Access::Read),
        "write" => Some(Access::Write),
        "schema" => Some(Access::Schema),
        _ => None,
    }
}

fn isolation(text: &str) -> Option<Isolation> {
    match text {
        "read-committed" => Some(Isolation::ReadCommitted),
        "repeatable-read" => Some(Isolation::RepeatableRead),
        "serializable" => Some(Isolation::Serializable),
        _ => None,
    }
}

fn fsync(text: &str) -> Option<Fsync> {
    match text {
        "always" => Some(Fsync::Always),
        "checkpoint" => Some(Fsync::Checkpoint),
        "never" => Some(Fsync::Never),
        _ => None,
    }
}

fn up_to<const MOST: usize>(text: &str) -> Option<usize> {
    text.parse().ok().filter(|number| (1..=MOST).contains(number))
}

fn retries(text: &str) -> Option<usize> {
    text.parse().ok().filter(|number| *number <= 10)
}

fn answer_size(text: &str) -> Option<u64> {
    (BYTE_SIZE.parse)(text).filter(|bytes| (1..=MOST_BYTES).contains(bytes))
}

fn absolute(text: &str) -> Option<PathBuf> {
    let path = PathBuf::from(text);
    path.is_absolute().then_some(path)
}

#[cfg(test)]
mod tests {
    use super::{KEYS, LinkConfig, Place, Tls, check_keys};
    use crate::statement::Access;
    use trellis_provider_sdk::StringMap;
    use trellis_provider_sdk::testing::{as_target, config, documented_keys, link};

    fn error(pairs: &[(&str, &str)]) -> String {
        LinkConfig::parse(&config(pairs)).err().expect("is refused").to_string()
    }

    #[test]
    fn a_wrong_key_is_named_with_an_example() {
        for (key, value, example) in [
            ("backend", "oracle", "sqlite"),
            ("database", "../other", "orders"),
            ("database", "", "orders"),
            ("access", "all", "write"),
            ("isolation", "none", "serializable"),
            ("fsync", "sometimes", "always"),
            ("max-rows", "0", "10000"),
            ("max-bytes", "1GiB", "4MiB"),
            ("max-connections", "1000", "8"),
            ("max-transactions", "0", "8"),
            ("idle-timeout", "5", "30s"),
            ("timeout", "0s", "30s"),
            ("retries", "-1", "3"),
            ("migrations", "relative", "/etc/orders/migrations"),
        ] {
            let error = error(&[(key, value)]);
            assert!(error.contains(key) && error.contains(example), "{error}");
        }
    }

    #[test]
    fn a_wrong_url_is_named_and_not_shown() {
        for url in ["postgres://user:hunter2@[", "user=a password=hunter2", "postgres://:hunter2@host/db", ""] {
            let error = error(&[("backend", "postgres"), ("url", url)]);
            assert!(error.contains("\"url\"") && error.contains("postgres://orders@"), "{error}");
            assert!(!error.contains("hunter2"), "{error}");
        }
        assert!(error(&[("backend", "postgres")]).contains("missing"));
    }

    #[test]
    fn connections_are_encrypted_unless_they_stay_on_the_machine() {
        let tls = |url: &str| match LinkConfig::parse(&config(&[("backend", "postgres"), ("url", url)])) {
            Ok(LinkConfig { place: Place::Postgres(postgres), .. }) => postgres.tls,
            _ => panic!("{url} is valid"),
        };
        for url in ["postgres://a@localhost/a", "postgres://a@127.0.0.1/a", "postgres://a@db/a?sslmode=disable"] {
            assert_eq!(tls(url), Tls::Off, "{url}");
        }
        for url in ["postgres://a@db/a", "postgres://a@localhost/a?sslmode=require"] {
            assert_eq!(tls(url), Tls::On { ca: None }, "{url}");
        }
    }

    #[test]
    fn an_actor_may_change_rows_and_not_tables_unless_the_link_says_so() {
        let access = LinkConfig::parse(&config(&[])).map(|config| config.access);
        assert_eq!(access, Ok(Access::Write));
    }

    #[test]
    fn the_readme_has_all_keys_and_no_others_are_taken() {
        let keys = KEYS;
        assert_eq!(documented_keys(include_str!("../README.md")), keys.iter().map(|key| (*key).to_owned()).collect());
        let check =
            |pairs| check_keys(&StringMap::new(), &as_target(link("a", "sql", &["trellis:sql/database"]), pairs));
        assert!(check(&[("migration.001", "create table a"), ("retries", "2")]).is_ok());
        let error = check(&[("max_row", "5")]).expect_err("misspelt").to_string();
        assert!(error.contains("\"max_row\" is not known") && error.contains("e.g. \"max-rows\""), "{error}");
        let provider =
            check_keys(&config(&[("databse", "a")]), &as_target(link("a", "sql", &["trellis:sql/database"]), &[]));
        assert!(provider.is_err());
    }
}
