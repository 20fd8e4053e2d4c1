//! What links may configure. Nothing else reads a config map.

use std::time::Duration;

use croner::Cron;
use jiff::tz::TimeZone;
use trellis_provider_sdk::config::{DURATION, Form, known_of_link, optional};
use trellis_provider_sdk::{ActiveLink, LinkError, StringMap};

use crate::clock::UnixMs;
use crate::firing::{Missed, Overlap, Policy};
use crate::schedule::{Schedule, parse_cron};

/// The time that the actor has for a firing.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(30);
/// How late a firing is still in time.
const DEFAULT_GRACE: Duration = Duration::from_secs(10);
/// How often a firing is tried.
const DEFAULT_ATTEMPTS: u32 = 5;

/// All keys.
const KEYS: [&str; 10] =
    ["attempts", "every", "grace", "jitter", "missed", "name", "overlap", "schedule", "timeout", "timezone"];

const SCHEDULE: Form<Cron> = Form {
    expected: "a cron expression: minute, hour, day, month, weekday, and seconds before them if wanted",
    example: "0 9 * * MON-FRI",
    parse: parse_cron,
};
const TIME_ZONE: Form<TimeZone> =
    Form { expected: "the name of a time zone", example: "Europe/Berlin", parse: |text| TimeZone::get(text).ok() };
const PERIOD: Form<Duration> = Form { expected: "a time of at least 1s", example: "5m", parse: period };
const MISSED: Form<Missed> = Form { expected: "`skip` or `once`", example: "once", parse: missed };
const OVERLAP: Form<Overlap> = Form { expected: "`skip` or `queue`", example: "skip", parse: overlap };
const ATTEMPTS: Form<u32> = Form { expected: "a number from 1 to 100", example: "5", parse: attempts };
const TIMER_NAME: Form<String> =
    Form { expected: "1 to 64 letters of any kind", example: "nightly report", parse: name };

/// The config of a link.
#[derive(Debug, Clone)]
pub(crate) struct LinkConfig {
    /// When it fires.
    pub(crate) policy: Policy,
    /// What it is called; none is the name of the link.
    pub(crate) name: Option<String>,
    /// The time that the actor has for a firing.
    pub(crate) timeout: Duration,
    /// How often a firing is tried.
    pub(crate) attempts: u32,
}

impl LinkConfig {
    /// Reads that of `link`; as of `parse`.
    pub(crate) fn of(link: &ActiveLink, now: UnixMs) -> Result<Self, LinkError> {
        known_of_link(link, &KEYS)?;
        Self::parse(&link.config, now)
    }

    /// Reads it; `now` is to know whether it will ever fire.
    fn parse(config: &StringMap, now: UnixMs) -> Result<Self, LinkError> {
        let (text, schedule) = schedule(config)?;
        if schedule.next(now).is_none() {
            return Err(refuse("schedule", "never comes", &SCHEDULE));
        }
        Ok(Self {
            policy: Policy {
                text,
                schedule,
                missed: optional(config, "missed", &MISSED)?.unwrap_or(Missed::Skip),
                overlap: optional(config, "overlap", &OVERLAP)?.unwrap_or(Overlap::Skip),
                grace: optional(config, "grace", &DURATION)?.unwrap_or(DEFAULT_GRACE),
                jitter: optional(config, "jitter", &DURATION)?.unwrap_or(Duration::ZERO),
            },
            name: optional(config, "name", &TIMER_NAME)?,
            timeout: optional(config, "timeout", &DURATION)?.unwrap_or(DEFAULT_TIMEOUT),
            attempts: optional(config, "attempts", &ATTEMPTS)?.unwrap_or(DEFAULT_ATTEMPTS),
        })
    }
}

fn schedule(config: &StringMap) -> Result<(String, Schedule), LinkError> {
    let cron = optional(config, "schedule", &SCHEDULE)?;
    let every = optional(config, "every", &PERIOD)?;
    let zone = optional(config, "timezone", &TIME_ZONE)?;
    match (cron, every, zone) {
        (Some(cron), None, zone) => {
            let zone = zone.unwrap_or(TimeZone::UTC);
            let text = format!("cron {} in {}", cron.as_str(), zone.iana_name().unwrap_or("UTC"));
            Ok((text, Schedule::Cron(Box::new(cron), zone)))
        }
        (None, Some(period), None) => Ok((format!("every {} ms", period.as_millis()), Schedule::Every(period))),
        (None, Some(_), Some(_)) => Err(refuse("timezone", "is there without \"schedule\"", &TIME_ZONE)),
        (Some(_), Some(_), _) => Err(refuse("every", "is there beside \"schedule\"; give one of them", &PERIOD)),
        (None, None, _) => Err(refuse("schedule", "is missing, and so is \"every\"", &SCHEDULE)),
    }
}

fn refuse<T>(key: &str, problem: &str, form: &Form<T>) -> LinkError {
    let (key, problem) = (key.to_owned(), problem.to_owned());
    LinkError::Config { key, problem, expected: form.expected, example: form.example }
}

fn period(text: &str) -> Option<Duration> {
    (DURATION.parse)(text).filter(|period| *period >= Duration::from_secs(1))
}

fn missed(text: &str) -> Option<Missed> {
    match text {
        "skip" => Some(Missed::Skip),
        "once" => Some(Missed::Once),
        _ => None,
    }
}

fn overlap(text: &str) -> Option<Overlap> {
    match text {
        "skip" => Some(Overlap::Skip),
        "queue" => Some(Overlap::Queue),
        _ => None,
    }
}

fn attempts(text: &str) -> Option<u32> {
    text.parse().ok().filter(|attempts| (1..=100).contains(attempts))
}

fn name(text: &str) -> Option<String> {
    (1..=64).contains(&text.chars().count()).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::{KEYS, LinkConfig};
    use trellis_provider_sdk::testing::{as_source, config, documented_keys, link};

    #[test]
    fn a_wrong_key_is_named_with_an_example() {
        for (pairs, key, example) in [
            (&[][..], "schedule", "0 9 * * MON-FRI"),
            (&[("schedule", "daily")], "schedule", "0 9 * * MON-FRI"),
            (&[("schedule", "0 0 30 2 *")], "schedule", "0 9 * * MON-FRI"),
            (&[("schedule", "* * * * *"), ("timezone", "Mars/Olympus")], "timezone", "Europe/Berlin"),
            (&[("schedule", "* * * * *"), ("every", "5m")], "every", "5m"),
            (&[("every", "5")], "every", "5m"),
            (&[("every", "10ms")], "every", "5m"),
            (&[("every", "5m"), ("timezone", "UTC")], "timezone", "Europe/Berlin"),
            (&[("every", "5m"), ("missed", "all")], "missed", "once"),
            (&[("every", "5m"), ("overlap", "both")], "overlap", "skip"),
            (&[("every", "5m"), ("jitter", "some")], "jitter", "30s"),
            (&[("every", "5m"), ("attempts", "0")], "attempts", "5"),
            (&[("every", "5m"), ("name", "")], "name", "nightly report"),
        ] {
            let error = LinkConfig::parse(&config(pairs), 0).expect_err(key).to_string();
            assert!(error.contains(&format!("{key:?}")) && error.contains(example), "{error}");
        }
    }

    #[test]
    fn the_readme_has_all_keys_and_no_others_are_taken() {
        let keys = KEYS;
        assert_eq!(documented_keys(include_str!("../README.md")), keys.iter().map(|key| (*key).to_owned()).collect());
        let of = |pairs| LinkConfig::of(&as_source(link("timer", "a", &["trellis:timer/handler"]), pairs), 0);
        assert!(of(&[("every", "5m"), ("retries", "2")]).is_ok(), "a source says what its calls are like");
        let error = of(&[("every", "5m"), ("mised", "once")]).expect_err("misspelt").to_string();
        assert!(error.contains("\"mised\" is not known") && error.contains("e.g. \"missed\""), "{error}");
    }
}
