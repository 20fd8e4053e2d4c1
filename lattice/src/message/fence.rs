//! The terms of a command: extra members of its JSON object that say whether it still counts. `fence` is a token, so that
//! hosts refuse what a wadm says that another one has taken over from. `not_after_ms` is a time by the clock of the host
//! that takes it, so that a host that was stopped in the middle, or was cut off, does not carry out what was sent long
//! ago and has been given up since.
//!
//! Clients of lattice v1 send neither, and hosts of lattice v1 ignore them. In a config, whose members are texts, a
//! number cannot be meant for anything else.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// The names of the members, and those that they have in a config that has a member of that name itself.
const TOKEN: [&str; 2] = ["fence", "trellis.dev/fence"];
const NOT_AFTER: [&str; 2] = ["not_after_ms", "trellis.dev/not_after_ms"];

/// Whether a command counts. One without terms comes from a person or from a client of lattice v1, and counts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Terms {
    /// The fencing token.
    pub token: Option<u64>,
    /// Until when it counts, in milliseconds since 1970 by the clock of the host that takes it. Who sends it knows that
    /// clock by the host's presence, so that clocks need not agree.
    pub not_after_ms: Option<u64>,
}

impl Terms {
    /// Whether a command that is taken at `now_ms` comes in time.
    ///
    /// # Errors
    /// Says how late it is.
    pub fn check_time(self, now_ms: u64) -> Result<(), String> {
        match self.not_after_ms.and_then(|last| now_ms.checked_sub(last)).filter(|late| *late > 0) {
            None => Ok(()),
            Some(late) => Err(format!("the command came {late} ms too late: whoever sent it has given it up")),
        }
    }
}

/// `command` as JSON, with its terms if there are any. A command without a body becomes an object then.
pub fn encode(command: &impl Serialize, terms: Terms) -> Vec<u8> {
    if terms == Terms::default() {
        return serde_json::to_vec(command).expect("commands are maps of strings, lists and numbers");
    }
    let value = serde_json::to_value(command).expect("commands are maps of strings, lists and numbers");
    let mut members = match value {
        Value::Object(members) => members,
        _ => Map::new(),
    };
    for ([name, qualified], value) in [(TOKEN, terms.token), (NOT_AFTER, terms.not_after_ms)] {
        if let Some(value) = value {
            let name = if members.contains_key(name) { qualified } else { name };
            members.insert(name.to_owned(), value.into());
        }
    }
    Value::Object(members).to_string().into_bytes()
}

/// The terms of a command.
pub fn of(command: &[u8]) -> Terms {
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Members {
        fence: Option<Value>,
        #[serde(rename = "trellis.dev/fence")]
        qualified_fence: Option<Value>,
        not_after_ms: Option<Value>,
        #[serde(rename = "trellis.dev/not_after_ms")]
        qualified_not_after_ms: Option<Value>,
    }
    let members: Members = serde_json::from_slice(command).unwrap_or_default();
    let number = |members: [Option<Value>; 2]| members.into_iter().flatten().find_map(|value| value.as_u64());
    Terms {
        token: number([members.qualified_fence, members.fence]),
        not_after_ms: number([members.qualified_not_after_ms, members.not_after_ms]),
    }
}

/// A command whose members are all its own (a config) without its terms.
///
/// # Errors
/// When it is not a JSON object.
pub fn strip(command: &[u8]) -> serde_json::Result<Value> {
    let mut members: Map<String, Value> = serde_json::from_slice(command)?;
    let is_term = |name: &String| TOKEN.iter().chain(&NOT_AFTER).any(|term| term == name);
    members.retain(|name, value| !(value.is_u64() && is_term(name)));
    Ok(Value::Object(members))
}

#[cfg(test)]
mod tests {
    use super::{Terms, encode, of, strip};
    use serde_json::json;

    const NONE: Terms = Terms { token: None, not_after_ms: None };
    const BOTH: Terms = Terms { token: Some(7), not_after_ms: Some(1_000) };

    #[test]
    fn terms_go_with_the_command_and_come_off_again() {
        let command = json!({"key": "value"});
        assert_eq!(encode(&command, NONE), br#"{"key":"value"}"#);
        for terms in [BOTH, Terms { token: None, ..BOTH }, Terms { not_after_ms: None, ..BOTH }] {
            let encoded = encode(&command, terms);
            assert_eq!((of(&encoded), strip(&encoded).expect("an object")), (terms, command.clone()));
            assert_eq!(of(&encode(&(), terms)), terms);
        }
    }

    #[test]
    fn a_config_may_have_members_of_these_names() {
        let config = json!({"fence": "wooden", "not_after_ms": "soon"});
        assert_eq!(strip(config.to_string().as_bytes()).expect("an object"), config);
        assert_eq!(of(config.to_string().as_bytes()), NONE);
        assert_eq!(of(b""), NONE);
        let encoded = encode(&config, BOTH);
        assert_eq!((of(&encoded), strip(&encoded).expect("an object")), (BOTH, config));
    }

    #[test]
    fn a_command_counts_up_to_its_last_millisecond() {
        assert_eq!(NONE.check_time(u64::MAX), Ok(()));
        assert_eq!(BOTH.check_time(1_000), Ok(()));
        let error = BOTH.check_time(1_250).expect_err("late");
        assert!(error.contains("250 ms"), "{error}");
    }
}
