//! What configs may say of calls, and what is said of those that are wrong.

use std::time::Duration;

use super::{Breaker, Classes, Concurrency, Policy, Retries, config_name, is_policy, name_of};
use crate::error::CallErrorKind;
use crate::message::command::StringMap;

fn config(pairs: &[(&str, &str)]) -> StringMap {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

fn read(pairs: &[(&str, &str)]) -> Result<Option<Policy>, String> {
    Policy::of_config(&config(pairs)).map_err(|error| error.to_string())
}

#[test]
fn a_policy_is_what_the_keys_say() {
    assert_eq!(read(&[("address", "127.0.0.1:80")]), Ok(None));
    let all = [
        ("timeout", "250ms"),
        ("retries", "2"),
        ("retry_on", "no-target, deadline"),
        ("breaker_failures", "5"),
        ("breaker_pause", "1m"),
        ("breaker_on", "deadline"),
        ("concurrency", "64"),
        ("concurrency_wait", "20ms"),
    ];
    let policy = Policy {
        timeout: Some(Duration::from_millis(250)),
        retries: Retries { most: 2, on: Classes::of(&[CallErrorKind::NoTarget, CallErrorKind::Deadline]) },
        breaker: Some(Breaker {
            failures: 5,
            pause: Duration::from_secs(60),
            on: Classes::of(&[CallErrorKind::Deadline]),
        }),
        concurrency: Some(Concurrency { limit: 64, wait: Duration::from_millis(20) }),
    };
    assert_eq!(read(&all), Ok(Some(policy)));
    assert_eq!(Policy::parse(&config(&all)), Ok(policy));
}

#[test]
fn what_a_policy_does_not_say_is_as_without_one() {
    let retries = Retries { most: 2, on: Classes::RETRIED };
    assert_eq!(read(&[("retries", "2")]), Ok(Some(Policy { retries, ..Policy::default() })));
    let breaker = Breaker { failures: 3, pause: Duration::from_secs(1), on: Classes::FAILURES };
    let pairs = [("breaker_failures", "3"), ("breaker_pause", "1s")];
    assert_eq!(read(&pairs), Ok(Some(Policy { breaker: Some(breaker), ..Policy::default() })));
    let concurrency = Concurrency { limit: 8, wait: super::WAIT };
    assert_eq!(read(&[("concurrency", "8")]), Ok(Some(Policy { concurrency: Some(concurrency), ..Policy::default() })));
}

#[test]
fn a_wrong_value_is_named_with_its_form_and_an_example() {
    for (pairs, parts) in [
        (&[("timeout", "5")][..], ["\"timeout\" is \"5\"", "above zero", "30s"]),
        (&[("retries", "11")], ["\"retries\" is \"11\"", "0 to 10", "\"2\""]),
        (&[("breaker_failures", "0"), ("breaker_pause", "1s")], ["\"breaker_failures\"", "1 to 1000000", "\"5\""]),
        (&[("breaker_failures", "3")], ["\"breaker_pause\"", "is missing", "30s"]),
        (&[("breaker_pause", "3s")], ["\"breaker_failures\"", "is missing", "\"5\""]),
        (&[("breaker_on", "trap")], ["\"breaker_failures\"", "\"breaker_pause\"", "is missing"]),
        (&[("retry_on", "denied")], ["\"retry_on\" is \"denied\"", "unknown-outcome", "no-target,overloaded"]),
        (&[("retry_on", "")], ["\"retry_on\" is \"\"", "one or more of", "no-target,overloaded"]),
        (&[("concurrency", "0")], ["\"concurrency\" is \"0\"", "1 to 1000000", "\"64\""]),
        (&[("concurrency_wait", "1s")], ["\"concurrency\" is missing", "1 to 1000000", "\"64\""]),
    ] {
        let error = read(pairs).expect_err("wrong");
        assert!(parts.iter().all(|part| error.contains(part)), "{error}");
    }
}

#[test]
fn a_policy_that_is_wrong_says_everything_at_once() {
    let wrong = config(&[("timeout", "soon"), ("retrys", "2"), ("concurrency", "many"), ("breaker_pause", "1s")]);
    let problems = Policy::parse(&wrong).expect_err("wrong").0;
    let keys: Vec<_> = problems.iter().map(|problem| problem.key.as_str()).collect();
    assert_eq!(keys, ["timeout", "breaker_failures", "concurrency", "retrys"]);
    assert!(Policy::parse(&StringMap::new()).is_err(), "a policy that says nothing");
}

#[test]
fn every_class_that_has_a_name_counts_as_a_failure() {
    for name in Classes::names() {
        let classes = Classes::parse(name).expect("a name");
        assert_eq!(format!("{classes:?}"), name);
    }
    let own_doing = [CallErrorKind::Denied, CallErrorKind::Contract, CallErrorKind::TooLarge, CallErrorKind::Cancelled];
    assert!(own_doing.iter().all(|kind| !Classes::FAILURES.has(*kind)));
}

#[test]
fn a_policy_is_kept_in_a_config_of_its_own_name() {
    let config = config_name(&"careful".parse().expect("valid")).expect("fits");
    assert_eq!((config.as_str(), name_of(&config), is_policy(&config)), ("POLICY_careful", Some("careful"), true));
    assert!(!is_policy(&"careful".parse().expect("valid")));
    let long = "x".repeat(60).parse().expect("valid");
    assert!(config_name(&long).expect_err("too long").to_string().contains("choose a shorter name"));
}
