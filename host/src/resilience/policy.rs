//! What the source config of a link may say of how its calls behave.

use std::time::Duration;

use trellis_lattice::message::command::StringMap;
use trellis_provider_sdk::LinkError;
use trellis_provider_sdk::config::{DURATION, Form, optional, required};

use super::breaker::Rule;

const TIMEOUT: &str = "timeout";
const RETRIES: &str = "retries";
const FAILURES: &str = "breaker_failures";
const PAUSE: &str = "breaker_pause";

const RETRY_COUNT: Form<u8> = Form {
    expected: "a number from 0 to 10",
    example: "2",
    parse: |text| text.parse().ok().filter(|retries| *retries <= 10),
};

const FAILURE_COUNT: Form<u32> = Form {
    expected: "a number from 1 to 1000000",
    example: "5",
    parse: |text| text.parse().ok().filter(|failures| (1..=1_000_000).contains(failures)),
};

/// How calls over a link behave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Policy {
    /// The longest that a call may take, retries included.
    pub(super) timeout: Option<Duration>,
    /// How often one call is tried again at most.
    pub(super) retries: u8,
    /// When calls are refused at once.
    pub(super) breaker: Option<Rule>,
}

impl Policy {
    /// Reads it; `None` when the config says nothing of it.
    ///
    /// # Errors
    /// `Config` naming the key, the form and an example.
    pub(crate) fn parse(config: &StringMap) -> Result<Option<Self>, LinkError> {
        if !says_something(config) {
            return Ok(None);
        }
        let breaker = match config.contains_key(FAILURES) || config.contains_key(PAUSE) {
            true => Some(Rule {
                failures: required(config, FAILURES, &FAILURE_COUNT)?,
                pause: required(config, PAUSE, &DURATION)?,
            }),
            false => None,
        };
        Ok(Some(Self {
            timeout: optional(config, TIMEOUT, &DURATION)?,
            retries: optional(config, RETRIES, &RETRY_COUNT)?.unwrap_or(0),
            breaker,
        }))
    }
}

/// Whether a config has anything that is read here.
pub(crate) fn says_something(config: &StringMap) -> bool {
    [TIMEOUT, RETRIES, FAILURES, PAUSE].iter().any(|key| config.contains_key(*key))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Policy, Rule};

    fn parse(pairs: &[(&str, &str)]) -> Result<Option<Policy>, String> {
        let config = pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        Policy::parse(&config).map_err(|error| error.to_string())
    }

    #[test]
    fn a_policy_is_what_the_keys_say() {
        assert_eq!(parse(&[("address", "127.0.0.1:80")]), Ok(None));
        let all = [("timeout", "250ms"), ("retries", "2"), ("breaker_failures", "5"), ("breaker_pause", "1m")];
        let rule = Rule { failures: 5, pause: Duration::from_secs(60) };
        let policy = Policy { timeout: Some(Duration::from_millis(250)), retries: 2, breaker: Some(rule) };
        assert_eq!(parse(&all), Ok(Some(policy)));
        assert_eq!(parse(&all[1..2]), Ok(Some(Policy { timeout: None, retries: 2, breaker: None })));
    }

    #[test]
    fn a_wrong_value_is_named_with_its_form_and_an_example() {
        for (pairs, parts) in [
            (&[("timeout", "5")][..], ["\"timeout\"", "above zero", "30s"]),
            (&[("retries", "11")], ["\"retries\"", "0 to 10", "\"2\""]),
            (&[("breaker_failures", "0"), ("breaker_pause", "1s")], ["\"breaker_failures\"", "1 to 1000000", "\"5\""]),
            (&[("breaker_failures", "3")], ["\"breaker_pause\"", "is missing", "30s"]),
            (&[("breaker_pause", "3s")], ["\"breaker_failures\"", "is missing", "\"5\""]),
        ] {
            let error = parse(pairs).expect_err("wrong");
            assert!(parts.iter().all(|part| error.contains(part)), "{error}");
        }
    }
}
