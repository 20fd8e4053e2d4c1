//! What links may configure. Nothing else reads a config map.

use std::time::Duration;

use trellis_provider_sdk::config::{DURATION, Form, optional};
use trellis_provider_sdk::{LinkError, StringMap};

const PREFIX: Form<String> =
    Form { expected: "1 to 64 letters, digits, `-`, `_`, `.` or `/`", example: "orders", parse: name };

const BUCKET: Form<String> =
    Form { expected: "1 to 64 letters, digits, `-`, `_`, `.` or `/`", example: "sessions", parse: name };

const FSYNC: Form<Fsync> =
    Form { expected: "`always`, `never`, or `interval:` and a time", example: "interval:100ms", parse: fsync };

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
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LinkConfig {
    /// Sets the buckets of this link apart from those of links with another prefix, or none.
    pub(crate) prefix: Option<String>,
    /// The only bucket of this link.
    pub(crate) bucket: Option<String>,
    /// When its writes are on the disk.
    pub(crate) fsync: Fsync,
}

impl LinkConfig {
    /// Reads it.
    pub(crate) fn parse(config: &StringMap) -> Result<Self, LinkError> {
        Ok(Self {
            prefix: optional(config, "prefix", &PREFIX)?,
            bucket: optional(config, "bucket", &BUCKET)?,
            fsync: optional(config, "fsync", &FSYNC)?.unwrap_or(Fsync::Always),
        })
    }
}

fn name(text: &str) -> Option<String> {
    let valid = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b'/');
    ((1..=64).contains(&text.len()) && text.bytes().all(valid)).then(|| text.to_owned())
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
    use super::{Fsync, LinkConfig};
    use std::time::Duration;
    use trellis_provider_sdk::testing::config;

    #[test]
    fn a_wrong_key_is_named_with_an_example() {
        let long = "x".repeat(65);
        for (key, value, example) in [
            ("prefix", "a b", "orders"),
            ("prefix", "", "orders"),
            ("bucket", "a\0b", "sessions"),
            ("bucket", long.as_str(), "sessions"),
            ("fsync", "sometimes", "interval:100ms"),
            ("fsync", "interval:0", "interval:100ms"),
            ("fsync", "interval:", "interval:100ms"),
        ] {
            let error = LinkConfig::parse(&config(&[(key, value)])).expect_err(value).to_string();
            assert!(error.contains(key) && error.contains(example), "{error}");
        }
    }

    #[test]
    fn writes_are_on_the_disk_unless_the_link_says_otherwise() {
        let check = |pairs: &[(&str, &str)], fsync| {
            assert_eq!(LinkConfig::parse(&config(pairs)).expect("valid").fsync, fsync);
        };
        check(&[], Fsync::Always);
        check(&[("fsync", "never")], Fsync::Never);
        check(&[("fsync", "interval:50")], Fsync::Interval(Duration::from_millis(50)));
        check(&[("fsync", "interval:2s")], Fsync::Interval(Duration::from_secs(2)));
    }
}
