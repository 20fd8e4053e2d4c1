//! Reading the keys of a provider's or a link's config: an error names the key, the expected form and an example.

use std::time::Duration;

use trellis_lattice::{duration, policy, spelling};

use crate::{ActiveLink, LinkError, Role, Secret, SecretMap, StringMap};

/// How the value of a key is read, and how an error describes that.
pub struct Form<T> {
    /// E.g. `a time with its unit`.
    pub expected: &'static str,
    /// A value that is right.
    pub example: &'static str,
    /// The value that a text stands for, if it is right.
    pub parse: fn(&str) -> Option<T>,
}

/// A time: a whole number and `ms`, `s`, `m`, `h` or `d`; not zero, at most a year.
pub const DURATION: Form<Duration> =
    Form { expected: "a time above zero in ms, s, m, h or d", example: "30s", parse: duration::parse };

/// A size: a whole number of bytes, or of `KiB`, `MiB` or `GiB`.
pub const BYTE_SIZE: Form<u64> =
    Form { expected: "a size in bytes, KiB, MiB or GiB", example: "16MiB", parse: parse_byte_size };

/// The value of `key`, if it is there.
///
/// # Errors
/// `Config` when it is there and not of that form.
pub fn optional<T>(config: &StringMap, key: &str, form: &Form<T>) -> Result<Option<T>, LinkError> {
    let Some(text) = config.get(key) else { return Ok(None) };
    match (form.parse)(text.trim()) {
        Some(value) => Ok(Some(value)),
        None => Err(error(key, format!("is {:?}", text.chars().take(100).collect::<String>()), form)),
    }
}

/// The value of `key`.
///
/// # Errors
/// `Config` when it is not there, or not of that form.
pub fn required<T>(config: &StringMap, key: &str, form: &Form<T>) -> Result<T, LinkError> {
    optional(config, key, form)?.ok_or_else(|| error(key, "is missing".to_owned(), form))
}

/// The value of `key` from the link's secrets, or else from its config, if it is there: for passwords, tokens, and
/// addresses with either in them.
///
/// # Errors
/// `Config` when it is there and not of that form; the value is not repeated.
pub fn optional_secret<T>(link: &ActiveLink, key: &str, form: &Form<T>) -> Result<Option<T>, LinkError> {
    let text = match link.secrets.get(key) {
        Some(value) => value.as_text().map(Secret::reveal).ok_or_else(|| error(key, "holds bytes".to_owned(), form))?,
        None => match link.config.get(key) {
            Some(text) => text,
            None => return Ok(None),
        },
    };
    (form.parse)(text.trim()).map(Some).ok_or_else(|| error(key, "is not of that form".to_owned(), form))
}

/// As [`optional_secret`], for a key that has to be there.
///
/// # Errors
/// `Config` when it is not there, or not of that form.
pub fn required_secret<T>(link: &ActiveLink, key: &str, form: &Form<T>) -> Result<T, LinkError> {
    optional_secret(link, key, form)?.ok_or_else(|| error(key, "is missing".to_owned(), form))
}

/// `config` with those of `secrets` over it that `keys` name: what a provider may be told in either way, such as a password
/// or a URL that holds one. It is a secret itself from then on: errors must not repeat the values of these keys.
///
/// # Errors
/// `Config` when one of them is no text.
pub fn with_secrets(mut config: StringMap, secrets: &SecretMap, keys: &[&str]) -> Result<StringMap, LinkError> {
    const TEXT: Form<()> = Form { expected: "a secret that is a text", example: "hunter2", parse: |_| None };
    for (key, value) in keys.iter().filter_map(|key| Some((*key, secrets.get(*key)?))) {
        let text = value.as_text().ok_or_else(|| error(key, "holds bytes".to_owned(), &TEXT))?;
        config.insert(key.to_owned(), text.reveal().to_owned());
    }
    Ok(config)
}

/// Refuses keys of the provider's own config that nobody reads: one that is misspelt would say nothing, and nobody
/// would notice. `keys` are all that are read; one that ends with `.` stands for all that begin with it.
///
/// # Errors
/// `Config`, naming the key and those that are most like it.
pub fn known(config: &StringMap, keys: &[&'static str]) -> Result<(), LinkError> {
    let is_known =
        |key: &str| keys.iter().any(|known| *known == key || (known.ends_with('.') && key.starts_with(known)));
    match config.keys().find(|key| !is_known(key)) {
        None => Ok(()),
        Some(key) => Err(unknown(key, keys)),
    }
}

/// The same for the config of a link. `keys` are those that are read at either end of links, since several links may
/// name one config. What calls over a link are to be like ([`policy::KEYS`]) is said at its source, and known there.
///
/// # Errors
/// As of [`known`].
pub fn known_of_link(link: &ActiveLink, keys: &[&'static str]) -> Result<(), LinkError> {
    let mut keys = keys.to_vec();
    let of_calls = policy::KEYS.iter().filter(|key| !keys.contains(key)).copied().collect::<Vec<_>>();
    match link.role {
        Role::Source => keys.extend(of_calls),
        Role::Target => {
            if let Some(key) = of_calls.into_iter().find(|key| link.config.contains_key(*key)) {
                return Err(LinkError::Config {
                    key: key.to_owned(),
                    problem: "is about calls, and not read at the end that is called".to_owned(),
                    expected: "it in a config of the link's source, or in a policy",
                    example: "--source-config POLICY_careful",
                });
            }
        }
    }
    known(&link.config, &keys)
}

/// How many keys an error names.
const NAMED: usize = 3;

fn unknown(key: &str, keys: &[&'static str]) -> LinkError {
    let alike = spelling::alike(key, keys, NAMED);
    let shown: String = key.chars().take(100).collect();
    let named = alike.iter().map(|known| format!("{known:?}")).collect::<Vec<_>>().join(", ");
    LinkError::Config {
        key: shown,
        problem: format!("is not known here; most like it are {named}"),
        expected: "a key that the provider's README lists",
        example: alike.first().copied().unwrap_or("none"),
    }
}

fn error<T>(key: &str, problem: String, form: &Form<T>) -> LinkError {
    LinkError::Config { key: key.to_owned(), problem, expected: form.expected, example: form.example }
}

fn number_and_unit(text: &str) -> Option<(u64, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    Some((number.parse().ok()?, unit.trim_start()))
}

fn parse_byte_size(text: &str) -> Option<u64> {
    let (number, unit) = number_and_unit(text)?;
    let shift = match unit {
        "" | "B" => 0,
        "KiB" => 10,
        "MiB" => 20,
        "GiB" => 30,
        _ => return None,
    };
    number.checked_mul(1 << shift)
}

#[cfg(test)]
mod tests {
    use super::{
        BYTE_SIZE, DURATION, Form, known, known_of_link, optional, optional_secret, required, required_secret,
        with_secrets,
    };
    use crate::{ActiveLink, SecretValue, StringMap, testing};
    use std::fmt::Debug;
    use std::time::Duration;

    fn check<T: PartialEq + Debug>(form: &Form<T>, text: &str, expected: Option<T>) {
        let config = StringMap::from([("key".to_owned(), text.to_owned())]);
        match expected {
            Some(value) => assert_eq!(optional(&config, "key", form), Ok(Some(value))),
            None => {
                let error = optional(&config, "key", form).expect_err(text).to_string();
                for part in ["\"key\"", text, form.expected, form.example] {
                    assert!(error.contains(part), "{error} names {part}");
                }
            }
        }
    }

    #[test]
    fn times_and_sizes_have_units() {
        check(&DURATION, "250ms", Some(Duration::from_millis(250)));
        check(&DURATION, "30 s", Some(Duration::from_secs(30)));
        check(&DURATION, "2m", Some(Duration::from_secs(120)));
        check(&DURATION, "2h", Some(Duration::from_hours(2)));
        check(&DURATION, "1d", Some(Duration::from_hours(24)));
        for bad in ["", "30", "0s", "-1s", "1w", "367d", "18446744073709551615m", "99999999999999999999s"] {
            check(&DURATION, bad, None);
        }
        check(&BYTE_SIZE, "100", Some(100));
        check(&BYTE_SIZE, "16MiB", Some(16 << 20));
        for bad in ["", "MiB", "1MB", "18446744073709551615GiB"] {
            check(&BYTE_SIZE, bad, None);
        }
    }

    #[test]
    fn a_secret_wins_over_config_and_is_not_repeated_when_it_is_wrong() {
        let link = |secrets: &[(&str, &str)], config: &[(&str, &str)]| {
            let link = testing::link("a", "b", &["wasi:keyvalue/store"]);
            testing::with_secrets(testing::as_target(link, config), secrets)
        };
        let read = |link: &ActiveLink| optional_secret(link, "key", &DURATION);
        assert_eq!(read(&link(&[("key", "1s")], &[("key", "2s")])), Ok(Some(Duration::from_secs(1))));
        assert_eq!(read(&link(&[], &[("key", "2s")])), Ok(Some(Duration::from_secs(2))));
        assert_eq!(read(&link(&[], &[])), Ok(None));
        for wrong in [link(&[("key", "hunter2")], &[]), link(&[], &[("key", "hunter2")])] {
            let error = read(&wrong).expect_err("wrong").to_string();
            assert!(error.contains("\"key\"") && !error.contains("hunter2"), "{error}");
        }
        let error = required_secret(&link(&[], &[]), "key", &DURATION).expect_err("missing").to_string();
        assert!(error.contains("\"key\" is missing"), "{error}");
    }

    #[test]
    fn secrets_go_over_a_config_where_their_keys_are_named() {
        let config = testing::config(&[("url", "here"), ("password", "old")]);
        let secrets = [("password", "new"), ("url", "there"), ("other", "x")]
            .map(|(key, value)| (key.to_owned(), SecretValue::text(value)));
        let merged = with_secrets(config.clone(), &secrets.into(), &["password", "token"]);
        assert_eq!(merged, Ok(testing::config(&[("url", "here"), ("password", "new")])));
        let bytes = [("password".to_owned(), SecretValue::bytes(*b"hunter2"))].into();
        let error = with_secrets(config, &bytes, &["password"]).expect_err("no text").to_string();
        assert!(error.contains("\"password\" holds bytes"), "{error}");
    }

    #[test]
    fn a_key_that_is_missing_is_named() {
        assert_eq!(optional(&StringMap::new(), "key", &DURATION), Ok(None));
        let error = required(&StringMap::new(), "key", &DURATION).expect_err("missing").to_string();
        assert!(error.contains("\"key\" is missing"), "{error}");
    }

    #[test]
    fn a_key_that_nobody_reads_is_named_with_those_that_it_is_like() {
        let keys = ["bucket", "migration.", "ttl", "url"];
        let check = |pairs: &[(&str, &str)]| known(&testing::config(pairs), &keys).map_err(|error| error.to_string());
        assert_eq!(check(&[("ttl", "1s"), ("migration.1", "create table"), ("bucket", "b")]), Ok(()));
        let error = check(&[("ttl", "1s"), ("ttll", "hunter2")]).expect_err("misspelt");
        for part in ["\"ttll\" is not known", "\"ttl\", \"url\"", "expected", "e.g. \"ttl\""] {
            assert!(error.contains(part), "{part} is not in {error}");
        }
        assert!(!error.contains("hunter2"), "{error}");
        assert!(check(&[("migration", "create table")]).is_err());
        assert!(check(&[(&"x".repeat(10_000), "")]).expect_err("unknown").len() < 500);
    }

    #[test]
    fn what_calls_are_like_is_said_at_the_source() {
        let link = || testing::link("a", "b", &["wasi:keyvalue/store"]);
        let pairs = [("ttl", "1s"), ("retries", "2")];
        assert_eq!(known_of_link(&testing::as_source(link(), &pairs), &["ttl"]), Ok(()));
        let error = known_of_link(&testing::as_target(link(), &pairs), &["ttl"]).expect_err("wrong end").to_string();
        assert!(error.contains("\"retries\"") && error.contains("source"), "{error}");
        assert_eq!(known_of_link(&testing::as_target(link(), &pairs), &["ttl", "retries"]), Ok(()), "its own");
        assert!(known_of_link(&testing::as_source(link(), &[("retrys", "2")]), &["ttl"]).is_err());
    }
}
