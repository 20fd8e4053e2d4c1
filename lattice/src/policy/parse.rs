//! From the keys of a config to a policy. Everything that is wrong is said at once.

use std::fmt;
use std::time::Duration;

use super::{Breaker, Classes, Concurrency, Policy, Retries, WAIT};
use crate::duration;
use crate::message::command::StringMap;

const TIMEOUT: &str = "timeout";
const RETRIES: &str = "retries";
const RETRY_ON: &str = "retry_on";
const FAILURES: &str = "breaker_failures";
const PAUSE: &str = "breaker_pause";
const BREAKER_ON: &str = "breaker_on";
const CONCURRENCY: &str = "concurrency";
const CONCURRENCY_WAIT: &str = "concurrency_wait";

/// All keys.
pub const KEYS: [&str; 8] = [TIMEOUT, RETRIES, RETRY_ON, FAILURES, PAUSE, BREAKER_ON, CONCURRENCY, CONCURRENCY_WAIT];

/// The most that a limit or a count may be.
const MOST: u32 = 1_000_000;

/// How the value of a key is read, and how a problem describes that.
struct Form<T> {
    expected: &'static str,
    example: &'static str,
    parse: fn(&str) -> Option<T>,
}

const TIME: Form<Duration> =
    Form { expected: "a time above zero in ms, s, m, h or d", example: "30s", parse: duration::parse };

const RETRY_COUNT: Form<u8> = Form {
    expected: "a number from 0 to 10",
    example: "2",
    parse: |text| text.parse().ok().filter(|retries| *retries <= 10),
};

const FAILURE_COUNT: Form<u32> = Form { expected: "a number from 1 to 1000000", example: "5", parse: count };

const LIMIT: Form<u32> = Form { expected: "a number from 1 to 1000000", example: "64", parse: count };

const CLASSES: Form<Classes> = Form {
    expected: "one or more of no-target, deadline, overloaded, trap, unknown-outcome, provider and breaker-open, \
               with commas between",
    example: "no-target,overloaded",
    parse: Classes::parse,
};

fn count(text: &str) -> Option<u32> {
    text.parse().ok().filter(|count| (1..=MOST).contains(count))
}

/// Something that a config says of calls and that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The key.
    pub key: String,
    /// What is wrong: `is missing`, `is "x"`.
    pub what: String,
    /// The expected form.
    pub expected: String,
    /// A value that is right.
    pub example: &'static str,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { key, what, expected, example } = self;
        write!(f, "key {key:?} {what}; expected {expected}, e.g. {example:?}")
    }
}

/// All that is wrong with a config; at least one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problems(pub Vec<Problem>);

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all: Vec<String> = self.0.iter().map(Problem::to_string).collect();
        f.write_str(&all.join("; "))
    }
}

impl std::error::Error for Problems {}

/// Whether a config has anything that is read here.
pub fn says_something(config: &StringMap) -> bool {
    KEYS.iter().any(|key| config.contains_key(*key))
}

impl Policy {
    /// Reads what a config says of calls among other things; `None` when it says nothing of them.
    ///
    /// # Errors
    /// All values that are wrong and keys that are missing.
    pub fn of_config(config: &StringMap) -> Result<Option<Self>, Problems> {
        if !says_something(config) {
            return Ok(None);
        }
        let mut reader = Reader { config, problems: Vec::new() };
        let policy = reader.policy();
        if reader.problems.is_empty() { Ok(Some(policy)) } else { Err(Problems(reader.problems)) }
    }

    /// Reads a config that is a policy and nothing else.
    ///
    /// # Errors
    /// As [`Self::of_config`], and all keys that are not known.
    pub fn parse(config: &StringMap) -> Result<Self, Problems> {
        let mut reader = Reader { config, problems: Vec::new() };
        let policy = reader.policy();
        if config.is_empty() {
            reader.note("timeout", "is missing, as is every other key".to_owned(), KEYS.join(", "), TIME.example);
        }
        for key in config.keys().filter(|key| !KEYS.contains(&key.as_str())) {
            reader.note(key, "is not known".to_owned(), format!("one of {}", KEYS.join(", ")), RETRIES);
        }
        if reader.problems.is_empty() { Ok(policy) } else { Err(Problems(reader.problems)) }
    }
}

struct Reader<'a> {
    config: &'a StringMap,
    problems: Vec<Problem>,
}

impl Reader<'_> {
    fn policy(&mut self) -> Policy {
        let retries = Retries::default();
        Policy {
            timeout: self.optional(TIMEOUT, &TIME),
            retries: Retries {
                most: self.optional(RETRIES, &RETRY_COUNT).unwrap_or(retries.most),
                on: self.optional(RETRY_ON, &CLASSES).unwrap_or(retries.on),
            },
            breaker: self.breaker(),
            concurrency: self.concurrency(),
        }
    }

    fn breaker(&mut self) -> Option<Breaker> {
        if ![FAILURES, PAUSE, BREAKER_ON].iter().any(|key| self.config.contains_key(*key)) {
            return None;
        }
        let failures = self.required(FAILURES, &FAILURE_COUNT);
        let pause = self.required(PAUSE, &TIME);
        let on = self.optional(BREAKER_ON, &CLASSES).unwrap_or(Classes::FAILURES);
        Some(Breaker { failures: failures?, pause: pause?, on })
    }

    fn concurrency(&mut self) -> Option<Concurrency> {
        if ![CONCURRENCY, CONCURRENCY_WAIT].iter().any(|key| self.config.contains_key(*key)) {
            return None;
        }
        let limit = self.required(CONCURRENCY, &LIMIT);
        let wait = self.optional(CONCURRENCY_WAIT, &TIME).unwrap_or(WAIT);
        Some(Concurrency { limit: limit?, wait })
    }

    fn optional<T>(&mut self, key: &str, form: &Form<T>) -> Option<T> {
        let text = self.config.get(key)?;
        let value = (form.parse)(text.trim());
        if value.is_none() {
            let shown = format!("is {:?}", text.chars().take(100).collect::<String>());
            self.note(key, shown, form.expected.to_owned(), form.example);
        }
        value
    }

    fn required<T>(&mut self, key: &str, form: &Form<T>) -> Option<T> {
        if !self.config.contains_key(key) {
            self.note(key, "is missing".to_owned(), form.expected.to_owned(), form.example);
        }
        self.optional(key, form)
    }

    fn note(&mut self, key: &str, what: String, expected: String, example: &'static str) {
        self.problems.push(Problem { key: key.to_owned(), what, expected, example });
    }
}
